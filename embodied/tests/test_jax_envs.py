import itertools

import elements
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from embodied import envs
from embodied.core import random, trees, wrappers
from embodied.jax.envs import pure
from embodied.tests import contracts

SEEDS = [3, 4, 5]


class Line:
    """Counts from a random start until it is 10, or for `limit` steps. Action 1 counts twice."""

    limit = 6

    def __init__(self):
        self.obs_space = {
            'count': elements.Space(np.float32),
            'draw': elements.Space(np.float32, (2,)),
        }
        self.act_space = {'go': elements.Space(np.int32, (), 0, 2)}

    def reset(self, key):
        count = jax.random.randint(key, (), 0, 4)
        return (count, 0), self.obs(count, key)

    def step(self, key, state, action):
        count, steps = state
        count, steps = count + 1 + action['go'], steps + 1
        terminal = count >= 10
        last = terminal | (steps >= self.limit)
        return (count, steps), self.obs(count, key), count, terminal, last

    def obs(self, count, key):
        return {'count': count.astype(jnp.float32), 'draw': jax.random.normal(key, (2,))}


def make(seeds=SEEDS):
    return pure.PureEnv(Line(), seeds)


def play(env, rounds, seed=0, reset=True):
    agent = random.RandomAgent(env.obs_space, env.act_space, seed)
    reset, seen = np.full(len(env), reset), []
    for _ in range(rounds):
        _, acts, _ = agent.policy((), {'is_first': reset})
        seen.append({'acts': acts, **env.step({**acts, 'reset': reset})})
        reset = seen[-1]['is_last']
    return seen


def test_rows_count_by_themselves():
    seen = play(wrappers.check(make()), 40)
    for i in range(3):
        steps = 0
        for before, now in itertools.pairwise(seen):
            assert now['is_first'][i] == before['is_last'][i]
            if now['is_first'][i]:
                steps = 0
                assert now['count'][i] < 4 and now['reward'][i] == 0
                assert not now['is_last'][i] and not now['is_terminal'][i]
                continue
            steps += 1
            assert now['count'][i] == before['count'][i] + 1 + now['acts']['go'][i]
            assert now['reward'][i] == now['count'][i]
            assert now['is_terminal'][i] == (now['count'][i] >= 10)
            assert now['is_last'][i] == (now['is_terminal'][i] or steps == 6)
    assert any(x['is_terminal'].any() for x in seen)
    assert any((x['is_last'] & ~x['is_terminal']).any() for x in seen)


def test_what_a_row_does_depends_on_its_own_seed_only():
    together, alone = make(), make([4])
    reset = np.ones(3, bool)
    for step in range(20):
        acts = {'go': np.array([step % 2, 1, 0], np.int32)}
        ours = together.step({**acts, 'reset': reset})
        want = alone.step({'go': acts['go'][1:2], 'reset': reset[1:2]})
        contracts.assert_same(
            {k: v[1] for k, v in ours.items()}, {k: v[0] for k, v in want.items()}
        )
        reset = ours['is_last']
    first = make().step({'go': np.zeros(3, np.int32), 'reset': np.ones(3, bool)})
    assert len(np.unique(first['draw'], axis=0)) == 3


def test_any_row_can_be_reset_at_any_time():
    env = make()
    play(env, 2)
    obs = env.step({'go': np.zeros(3, np.int32), 'reset': np.array([False, True, False])})
    assert obs['is_first'].tolist() == [False, True, False]
    assert obs['count'][1] < 4


def test_state_goes_through_a_checkpoint():
    env = make()
    seen = play(env, 5)
    data, arrays = trees.split(env.save())
    want = play(env, 9, seed=1, reset=False)
    other = make([0, 0, 0])
    other.load(trees.join(data, arrays))
    for a, b in zip(want, play(other, 9, seed=1, reset=False), strict=True):
        for key in a.keys() - {'acts'}:
            np.testing.assert_array_equal(a[key], b[key])
    assert seen


