import numpy as np
import pytest

from embodied.core import random, wrappers
from embodied.envs import dummy
from embodied.tests import contracts

TASKS = list(dummy.ACTIONS)


@pytest.mark.parametrize('task', TASKS)
@pytest.mark.parametrize('wrap', [lambda x: x, wrappers.wrap])
def test_contract(task, wrap):
    contracts.check_env(wrap(dummy.Dummy(task, size=(8, 12), length=10)))


def rollout(env, steps, seed=0):
    agent = random.RandomAgent(env.obs_space, env.act_space, seed)
    obs = [env.step(contracts.act(agent, reset=True))]
    for _ in range(steps - 1):
        obs.append(env.step(contracts.act(agent, obs[-1]['is_last'])))
    return obs


@pytest.mark.parametrize('task', TASKS)
def test_seed_decides(task):
    one, two, other = (rollout(dummy.Dummy(task, length=5, seed=s), 15) for s in (1, 1, 2))
    for a, b in zip(one, two, strict=True):
        contracts.assert_same(a, b)
    assert (one[0]['image'] != other[0]['image']).any()


def test_counts_and_ends():
    obs = rollout(dummy.Dummy('disc', length=3), 12)
    assert [int(x['count']) for x in obs] == list(range(1, 13))
    assert [int(x['step']) for x in obs] == [0, 1, 2, 3] * 3
    assert [bool(x['is_first']) for x in obs] == [True, False, False, False] * 3
    assert [bool(x['is_last']) for x in obs] == [False, False, False, True] * 3
    assert [bool(x['is_terminal']) for x in obs[3::4]] == [True, False, True]


def test_reward_is_the_height_of_the_actions():
    env = dummy.Dummy('hybrid')
    low = {
        'button': np.bool_(False),
        'choice': np.int32(0),
        'keys': np.int32([0, 0, 0]),
        'move': np.float32([-1, -1]),
        'turn': np.float32(-0.5),
        'reset': np.bool_(False),
    }
    high = {
        'button': np.bool_(True),
        'choice': np.int32(4),
        'keys': np.int32([1, 2, 3]),
        'move': np.float32([1, 1]),
        'turn': np.float32(2),
        'reset': np.bool_(False),
    }
    assert env.step(high)['is_first']  # The first step is a reset.
    assert env.step(low)['reward'] == 0
    assert env.step(high)['reward'] == 1
    assert env.step({**low, 'button': np.bool_(True)})['reward'] == np.float32(0.2)


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="'discrete', allowed are disc, cont, hybrid"):
        dummy.Dummy('discrete')
    with pytest.raises(ValueError, match=r'env\.dummy\.length: got 0'):
        dummy.Dummy('disc', length=0)
