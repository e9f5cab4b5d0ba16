"""The command line: flags to a checked config, then the run. JAX comes only with the last step.

    def main():
        cli.main('myagent.agent:make_agent', 'myagent/configs.yaml')

A mistake of the user is one line on the error stream and exit code 2.
"""

import contextlib
import importlib
import itertools
import pathlib
import shutil
import sys
import textwrap
import traceback
from collections.abc import Callable

from . import __version__, checks, config, logdir
from .core import checkpoint
from .core.system import processes, runlock
from .envs import registry

USAGE = """\
Usage: {name} [--configs BLOCK ...] [--KEY VALUE] [--SECTION.KEY VALUE] ...

  Blocks change options from left to right, flags come last. A block is one of
  {blocks}
  or the path of a saved config.yaml. A flag is --key value, --key=value, or --key 1 2 3 for a
  list. A key with characters such as * is a regular expression: --'.*\\.units' 256
  --help TEXT shows the options with TEXT in their name. --version shows the version.
"""


def main(
    make_agent: str | Callable,
    configs: str | pathlib.Path,
    check: Callable | None = None,
    argv: list[str] | None = None,
    name: str = 'main.py',
    structural: Callable | None = None,
    entries: Callable | None = None,
) -> None:
    """Run what the arguments ask for.

    make_agent   'module:function', imported when it is called first, or a function
    configs      path of the configs.yaml
    check        called with the config; raises ValueError for options that do not go together
    argv         arguments, those of the process by default
    name         of the program, for messages
    structural   called with key, old and new value of an option of the agent: whether a checkpoint
                 made with the old one does not fit the new one
    entries      called with the config: spaces of what the agent adds to each step in replay

    SystemExit 2 after a mistake of the user.
    """
    make_agent = lazy(make_agent) if isinstance(make_agent, str) else make_agent
    argv = sys.argv[1:] if argv is None else argv
    try:
        schema = config.Schema(configs)
        if '-h' in argv or '--help' in argv:
            words = after_help(argv)
            width = shutil.get_terminal_size((100, 24)).columns
            print(describe(schema, name, words, min(100, max(60, width))))
            return
        if '--version' in argv:
            print(f'{name} {__version__}')
            return
        options = configure(schema, argv, check)
    except ValueError as e:
        fail(name, e)
    start(options, make_agent, name, structural, entries)


def start(options, make_agent, name, structural=None, entries=None):
    """Run as the only one that writes to the logdir, if that goes on with what is there."""
    with contextlib.ExitStack() as stack:
        if options.script not in checks.GUESTS:
            try:
                stack.enter_context(runlock.hold(options.logdir))
            except ValueError as e:
                fail(name, e)
            prepare(options, name, structural)
        launch(options, make_agent, name, entries)


def prepare(options, name, structural):
    """Check what is in the logdir and save the config there."""
    folder = pathlib.Path(options.logdir)
    resumes = checkpoint.Checkpoint(folder / 'ckpt').exists()
    if resumes and (problems := incompatible(folder, options, structural)):
        fail(name, *problems)
    note = checks.resumed if resumes else lambda key: ''
    for line in logdir.keep_config(folder, options, note):
        print(line)
    print(f'Logdir: {folder}', flush=True)


def launch(options, make_agent, name, entries=None):
    """Run the script of the options, and tell in a line how it failed."""
    # Only now, so that all the rest is fast and a mistake does not wait for it.
    from . import build

    try:
        build.run(options, make_agent, entries)
    except ValueError as e:
        if not is_message(e, make_agent):
            raise
        fail(name, e)
    except processes.ProcessError as e:
        line, _, details = str(e).partition('\n')
        fail(name, line, code=1, details=details)
    except (ConnectionError, FloatingPointError) as e:
        fail(name, e, code=1)


def fail(name, *errors, code=2, details=''):
    """One line for each error, then details such as a traceback, and the end."""
    for error in errors:
        text = ' '.join(str(error).split())
        text = ''.join(x if x.isprintable() else ascii(x)[1:-1] for x in text)
        print(f'{name}: error: {text}', file=sys.stderr)
    if details:
        print(details, file=sys.stderr)
    sys.exit(code)


def incompatible(folder, options, structural):
    """A line for each option with which the run in a folder cannot go on."""

    def matters(key, old, new):
        if key.startswith('env.') and key.split('.')[1] != registry.split(options.task)[0]:
            return False  # Of a suite that is not used.
        if key.startswith('agent.'):
            return bool(structural) and not options.random_agent and structural(key, old, new)
        return checks.structural(key, old, new)

    return logdir.incompatible(folder, options, matters)


def configure(schema, argv, check=None):
    """Config of the arguments, checked, with its logdir created."""
    blocks, flags = parse(argv)
    if flags.get('script') == 'eval_only':
        flags = evaluated(schema, blocks, flags)
    options = schema.resolve(blocks, flags)
    folder = logdir.resolve(options.logdir)
    options = options.update(logdir=str(folder))
    checks.check(options)
    registry.check(options.task)
    if check:
        check(options)
    if options.script == 'eval_only' and logdir.holds_run(folder):
        # What a training run has written stays as it is.
        folder = logdir.resolve(str(folder / 'eval-{timestamp}'))
    if options.script not in checks.GUESTS:
        logdir.create(folder)
    return options.update(logdir=str(folder))


