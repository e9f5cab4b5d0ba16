import numpy as np
import pytest

from embodied.core import base, wrappers
from embodied.envs import from_dm
from embodied.tests import contracts

dm_env = pytest.importorskip('dm_env', reason='dm_env is not installed')
from dm_env import specs  # noqa: E402


class Fake(dm_env.Environment):
    """Counts its steps; ends after `length` of them with the given discount."""

    def __init__(self, obs, act, length=4, discount=0.0):
        self.obs, self.act = obs, act
        self.length, self.discount = length, discount
        self.count, self.closed, self.actions = 0, 0, []

    def observation_spec(self):
        return self.obs

    def action_spec(self):
        return self.act

    def observation(self):
        make = lambda spec: np.full(spec.shape, self.count, spec.dtype)
        if isinstance(self.obs, dict):
            return {k: make(v) for k, v in self.obs.items()}
        return make(self.obs)

    def reset(self):
        self.count = 0
        return dm_env.restart(self.observation())

    def step(self, action):
        self.actions.append(action)
        self.count += 1
        if self.count < self.length:
            return dm_env.transition(1.5, self.observation())
        return dm_env.TimeStep(dm_env.StepType.LAST, 1.5, self.discount, self.observation())

    def close(self):
        self.closed += 1


VECTOR = specs.Array((3,), np.float64)
CHOICE = specs.DiscreteArray(4)


def run(env, **action):
    action = {'reset': False, **{k: np.asarray(v) for k, v in action.items()}}
    obs = [env.step({**action, 'reset': True})]
    while not obs[-1]['is_last']:
        obs.append(env.step(action))
    return obs


def test_contract():
    obs = {
        'a/b': VECTOR,
        'camera': specs.BoundedArray((4, 6, 3), np.uint8, 0, 255),
        'flag': specs.Array((), bool),
        'none': specs.Array((0,), float),
        'reward': specs.Array((), np.int64),
    }
    act = {'move': specs.BoundedArray((2,), float, [-1, -3], [1, 3]), 'flag': CHOICE}
    env = from_dm.FromDM(Fake(obs, act))
    assert {*env.obs_space} - {*base.FLAGS} == {'a_b', 'camera', 'obs_flag', 'obs_reward'}
    assert {*env.act_space} == {'move', 'flag', 'reset'}
    assert env.obs_space['a_b'].dtype == np.float32
    contracts.check_env(wrappers.wrap(env))


@pytest.mark.parametrize('discount, terminal', [(0.0, True), (1.0, False), (0.9, False)])
def test_only_a_discount_of_0_is_terminal(discount, terminal):
    obs = run(from_dm.FromDM(Fake(VECTOR, CHOICE, discount=discount)), action=0)
    assert [bool(x['is_last']) for x in obs] == [False] * 4 + [True]
    assert [bool(x['is_terminal']) for x in obs] == [False] * 4 + [terminal]
    assert [float(x['reward']) for x in obs] == [0, 1.5, 1.5, 1.5, 1.5]


def test_single_values_have_the_names_that_are_asked_for():
    inner = Fake(VECTOR, CHOICE)
    env = from_dm.FromDM(inner, obs_key='state', act_key='choice')
    assert 'state' in env.obs_space and 'choice' in env.act_space
    obs = run(env, choice=3)
    assert obs[2]['state'].tolist() == [2, 2, 2]
    assert inner.actions[0] == 3 and inner.actions[0].dtype == np.int32


def test_actions():
    counted = specs.BoundedArray((2,), np.int64, [-1, 3], [1, 4])
    tight = specs.BoundedArray((), np.float64, -0.1, 0.1)
    inner = Fake(VECTOR, {'counted': counted, 'tight': tight})
    env = from_dm.FromDM(inner)
    assert env.act_space['counted'].classes.tolist() == [3, 2]
    run(env, counted=[2, 0], tight=np.float32(0.1))
    got = inner.actions[0]
    counted.validate(got['counted'])
    tight.validate(got['tight'])  # Although 0.1 is more than that as a float32.
    assert got['counted'].tolist() == [1, 3]


def test_is_closed_once():
    inner = Fake(VECTOR, CHOICE)
    env = from_dm.FromDM(inner)
    env.close()
    env.close()
    assert inner.closed == 1 and env.env is inner
