"""Finds environments by the name of a task, `SUITE_TASK`. A suite is imported when it is asked for.

To add a suite, write a module with a class (or function) that is called as `Class(task, seed=seed,
**options)` and returns an Env, and add a line to `suites`. If the module has a function
`check(task)`, it raises a ValueError for a task that does not exist, without making it.
"""

import difflib
import importlib
import importlib.util
import inspect
from typing import NamedTuple

from ..core import base


class Suite(NamedTuple):
    """Where a suite is (`module:Class`), and the package it needs with its install command."""

    entry: str
    text: str
    package: str = ''
    install: str = ''
    images: bool = False  # Whether all tasks show images, of height and width `env.SUITE.size`.


def _extra(entry, text, package, extra, images=False):
    hint = f"pip install 'dreamerv3-embodied[{extra}]'"
    return Suite(f'embodied.envs.{entry}', text, package, hint, images)


suites = {
    'dummy': Suite(
        'embodied.envs.dummy:Dummy', 'all kinds of spaces: disc, cont, hybrid', images=True
    ),
    'gym': _extra(
        'from_gym:make',
        'gymnasium ids, as in CartPole-v1 or minigrid:MiniGrid-Empty-5x5-v0',
        'gymnasium',
        'gym',
    ),
    'crafter': _extra(
        'crafter:Crafter',
        'survival in two dimensions: reward, noreward',
        'crafter',
        'crafter',
        True,
    ),
    'atari': _extra('atari:Atari', '108 games, as in pong', 'ale_py', 'atari', True),
    'atari100k': _extra('atari:Atari', '108 games, as in pong', 'ale_py', 'atari', True),
    'dmc': _extra(
        'dmc:DMC',
        'continuous control, as in walker_walk, manip_reach_site or locom_rodent_run_gaps',
        'dm_control',
        'dmc',
    ),
}


def make(task: str, seed: int | None = None, **kwargs) -> base.Env:
    """Make the environment `SUITE_TASK`, not wrapped.

    The seed decides its random numbers; give each of several environments its own. The kwargs are
    options of the suite. Raises ValueError as `check` does.
    """
    check(task, **kwargs)
    suite, _, name = task.partition('_')
    _, function = _load(suite)
    return function(name, seed=seed, **kwargs)


def check(task: str, **kwargs) -> None:
    """Raises a ValueError of one line if `make` could not work. Makes nothing."""
    suite, _, name = task.partition('_')
    if suite not in suites:
        raise ValueError(f'task: unknown suite {suite!r} in {task!r}{_suggest(suite)}')
    package, install = suites[suite].package, suites[suite].install
    if package and importlib.util.find_spec(package) is None:
        raise ValueError(f'task: {task!r} needs the package {package!r}: {install}')
    if not name:
        raise ValueError(
            f'task: got {task!r}, allowed is {suite}_TASK. Suite {suite}: {suites[suite].text}'
        )
    module, function = _load(suite)
    if hasattr(module, 'check'):
        module.check(name)
    parameters = inspect.signature(function).parameters
    if not any(p.kind == p.VAR_KEYWORD for p in parameters.values()):
        known = list(parameters)[1:]
        unknown = [key for key in kwargs if key not in known]
        if unknown:
            raise ValueError(f'env.{suite}: unknown options {unknown}, allowed are {known}')


def _load(suite):
    name, _, attribute = suites[suite].entry.partition(':')
    module = importlib.import_module(name)
    return module, getattr(module, attribute)


def _suggest(suite):
    close = difflib.get_close_matches(suite, suites, 1)
    hint = f', did you mean {close[0]!r}?' if close else '.'
    return f'{hint} Tasks are SUITE_TASK with the suites: {", ".join(sorted(suites))}'
