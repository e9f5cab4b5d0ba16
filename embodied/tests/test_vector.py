import numpy as np
import pytest

from embodied import envs
from embodied.core import random, wrappers
from embodied.tests import contracts

gymnasium = pytest.importorskip('gymnasium', reason='gymnasium is not installed')
from embodied.envs import vector  # noqa: E402

SEEDS = [3, 4, 5]


class Line(gymnasium.Env):
    """Shows how many steps were taken, and by which action; ends at 3, or is cut off at `limit`."""

    def __init__(self, limit=9):
        self.limit = limit
        self.observation_space = gymnasium.spaces.Dict(
            {
                'image': gymnasium.spaces.Box(0, 255, (8, 8), np.uint8),
                'steps': gymnasium.spaces.Discrete(20, start=1),
                'pair': gymnasium.spaces.Tuple(
                    [gymnasium.spaces.MultiBinary(2), gymnasium.spaces.Box(-1, 1, (), np.float64)]
                ),
            }
        )
        self.action_space = gymnasium.spaces.Dict(
            {
                'go': gymnasium.spaces.Discrete(3, start=-1),
                'how': gymnasium.spaces.Box(0, 4, (2,), np.float64),
            }
        )

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        self.start = self.np_random.uniform(-1, 1)
        return self.show(0, np.zeros(2)), {}

    def step(self, action):
        assert -1 <= action['go'] <= 1
        self.steps += 1
        over = self.steps == 3
        obs = self.show(action['go'], action['how'])
        return obs, float(self.steps), over, self.steps == self.limit, {}

    def show(self, go, how):
        image = np.full((8, 8), 10 * self.steps, np.uint8)
        pair = (np.array([go > 0, how[0] > 2], np.int8), np.array(self.start))
        return {'image': image, 'steps': self.steps + 1, 'pair': pair}


def sync(makers, mode='NextStep'):
    return gymnasium.vector.SyncVectorEnv(
        makers, autoreset_mode=gymnasium.vector.AutoresetMode(mode)
    )


def actions(env, seed=0):
    agent = random.RandomAgent(env.obs_space, env.act_space, seed)
    while True:
        yield agent.policy((), {'is_first': np.zeros(len(env))})[1]


def play(env, rounds, seed=0):
    """Observations as a driver gets them: it resets after the last one."""
    reset, seen = np.ones(len(env), bool), []
    for _, acts in zip(range(rounds), actions(env, seed), strict=False):
        obs = env.step({**acts, 'reset': reset})
        seen.append({k: np.array(v) for k, v in obs.items()})
        reset = seen[-1]['is_last']
    return seen


def test_every_observation_is_seen_once_and_the_flags_are_right():
    env = wrappers.check(vector.VectorEnv(sync([lambda: Line(9), lambda: Line(2)]), seed=SEEDS[:2]))
    seen = play(env, 9)
    column = lambda key, i: [x[key][i].item() for x in seen]
    assert column('steps', 0) == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert column('reward', 0) == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert column('is_first', 0) == [x == 0 for x in column('steps', 0)]
    assert column('is_last', 0) == column('is_terminal', 0) == [x == 3 for x in column('steps', 0)]
    # The other one is cut off, which is no terminal.
    assert column('steps', 1) == [0, 1, 2, 0, 1, 2, 0, 1, 2]
    assert column('is_last', 1) == [x == 2 for x in column('steps', 1)]
    assert not any(column('is_terminal', 1))


def test_values_are_those_of_single_environments():
    pytest.importorskip('gymnasium')
    from embodied.envs import from_gym

    together = vector.VectorEnv(sync([Line, Line]), seed=SEEDS[:2])
    single = from_gym.FromGym(Line(), seed=SEEDS[1])
    assert str(together.obs_space) == str(single.obs_space)
    assert str(together.act_space) == str(single.act_space)
    reset = np.ones(2, bool)
    for _, acts in zip(range(20), actions(together), strict=False):
        ours = together.step({**acts, 'reset': reset})
        want = single.step({**{k: v[1] for k, v in acts.items()}, 'reset': reset[1]})
        contracts.assert_same({k: v[1] for k, v in ours.items()}, want)
        reset = np.array(ours['is_last'])
    assert ours['image'].shape == (2, 8, 8, 1)


