import re

import numpy as np
import pytest

from embodied.core import wrappers
from embodied.envs import registry
from embodied.tests import contracts

pytest.importorskip('minigrid', reason='minigrid is not installed')
from embodied.envs import minigrid


def reset(env):
    return env.step({'action': np.int32(0), 'reset': np.bool_(True)})


def test_views():
    part, full = (minigrid.make('DoorKey-8x8', seed=0, full=x) for x in (False, True))
    for env in (part, full):
        obs = reset(env)
        assert obs['image'].shape == (64, 64, 3) and obs['image'].std() > 10
        assert obs['direction'].shape == ()
    # Seen from itself, the agent is red in the middle of the lower edge.
    red = reset(part)['image'][-9:, 28:37].reshape(-1, 3).astype(int)
    assert (red[:, 0] - red[:, 1]).max() > 100


def test_mission():
    env = minigrid.make('DoorKey-6x6', seed=0)
    mission = reset(env)['mission']
    assert mission.shape == (40,) and mission.dtype == np.int32
    words = re.findall(r'\w+', 'use the key to open the door and then get to the goal')
    count = len(words)
    assert (mission[:count] > 1).all() and (mission[count:] == 0).all()
    same = [mission[i] for i in range(count) if words[i] == 'the']
    assert len({*same}) == 1 and len({*mission[:count]}) == len({*words})
    assert reset(minigrid.make('DoorKey-6x6', words=3))['mission'].shape == (3,)
    assert 'mission' not in minigrid.make('DoorKey-6x6', words=0).obs_space


@pytest.mark.parametrize('task', ['GoToSeq', 'OpenDoorLoc', 'PutNextLocal', 'GoToLocal'])
def test_words_of_babyai_are_known(task):
    env = minigrid.make(f'BabyAI-{task}-v0', seed=0)
    for _ in range(8):
        assert (reset(env)['mission'] != 1).all()


def test_time_limit_is_not_terminal_and_the_goal_is():
    env = minigrid.make('Empty-5x5', seed=0)
    act = lambda action: {'action': np.int32(action), 'reset': np.bool_(False)}
    reset(env)
    obs = [env.step(act(0)) for _ in range(100)]
    assert obs[-1]['is_last'] and not obs[-1]['is_terminal']
    reset(env)
    obs = [env.step(act(x)) for x in (2, 2, 1, 2, 2)]
    assert obs[-1]['is_last'] and obs[-1]['is_terminal'] and obs[-1]['reward'] > 0.9


def test_names():
    registry.check('minigrid_Empty-5x5')
    registry.check('minigrid_MiniGrid-Empty-5x5-v0')
    registry.check('minigrid_BabyAI-GoToLocal-v0')
    with pytest.raises(ValueError, match=r"'Emty-5x5', did you mean MiniGrid-Empty-5x5-v0"):
        registry.check('minigrid_Emty-5x5')


def test_shapes_of_grids_that_are_not_square():
    env = minigrid.make('MemoryS7', seed=0, full=True, size=(24, 48))
    contracts.check_env(wrappers.wrap(env), steps=30)
