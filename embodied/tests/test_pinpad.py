import numpy as np
import pytest

from embodied.core import wrappers
from embodied.envs import pinpad, registry
from embodied.tests import contracts


def act(action=0, reset=False):
    return {'action': np.int32(action), 'reset': np.bool_(reset)}


def walk(env, pad):
    """Observations on the shortest way to a pad, which may lead over others."""
    target = np.argwhere(env._pads == pad)[4]  # Its middle.
    obs = []
    for axis, (less, more) in ((0, (1, 2)), (1, (3, 4))):
        while env._position[axis] != target[axis]:
            obs.append(env.step(act(more if env._position[axis] < target[axis] else less)))
            if obs[-1]['reward']:
                return obs
    return obs


@pytest.mark.parametrize('task', pinpad.TASKS)
def test_contract_and_pads(task):
    env = pinpad.PinPad(task, size=(40, 56), length=30, seed=0)
    count = pinpad.TASKS[task]
    assert [(env._pads == i).sum() for i in range(count + 1)] == [9] * count + [0]
    contracts.check_env(wrappers.wrap(env))


def test_right_sequence_is_rewarded_and_starts_anew():
    env = pinpad.PinPad('three', seed=0)
    env.step(act(reset=True))
    obs = [x for pad in (0, 1, 2) for x in walk(env, pad)]
    rewards = [float(x['reward']) for x in obs]
    assert sum(rewards) == rewards[-1] == 10
    assert env._history == [] and env._pads[env._position] == -1


def test_wrong_order_is_not_and_the_history_forgets():
    env = pinpad.PinPad('three', seed=0)
    env.step(act(reset=True))
    obs = []
    for pad in (1, 0, 1):
        obs += walk(env, pad)
    assert all(x['reward'] == 0 for x in obs)
    assert env._history[-2:] == [0, 1] and len(env._history) <= 3
    assert walk(env, 2)[-1]['reward'] == 10  # The last three are right.


def test_walls_and_history_are_seen():
    env = pinpad.PinPad('four', size=(64, 64), seed=0)
    obs = env.step(act(reset=True))
    assert (obs['image'][0, :, 0] == pinpad.WALL[0]).all()
    assert (obs['image'][56:] == 40).all()  # Nothing yet.
    for _ in range(30):
        obs = env.step(act(1))
    assert env._position[0] == 1
    image = walk(env, 0)[-1]['image']
    last = env._history.index(0)
    assert (image[60, 8 * last] == pinpad.COLORS[0]).all()


def test_only_the_time_limit_ends_it():
    env = pinpad.PinPad('three', length=5, seed=0)
    obs = [env.step(act(reset=i == 0)) for i in range(7)]
    assert [bool(x['is_last']) for x in obs] == [False] * 5 + [True, False]
    assert not any(x['is_terminal'] for x in obs) and obs[6]['is_first']


def test_unknown_task():
    with pytest.raises(ValueError, match=r"'two', allowed are three, four, five"):
        registry.check('pinpad_two')
