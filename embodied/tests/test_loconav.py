import collections

import numpy as np
import pytest

from embodied.core import wrappers
from embodied.envs import gl, loconav, registry
from embodied.tests import contracts

pytest.importorskip('dm_control', reason='dm_control is not installed')
rendered = pytest.mark.skipif(gl.setup() == 'disable', reason=gl.HINT)


@pytest.mark.parametrize('name', loconav.ARENAS)
def test_goal_can_be_reached_and_walls_are_closed(name):
    rows = loconav.ARENAS[name].strip('\n').split('\n')
    assert len({*map(len, rows)}) == 1
    border = [*rows[0], *rows[-1], *(x[0] for x in rows), *(x[-1] for x in rows)]
    assert {*border} == {'*'}
    find = lambda c: next((i, x.index(c)) for i, x in enumerate(rows) if c in x)
    seen, queue = {find('P')}, collections.deque([find('P')])
    while queue:
        i, j = queue.popleft()
        for near in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
            if near not in seen and rows[near[0]][near[1]] != '*':
                seen.add(near)
                queue.append(near)
    assert find('G') in seen
    assert loconav._quarters(loconav.ARENAS[name]).count('*') == 0


def reach(env):
    """Put the body at the goal and take a step."""
    physics, task = env._dm.physics, env._dm.task
    task._walker.set_pose(physics, task._target_position)
    return env.step({'action': np.zeros(2, np.float32), 'reset': np.bool_(False)})


def _place(env):
    return env._dm.physics.bind(env._dm.task._walker.root_body).xpos


@pytest.mark.slow
@rendered
def test_goal_is_terminal_or_begins_again():
    for again in (False, True):
        env = loconav.LocoNav('ball_umaze', size=(16, 24), again=again, seed=0)
        start = env.step({'action': np.zeros(2, np.float32), 'reset': np.bool_(True)})
        assert start['image'].shape == (16, 24, 3) and start['reward'] == 0
        obs = reach(env)
        assert obs['reward'] == 1
        assert obs['is_last'] == obs['is_terminal'] == (not again)
        env.close()


@pytest.mark.slow
@rendered
def test_weaker_and_camera():
    moved = []
    for weaker in (1.0, 4.0):
        env = loconav.LocoNav('ball_empty', size=(16, 24), weaker=weaker, camera=0, seed=0)
        obs = env.step({'action': np.zeros(2, np.float32), 'reset': np.bool_(True)})
        before = np.array(_place(env))
        for _ in range(20):
            obs = env.step({'action': np.float32([1, 0]), 'reset': np.bool_(False)})
        moved.append(np.abs(np.array(_place(env)) - before).sum())
        assert obs['image'].shape == (16, 24, 3)
        env.close()
    assert moved[1] < moved[0]


@pytest.mark.slow
@rendered
@pytest.mark.parametrize('walker', ['ant', 'humanoid'])
def test_walkers(walker):
    env = wrappers.wrap(loconav.LocoNav(f'{walker}_umaze', size=(16, 16), seed=0))
    contracts.check_env(env, steps=30)


def test_names():
    with pytest.raises(ValueError, match=r"'ant_maze_q', allowed are WALKER_ARENA .*ant, ball"):
        registry.check('loconav_ant_maze_q')
    with pytest.raises(ValueError, match=r'^env.loconav.weaker: got 0.5'):
        loconav.LocoNav('ant_umaze', weaker=0.5)