def test_all_can_be_reset_at_once_but_not_some_amid_their_episodes():
    env = vector.VectorEnv(sync([Line, Line]), seed=SEEDS[:2])
    first = play(env, 2)
    again = play(env, 2)
    assert again[0]['is_first'].all() and (again[1]['steps'] == 1).all()
    assert (first[0]['pair_1'] != again[0]['pair_1']).all()  # The seed is for the first reset.
    acts = next(actions(env))
    with pytest.raises(ValueError, match='Only all environments at once'):
        env.step({**acts, 'reset': np.array([True, False])})


@pytest.mark.parametrize('mode', ['SameStep', 'Disabled'])
def test_other_ways_to_reset_are_refused(mode):
    with pytest.raises(ValueError, match='allowed is NEXT_STEP'):
        vector.VectorEnv(sync([Line], mode))


def make(task, seeds=SEEDS, **kwargs):
    env = wrappers.wrap(envs.make_batch(task, seeds, **kwargs))
    assert len(env) == len(seeds)
    return env


def check(task, rounds=60, **kwargs):
    """Contract, repeatability, and closing of a suite."""
    first, again, other = (
        make(task, seeds, **kwargs) for seeds in (SEEDS, SEEDS, [x + 9 for x in SEEDS])
    )
    seen = [play(x, rounds) for x in (first, again, other)]
    for a, b in zip(seen[0], seen[1], strict=True):
        contracts.assert_same(a, b)
    same = [all(np.array_equal(a[k], b[k]) for k in a) for a, b in zip(*seen[::2], strict=True)]
    assert not all(same)
    last = np.ones(len(SEEDS), bool)
    for obs in seen[0]:
        np.testing.assert_array_equal(obs['is_first'], last)
        assert not obs['reward'][last].any() and not obs['is_last'][last].any()
        last = obs['is_last']
    assert len({x.tobytes() for x in (v for k, v in seen[0][0].items() if v.ndim > 1)})
    for env in (first, again, other):
        env.close()
        env.close()
    contracts.check_env(wrappers.wrap(envs.make(task, seed=1, **kwargs)), steps=120)
    return seen[0]


@pytest.mark.parametrize('mode', ['auto', 'sync'])
def test_gymnasium_ids(mode):
    seen = check('gymvec_CartPole-v1', mode=mode)
    assert any(x['is_terminal'].any() for x in seen)
    assert seen[0]['vector'].shape == (3, 4)


@pytest.mark.slow
def test_gymnasium_in_processes():
    check('gymvec_CartPole-v1', mode='async')


def test_mistakes_of_gymnasium_ids():
    with pytest.raises(ValueError, match="no environment 'CartPol-v1', did you mean"):
        envs.make_batch('gymvec_CartPol-v1', SEEDS)
    with pytest.raises(ValueError, match=r'env.gymvec.mode: got .both., allowed are auto, sync'):
        envs.make_batch('gymvec_CartPole-v1', SEEDS, mode='both')


def test_atari():
    pytest.importorskip('ale_py', reason='ale_py is not installed')
    seen = check('atarivec_pong', rounds=20, size=(48, 64), length=12)
    assert seen[0]['image'].shape == (3, 48, 64, 3)
    ends = [i for i, x in enumerate(seen) if x['is_last'].any()]
    assert ends == [12]  # The limit counts steps, not the first observation,
    assert not seen[12]['is_terminal'].any()  # and is no terminal.
    assert seen[5]['image'].std() > 10
    env = make('atarivec_pong', gray=True, actions='needed', noops=5)
    assert env.obs_space['image'].shape == (64, 64, 1)
    assert env.act_space['action'].high == 6
    with pytest.raises(ValueError, match="unknown game 'pongg'"):
        envs.make_batch('atarivec_pongg', SEEDS)


def test_envpool():
    pytest.importorskip('envpool', reason='envpool is not installed')
    seen = check('envpool_CartPole-v1')
    assert any(x['is_terminal'].any() for x in seen)
    with pytest.raises(ValueError, match="no environment 'CartPol-v1', did you mean"):
        envs.make_batch('envpool_CartPol-v1', SEEDS)
    assert make('envpool_Pong-v5', size=(48, 48)).obs_space['image'].shape == (48, 48, 4)