def evaluated(schema, blocks, flags):
    """Flags of an evaluation, with what it was trained with where the user says nothing else.

    A logdir may come from elsewhere, so of its config.yaml only options of agent and environment
    are used, and a module that it names is not imported unless the user names it too.
    """
    path = flags.get('run.from_checkpoint') or flags.get('logdir')
    at_random = str(flags.get('random_agent')).lower() == 'true'
    if not isinstance(path, str) or (at_random and 'task' in flags):
        return flags
    flags = {'run.from_checkpoint': path, **flags}
    if blocks:
        return flags
    try:
        saved = logdir.trained_with(checkpoint.find(path)[0])
    except (ValueError, OSError, RuntimeError) as e:
        raise ValueError(
            f'run.from_checkpoint: got {path!r}, allowed is a logdir or a checkpoint in it: {e}'
        ) from None
    try:
        schema.resolve(flags=saved)
    except ValueError as e:
        raise ValueError(f'{e} (in config.yaml of {path})') from None
    task = str(saved.get('task', ''))
    if 'task' not in flags and registry.foreign(task):
        raise ValueError(
            f'task: {path} was trained on {task!r}, which is code from elsewhere. It is only '
            f'imported if you say so: --task {task}'
        )
    return {**{k: v for k, v in saved.items() if k not in flags}, **flags}


def parse(argv: list[str]) -> tuple[list[str], dict[str, str | list[str]]]:
    """Arguments to names of blocks and values by key; a list where there are several.

    Blocks stack; of other flags that are given twice, the last one counts.
    """
    flags = []
    for arg in argv:
        if arg.startswith('--'):
            key, *values = arg[2:].split('=', 1)
            flags.append((key, values))
        elif not flags:
            raise ValueError(f'{arg}: unexpected argument, options begin with --')
        else:
            flags[-1][1].append(arg)
    names, found = [], {}
    for key, values in flags:
        if not values:
            raise ValueError(f'{key}: needs a value, as in --{key} VALUE')
        if key == 'configs':
            names += values
        else:
            found[key] = values if len(values) > 1 else values[0]
    blocks = [x for value in names for x in value.split(',') if x]
    if names and not blocks:
        raise ValueError(f'configs: got {" ".join(names)!r}, allowed are names of blocks')
    return blocks, found


def lazy(name: str) -> Callable:
    """The function `module:function`; its module is imported by the first call."""
    module, function = name.split(':')

    def call(*args, **kwargs):
        return getattr(importlib.import_module(module), function)(*args, **kwargs)

    call.__module__ = module
    return call


def is_message(error: ValueError, make_agent: Callable) -> bool:
    """Whether it was raised on purpose by the runtime or the agent, with text for the user.

    Other ones come from deep inside of a library: then the traceback helps, and one line would not.
    """
    last = traceback.extract_tb(error.__traceback__)[-1]
    agent = sys.modules.get(make_agent.__module__.partition('.')[0])
    files = [__file__, getattr(agent, '__file__', None)]
    inside = any(
        pathlib.Path(last.filename).is_relative_to(pathlib.Path(x).parent) for x in files if x
    )
    return inside and (last.line or '').startswith('raise ')


def after_help(argv):
    """The words right behind `--help`, whatever else the command line says."""
    first = next(i for i, x in enumerate(argv) if x in ('-h', '--help'))
    return list(itertools.takewhile(lambda x: not x.startswith('-'), argv[first + 1 :]))


def describe(schema, name: str, words: list[str], width: int = 80) -> str:
    """Help: every option by section, with default, allowed values and explanation."""
    keys = [k for k in schema.options if not words or any(x in k for x in words)]
    if not keys:
        raise ValueError(f'help: got {" ".join(words)!r}, allowed is a part of an option')
    parts = []
    if not words:
        blocks = textwrap.fill(', '.join(schema.blocks), width - 2, subsequent_indent='  ')
        parts.append(USAGE.format(name=name, blocks=blocks))
    groups = {}
    for key in keys:
        groups.setdefault(key.rpartition('.')[0], []).append(schema.options[key])
    for section, members in groups.items():
        title = schema.sections.get(section, '') if section else 'general'
        parts.append(': '.join(x for x in (section, title) if x))
        parts += [_option(x, width) for x in members]
        parts.append('')
    return '\n'.join(parts)


def _option(option, width):
    default = option.default
    if isinstance(default, tuple):
        default = ' '.join(map(str, default))
    head = f'  --{option.key} {default}'
    if option.allowed:
        head += f'  [{option.allowed}]'
    # One column for the explanations, or a line of their own where the flag is too long for that.
    column = width * 55 // 100
    text = textwrap.wrap(option.help, width - column)
    if len(head) > column - 2:
        return '\n'.join([head, *(' ' * column + x for x in text)])
    lines = [head.ljust(column) + text[0], *(' ' * column + x for x in text[1:])]
    return '\n'.join(lines)
