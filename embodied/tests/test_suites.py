"""Contracts of every suite on the real package; a new one joins by a line."""

import functools
import importlib.util
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import embodied
from embodied.core import driver, random, wrappers
from embodied.envs import gl, registry
from embodied.tests import contracts

ROOT = Path(embodied.__file__).parent.parent
# Task, and options that make it small. What has a size is given one that is not square.
CASES = {
    'atari_pong': {'size': (40, 56), 'noops': 3},
    'atari100k_breakout': {'size': (40, 56), 'gray': False, 'sticky': False, 'noops': 30},
    'bsuite_catch/0': {},
    'bsuite_cartpole_noise/3': {},
    'crafter_reward': {'size': (40, 56)},
    'dmc_walker_walk': {'size': (40, 56), 'repeat': 2, 'fast': True},
    'dmc_manip_reach_site': {'image': False},
    'gym_CartPole-v1': {},
    'langroom_answer': {'size': (40, 56), 'length': 30},
    'loconav_ball_umaze': {'size': (40, 56)},
    'memmaze_9x9': {'size': (40, 56)},
    'metaworld_door-open': {'size': (40, 56), 'repeat': 2},
    'minigrid_DoorKey-6x6': {'size': (40, 56)},
    'minigrid_BabyAI-GoToLocal-v0': {'size': (40, 56), 'full': True},
    'pinpad_four': {'size': (40, 56), 'length': 40},
    'procgen_coinrun': {'size': (40, 56)},
}
RENDERED = {'dmc_walker_walk', 'loconav_ball_umaze', 'memmaze_9x9', 'metaworld_door-open'}
# Rendering on a CPU, and worlds that take long to make.
SLOW = {'memmaze_9x9', 'metaworld_door-open', 'crafter_reward', 'loconav_ball_umaze'}
TASKS = [pytest.param(k, marks=pytest.mark.slow if k in SLOW else ()) for k in CASES]
# Their own tests say what they do on a stand-in.
GUARDED = {'dmlab', 'minecraft'}


def maker(task):
    """A function from a seed to the environment of a case, or skip the test."""
    package = registry.suites[task.partition('_')[0]].package
    if package and importlib.util.find_spec(package) is None:
        pytest.skip(f'{package} is not installed')
    if task in RENDERED and gl.setup() == 'disable':
        pytest.skip(gl.HINT)
    try:
        registry.check(task)
    except ValueError as e:
        pytest.skip(str(e))  # A part that the package needs.
    return lambda seed: wrappers.wrap(registry.make(task, seed=seed, **CASES[task]))


@pytest.mark.parametrize('task', TASKS)
def test_contract(task):
    contracts.check_env(maker(task)(1), steps=40)


@pytest.mark.parametrize('task', TASKS)
def test_seed_decides(task):
    contracts.check_seed(maker(task), steps=10)


@pytest.mark.parametrize('task', TASKS)
def test_close_leaves_nothing(task):
    contracts.check_close(maker(task))


@pytest.mark.parametrize('task', [k for k in TASKS if 'size' in CASES[k.values[0]]])
def test_size_is_height_and_width(task):
    env = maker(task)(0)
    assert env.obs_space['image'].shape[:2] == (40, 56)
    env.close()


@pytest.mark.parametrize('task', TASKS)
def test_random_agent_through_the_driver(task):
    drv = driver.Driver([functools.partial(maker(task), i) for i in range(2)], parallel=False)
    agent = random.RandomAgent(drv.obs_space, drv.act_space)
    seen = []
    drv.on_step(lambda tran, index: seen.append((index, tran['reward'], tran['is_first'])))
    drv.reset(agent.init_policy)
    drv(agent.policy, steps=200)
    drv.close()
    assert len(seen) == 200 and {x[0] for x in seen} == {0, 1}
    assert np.isfinite([x[1] for x in seen]).all()
    assert sum(x[2] for x in seen) >= 2


@pytest.mark.parametrize('task', TASKS)
def test_unknown_task_is_told_in_one_line(task):
    maker(task)
    suite = task.partition('_')[0]
    with pytest.raises(ValueError, match=r'^task: ') as info:
        registry.check(f'{suite}_no-such-thing')
    assert '\n' not in str(info.value) and 'no-such-thing' in str(info.value)


def test_every_suite_has_its_case():
    own = {k for k, v in registry.suites.items() if not v.batched} - {'dummy', 'custom'}
    assert {x.partition('_')[0] for x in CASES} | GUARDED == own


def test_hints_name_extras_of_the_project():
    extras = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']
    for suite, entry in registry.suites.items():
        match = re.search(r'dreamerv3-embodied\[(.*)\]', entry.install)
        if match:
            assert match[1] in extras['optional-dependencies'], suite
