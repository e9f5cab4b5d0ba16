"""Steps an environment and says what is wrong, how to mend it, and what it costs.

    python -m embodied.check_env TASK [--steps 1000] [--video FILE] [--agent PACKAGE]

TASK is what `--task` takes: SUITE_NAME, an id of Gymnasium, or MODULE:NAME for an environment of
your own, with its module in this folder or installed. Exit code 0 if a run would accept it, 1 if
not, 2 if it cannot be made.
"""

import argparse
import functools
import importlib
import importlib.util
import json
import pathlib
import sys
import textwrap
import traceback

from .. import config, envs
from ..core import base
from . import findings, measure, playing

LEVELS = {'error': 'ERROR  ', 'warning': 'warning', 'note': 'note   '}
INDENT = 9 * ' '  # Of the following lines of a finding.


def main(argv=None):
    args = parse(argv)
    try:
        options = {**_defaults(args), **dict(_option(x) for x in args.option)}
        envs.check(args.task, **options)
        advise = _advice(args.agent)
        make = functools.partial(envs.make, args.task, **options)
        env = make(seed=0)
    except ValueError as e:
        print(f'check_env: error: {e}', file=sys.stderr)
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        print(f'check_env: error: {args.task} could not be made, see above', file=sys.stderr)
        sys.exit(2)
    found = look(env, make, args.steps)
    for level in LEVELS:
        for finding in (x for x in found if x.level == level):
            print(textwrap.fill(f'{LEVELS[level]}  {finding.text}.', 100, subsequent_indent=INDENT))
    errors = sum(x.level == 'error' for x in found)
    if not errors:
        facts = tell_costs(make, args)
        for line in advise(facts) if advise else ():
            print(line)
    warnings = sum(x.level == 'warning' for x in found)
    verdict = 'A run would not accept it' if errors else 'A run would accept it'
    print(f'{args.task}: {verdict}; errors: {errors}, warnings: {warnings}.')
    sys.exit(1 if errors else 0)


def parse(argv):
    parser = argparse.ArgumentParser(
        prog='python -m embodied.check_env',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('task', help='the environment, as --task takes it')
    parser.add_argument('--steps', type=int, default=1000, help='random steps to take')
    parser.add_argument('--video', type=pathlib.Path, help='mp4 to write, of random actions')
    parser.add_argument(
        '--agent', default='', help='package to ask for advice and options, such as dreamerv3'
    )
    parser.add_argument(
        '--option', action='append', default=[], help='of the suite, as size=[64,64]'
    )
    return parser.parse_args(argv)


def look(env, make, steps):
    """All findings; after an error in the spaces, or an exception, nothing more is played."""
    print('Observations')
    _table(env.obs_space)
    print('Actions')
    _table(env.act_space)
    print()
    found = findings.spaces(env.obs_space, env.act_space)
    player = None
    if not any(x.level == 'error' for x in found):
        player = playing.Player(env)
        found += player.play(steps)
    try:
        env.close()
        env.close()
    except Exception as e:
        found.append(findings.error(f'close() raised {type(e).__name__}: {e}. It comes twice'))
    if player and not player.failed:
        found += playing.repeats(lambda seed: make(seed=seed))
    if inner := gymnasium_env(make):
        found += playing.gymnasium_says(inner)
    return found


def gymnasium_env(make):
    """The environment of Gymnasium that is inside of one of ours, if there is one."""
    env = make(seed=0)
    while isinstance(env, base.Wrapper):
        env = env.env
    module = sys.modules.get('embodied.envs.from_gym')
    return env.env if module and isinstance(env, module.FromGym) else None


def tell_costs(make, args):
    """Measure, print, write the video; returns the facts."""
    env = make(seed=1)
    facts, frames = measure.measure(env, args.steps)
    env.close()
    length = f', random episodes of {facts.length:.4g} steps' if facts.length else ''
    print(f'{facts.speed:.4g} steps per CPU second, {1000 * facts.reset:.3g} ms a reset{length}.')
    if facts.reset * facts.speed > 100:
        print('A reset takes as long as 100 steps or more: run several environments in processes.')
    print(f'{facts.nbytes:,} bytes a transition, without what the agent adds.')
    if args.video and frames:
        measure.write_video(args.video, frames)
        print(f'Wrote {args.video}: {len(frames)} steps of random actions.')
    elif args.video:
        print('No video: it shows no image. For ids of Gymnasium, --option render=true draws it.')
    return facts


def _table(spaces):
    for key, space in spaces.items():
        low, high = float(space.low.min()), float(space.high.max())
        bounds = '' if space.dtype == bool else f'{low:g} to {high:g}'
        print(f'  {key:<20} {space.dtype!s:<8} {space.shape!s:<14} {bounds}')


def _defaults(args):
    """Options of the suite of a task with which the agent's own runs begin, such as image sizes."""
    spec = importlib.util.find_spec(args.agent) if args.agent else None
    if spec is None:
        return {}
    path = pathlib.Path(spec.submodule_search_locations[0]) / 'configs.yaml'
    options = config.Schema(path).resolve().env
    suite, _ = envs.split(args.task)
    return dict(options[suite]) if suite in options else {}


def _advice(package):
    """The function `advise(facts) -> lines` of a package's module `advice`."""
    if not package:
        return None
    try:
        return importlib.import_module(f'{package}.advice').advise
    except ModuleNotFoundError:
        raise ValueError(f'--agent: there is no module {package}.advice') from None


def _option(text):
    key, _, value = text.partition('=')
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


if __name__ == '__main__':
    main()
