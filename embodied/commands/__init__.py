"""What people do around a run: look at it, list, draw and compare runs, check the machine.

    python -m embodied COMMAND ...

A command is a module of this folder with the text of its help as docstring, `arguments(parser)`
and `run(args) -> exit code`. It is imported when it is asked for, and JAX only by those that need
it. A mistake of the user is a ValueError: one line and exit code 2.
"""

import argparse
import importlib
import inspect
import sys

from .. import __version__, cli
from .. import config as options

COMMANDS = {
    'view': 'scalars, texts, images and videos of runs in the browser',
    'runs': 'a table of all runs in a folder',
    'plot': 'learning curves with confidence bands, and scores over many tasks',
    'compare': 'in which options and metrics two runs differ',
    'doctor': 'whether this machine is ready, and what to fix',
    'check_env': 'whether a run would accept an environment, and what it costs',
}
USAGE = """\
Usage: embodied COMMAND ...

{commands}

  embodied COMMAND --help tells more about one. --version shows the version.
"""


def main(argv: list[str] | None = None) -> None:
    """Run the command of the arguments; SystemExit with its exit code, 2 after a mistake."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ['--help']
    if name in ('-h', '--help'):
        lines = [f'  {k:<11}{text}' for k, text in COMMANDS.items()]
        print(USAGE.format(commands='\n'.join(lines)), end='')
        return
    if name == '--version':
        print(f'embodied {__version__}')
        return
    if name not in COMMANDS:
        hint = options.nearest(name, COMMANDS)
        cli.fail('embodied', f'unknown command {name!r}{hint}, allowed are {", ".join(COMMANDS)}')
    if name == 'check_env':
        from ..check_env.__main__ import main as check_env

        check_env(rest)
        return
    module = importlib.import_module(f'.{name}', __name__)
    parser = Parser(
        prog=f'embodied {name}',
        description=inspect.cleandoc(module.__doc__),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.arguments(parser)
    args = parser.parse_args(rest)
    try:
        code = module.run(args)
    except ValueError as e:
        if not cli.is_message(e, main):
            raise
        cli.fail(parser.prog, e)
    except BrokenPipeError:
        # As in `embodied runs | head`; what is left in the buffer cannot be written either.
        sys.stdout = None
        code = 0
    sys.exit(code)


class Parser(argparse.ArgumentParser):
    """Tells a mistake in one line."""

    def error(self, message):
        cli.fail(self.prog, f'{message}. {self.prog} --help shows what is allowed')
