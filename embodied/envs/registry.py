"""Finds environments by the name of a task, `SUITE_TASK`. A suite is imported when it is asked for.

Also `MODULE:NAME`, which is suite `custom`, and ids of Gymnasium alone, which are of suite `gym`.

To add a suite, write a module with a class (or function) that is called as `Class(task, seed=seed,
**options)` and returns an Env, and add a line to `suites`. If the module has a function
`check(task)`, it raises a ValueError for a task that does not exist, without making it. If it is
`batched`, it is called as `Class(task, seeds=seeds, **options)` and returns a BatchEnv, with one
environment for each seed.
"""

import difflib
import importlib
import importlib.util
import inspect
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..core import base, wrappers


class Suite(NamedTuple):
    """Where a suite is (`module:Class`), and the package it needs with its install command."""

    entry: str
    text: str
    package: str = ''
    install: str = ''
    images: bool = False  # Whether all tasks show images, of height and width `env.SUITE.size`.
    batched: bool = False  # Whether environments step together.

    @property
    def jax(self) -> bool:
        """Whether it runs in JAX, which is then not imported before an environment is made."""
        return self.entry.startswith('embodied.jax.')


def _extra(entry, text, package, extra, images=False):
    hint = f"pip install 'dreamerv3-embodied[{extra}]'"
    return Suite(f'embodied.envs.{entry}', text, package, hint, images)


def _batched(entry, text, package, extra, images=False, jax=False):
    suite = _extra(entry, f'{text}, stepped together', package, extra, images)
    folder = 'embodied.jax.envs' if jax else 'embodied.envs'
    return suite._replace(entry=f'{folder}.{entry}', batched=True)


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
    'loconav': _extra(
        'loconav:LocoNav', 'walkers in mazes, as in ant_maze_m', 'dm_control', 'dmc', True
    ),
    'bsuite': _extra('bsuite:BSuite', '468 small tasks, as in catch/0', 'bsuite', 'bsuite'),
    'minigrid': _extra(
        'minigrid:make',
        'grid worlds, as in Empty-5x5 or BabyAI-GoToLocal-v0',
        'minigrid',
        'minigrid',
        True,
    ),
    'procgen': Suite(
        'embodied.envs.procgen:make',
        '16 games with generated levels, as in coinrun',
        'procgen',
        'pip install cffi && pip install --no-deps procgen2==0.10.7 gym3==0.3.3',
        images=True,
    ),
    'memmaze': _extra(
        'memmaze:make', 'mazes to remember: 9x9 to 15x15', 'memory_maze', 'memmaze', True
    ),
    'pinpad': Suite(
        'embodied.envs.pinpad:PinPad', 'pads in the right order: three to eight', images=True
    ),
    'langroom': Suite(
        'embodied.envs.langroom:LangRoom', 'questions about a room: answer', images=True
    ),
    'metaworld': _extra(
        'metaworld:MetaWorld', '50 tasks of a robot arm, as in door-open', 'metaworld', 'metaworld'
    ),
    'dmlab': Suite(
        'embodied.envs.dmlab:DMLab',
        'levels seen from the first person, as in explore_goal_locations_small',
        'deepmind_lab',
        'it is built from source with bazel, as docs/environments.md says; no package has it',
        images=True,
    ),
    'minecraft': Suite(
        'embodied.envs.minecraft:make',
        'diamond, wood, climb',
        'minerl',
        'it is built from source with Java 8, as docs/environments.md says',
        images=True,
    ),
    'custom': Suite(
        'embodied.envs.custom:make', 'your own as MODULE:NAME, as in my_module:make_env'
    ),
    'gymvec': _batched('gymvec:make', 'gymnasium ids, as in CartPole-v1', 'gymnasium', 'gym'),
    'atarivec': _batched('atarivec:AtariVec', '108 games, as in pong', 'ale_py', 'atari', True),
    'envpool': _batched('envpool:make', 'ids of envpool, as in Pong-v5', 'envpool', 'envpool'),
    'gymnax': _batched('gymnax:Gymnax', 'as in CartPole-v1', 'gymnax', 'gymnax', jax=True),
    'craftax': _batched(
        'craftax:make', 'as in Craftax-Symbolic-v1', 'craftax', 'craftax', jax=True
    ),
    'brax': _batched('brax:Brax', 'continuous control, as in ant', 'brax', 'brax', jax=True),
}


def split(task: str) -> tuple[str, str]:
    """Suite, known or not, and name of a task in it."""
    suite, _, name = task.partition('_')
    if suite in suites:
        return suite, name
    if ':' in task:
        return 'custom', task
    if not name and re.search(r'-v\d+$', task):
        return 'gym', task
    return suite, name


def foreign(task: str) -> bool:
    """Whether the name of a task decides which code is imported."""
    return ':' in task or split(task)[0] not in suites


def make(task: str, seed: int | None = None, **kwargs) -> base.Env:
    """Make the environment of a task, not wrapped.

    The seed decides its random numbers; give each of several environments its own. The kwargs are
    options of the suite. Raises ValueError as `check` does. Of a suite that is batched, it is a
    batch of one.
    """
    suite, name = split(task)
    if suite in suites and suites[suite].batched:
        if seed is None:
            seed = int(np.random.default_rng().integers(2**32))
        return wrappers.Single(make_batch(task, [seed], **kwargs))
    check(task, **kwargs)
    return _load(suite)[1](name, seed=seed, **kwargs)


def make_batch(task: str, seeds: Sequence[int], **kwargs) -> base.BatchEnv:
    """Make environments that step together, one for each seed, of a suite that is batched."""
    check(task, **kwargs)
    suite, name = split(task)
    return _load(suite)[1](name, seeds=seeds, **kwargs)


def check(task: str, **kwargs) -> None:
    """Raises a ValueError of one line if `make` could not work. Makes nothing."""
    suite, name = split(task)
    if suite not in suites:
        raise ValueError(f'task: unknown suite {suite!r} in {task!r}{_suggest(suite)}')
    package, install = suites[suite].package, suites[suite].install
    if package and importlib.util.find_spec(package) is None:
        raise ValueError(f'task: {task!r} needs the package {package!r}: {install}')
    if not name:
        raise ValueError(
            f'task: got {task!r}, allowed is {suite}_TASK. Suite {suite}: {suites[suite].text}'
        )
    if suites[suite].jax:
        return
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
    return (
        f'{hint} Tasks are SUITE_TASK with the suites: {", ".join(sorted(suites))}; '
        'or MODULE:NAME for an environment of your own'
    )