def test_observations_belong_to_the_caller():
    env = make()
    first = play(env, 1)[0]
    first['count'][:] = 77
    assert (play(env, 1)[0]['count'] != 77).all()


def test_contract_of_a_single_one():
    contracts.check_env(wrappers.Single(make([1])), steps=80)


@pytest.mark.parametrize(
    'task, shape, discrete',
    [
        ('CartPole-v1', (4,), True),
        ('Pendulum-v1', (3,), False),
        pytest.param('Breakout-MinAtar', (10, 10, 4), True, marks=pytest.mark.slow),
    ],
)
def test_gymnax(task, shape, discrete):
    pytest.importorskip('gymnax', reason='gymnax is not installed')
    env = wrappers.wrap(envs.make_batch(f'gymnax_{task}', SEEDS, length=12))
    assert env.obs_space['vector'].shape == shape
    assert env.act_space['action'].discrete == discrete
    seen = play(env, 30)
    last = np.concatenate([x['is_last'] for x in seen])
    terminal = np.concatenate([x['is_terminal'] for x in seen])
    assert last.any() and (last | ~terminal).all() and (last & ~terminal).any()
    again = play(wrappers.wrap(envs.make_batch(f'gymnax_{task}', SEEDS, length=12)), 30)
    for a, b in zip(seen, again, strict=True):
        np.testing.assert_array_equal(a['vector'], b['vector'])


@pytest.mark.slow
@pytest.mark.filterwarnings('ignore')  # Brax and what it is made of are not maintained.
@pytest.mark.parametrize(
    'task, size, options',
    [
        ('craftax_Craftax-Classic-Symbolic-v1', 1345, {}),
        ('brax_inverted_pendulum', 4, {'length': 9, 'repeat': 2}),
    ],
)
def test_others(task, size, options):
    package = task.partition('_')[0]
    pytest.importorskip(package, reason=f'{package} is not installed')
    env = wrappers.wrap(envs.make_batch(task, SEEDS[:2], **options))
    assert env.obs_space['vector'].shape == (size,)
    seen = play(env, 25)
    for before, now in itertools.pairwise(seen):
        np.testing.assert_array_equal(now['is_first'], before['is_last'])
    assert len({x['vector'].tobytes() for x in seen}) == 25
    lasts = [i for i, x in enumerate(seen) if x['is_last'][0]]
    assert not options or lasts[0] <= options['length']


def test_gymnax_mistakes():
    pytest.importorskip('gymnax', reason='gymnax is not installed')
    with pytest.raises(ValueError, match="gymnax has no environment 'CartPol-v1', did you mean"):
        envs.make_batch('gymnax_CartPol-v1', SEEDS)


def test_nested_spaces_have_names():
    gymnax = pytest.importorskip('gymnax', reason='gymnax is not installed')
    from embodied.jax.envs import gymnax as ours

    spaces = gymnax.environments.spaces
    box = spaces.Box(-1, 1, (2,), jnp.float32)
    nested = spaces.Dict({'a': box, 'b': spaces.Tuple([spaces.Discrete(3), box])})
    assert list(ours.flatten(nested)) == ['a', 'b_obs_0', 'b_obs_1']
    assert ours.space(spaces.Discrete(3)).high == 3
    assert np.isinf(ours.space(box).high).all()
    assert (ours.space(box, bounds=True).high == 1).all()


def test_package_and_name_are_checked_without_jax(monkeypatch):
    suite = envs.suites['gymnax']._replace(package='no_such_package')
    monkeypatch.setitem(envs.suites, 'gymnax', suite)
    with pytest.raises(ValueError, match=r"needs the package 'no_such_package': pip install"):
        envs.check('gymnax_CartPole-v1')
    monkeypatch.setitem(envs.suites, 'gymnax', suite._replace(package=''))
    with pytest.raises(ValueError, match='allowed is gymnax_TASK'):
        envs.check('gymnax')
