"""An agent loaded from a logdir: it acts as in evaluation, and imagines without an environment."""

import subprocess
import sys

import elements
import jax
import ninjax as nj
import numpy as np
import pytest

import dreamerv3
from dreamerv3 import agent as agents
from dreamerv3 import imagine, trained
from dreamerv3.tests import small
from embodied.jax import agent as compiled
from embodied.jax import dists, ops

EVERYTHING = {
    'image': elements.Space(np.uint8, (12, 12, 3)),
    'vector': elements.Space(np.float32, (3,)),
    'choice': elements.Space(np.int32, (), 2, 6),
    'keys': elements.Space(np.int32, (2,), 0, np.array([2, 3])),
    'flags': elements.Space(bool, (2,)),
    'mask/choice': elements.Space(bool, (3,)),
    'secret': elements.Space(np.float32, (2,)),
    **small.REWARD,
}
BOTH = {**small.MOVE, 'button': elements.Space(bool), 'choice': elements.Space(np.int32, (), 1, 4)}
# The last one is predicted, but not seen.
FLAGS = {'agent.dyn.rssm.deter': 16, 'agent.enc.simple.exclude': 'secret'}
VECTOR = {'vector': np.float32([0.1, -1, 2])}


@pytest.fixture(scope='module')
def logdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('trained') / 'run'
    small.write(folder)
    return folder


@pytest.fixture(scope='module')
def loaded(logdir):
    return dreamerv3.load(logdir)


@pytest.fixture
def agent(loaded):
    loaded.reset()
    loaded.calls = dict.fromkeys(loaded.calls, 0)
    return loaded


@pytest.fixture(scope='module')
def rich(tmp_path_factory):
    """One with all kinds of observations and actions, images among them."""
    folder = tmp_path_factory.mktemp('rich')
    small.write(folder, EVERYTHING, BOTH, FLAGS)
    return dreamerv3.load(folder)


class TestLoad:
    def test_knows_what_it_was_trained_on(self, agent):
        assert (agent.task, agent.step) == ('dummy_disc', 7)
        assert agent.obs_space.keys() == {'vector'}
        assert agent.act_space.keys() == {'action'}
        assert not any(k.startswith('opt/') for k in agent.params)

    def test_import_is_light(self):
        code = 'import dreamerv3, sys; assert "jax" not in sys.modules; dreamerv3.load'
        subprocess.run([sys.executable, '-c', code], check=True, timeout=60)

    def test_also_a_checkpoint(self, logdir):
        (folder,) = (logdir / 'ckpt').iterdir()
        for path in (folder, folder.parent, str(logdir)):
            assert dreamerv3.stored.read(path).folder == folder

    def test_parameters_that_do_not_fit(self, tmp_path):
        small.write(tmp_path)
        file = tmp_path / 'config.yaml'
        file.write_text(file.read_text().replace('stoch: ', 'stoch: 1'))
        with pytest.raises(ValueError, match='do not fit this agent') as e:
            dreamerv3.load(tmp_path)
        assert '\n' not in str(e.value)


class TestAct:
    def test_acts_as_in_evaluation(self, agent):
        observations = [small.observation(agent.model, 1, i, first=not i) for i in range(6)]
        policy = jax.jit(nj.pure(agent.model.policy), static_argnames='mode')
        carry = agent.model.initial(1)
        for i, obs in enumerate(observations):
            seed = compiled.make_seed(0, compiled.EVAL, i)
            _, (carry, want, _) = policy(dict(agent.params), carry, obs, mode='eval', seed=seed)
            got = agent.act({**obs, 'log/other': 3})
            np.testing.assert_array_equal(got['action'], want['action'])

    def test_samples(self, agent):
        acts = []
        for _ in range(30):
            agent.reset()
            acts.append(int(agent.act(VECTOR, 'sample')['action']))
        assert len(set(acts)) > 1
        agent.reset()
        agent.calls = dict.fromkeys(agent.calls, 0)
        assert agent.act(VECTOR, 'sample')['action'] == acts[0]

    def test_single_is_a_batch_of_one(self, agent):
        rng = np.random.default_rng(0)
        vectors = rng.standard_normal((5, 3), np.float32)
        single = [agent.act({'vector': x}) for x in vectors]
        agent.reset()
        agent.calls = dict.fromkeys(agent.calls, 0)
        batch = [agent.act({'vector': x[None]}) for x in vectors]
        assert all(np.shape(x['action']) == () for x in single)
        assert [x['action'] for x in single] == [x['action'][0] for x in batch]

    def test_remembers_until_reset(self, agent):
        def carry(*vectors):
            agent.reset()
            agent.calls = dict.fromkeys(agent.calls, 0)
            for x in vectors:
                agent.act({'vector': x})
            return np.asarray(agent.carry[0]['deter'])

        once = carry([0, 0, 1])
        np.testing.assert_array_equal(carry([0, 0, 1]), once)
        twice = carry([0, 0, 1], [0, 0, 1])
        assert not np.array_equal(twice, once)
        agent.reset()
        agent.act({'vector': [5, 5, 5]})
        agent.act({'vector': [0, 0, 1], 'is_first': True})
        np.testing.assert_allclose(np.asarray(agent.carry[0]['deter']), once, atol=1e-6)

    def test_all_kinds_of_spaces(self, rich):
        rich.reset()
        for mode in trained.MODES:
            act = rich.act(small.observation(rich.model, 3), mode)
            for key, space in BOTH.items():
                assert act[key].dtype == space.dtype and act[key].shape == (3, *space.shape)
            assert set(act['choice'].tolist()) <= {1, 2, 3}

    def test_masks_are_obeyed_and_what_is_not_seen_is_not_needed(self, rich):
        rich.reset()
        obs = small.observation(rich.model, 3)
        assert rich.obs_space.keys() == obs.keys() - {'secret', *agents.FLAGS}
        obs = {k: v for k, v in obs.items() if k != 'secret'}
        for mode in trained.MODES:
            for index in range(3):
                obs['mask/choice'] = np.eye(3, dtype=bool)[[index] * 3]
                assert rich.act(obs, mode)['choice'].tolist() == [index + 1] * 3
        dream = rich.imagine(obs, 'sample')
        assert dream.obs['secret'].shape == (3, rich.model.config.imag_length, 2)

    @pytest.mark.parametrize(
        'obs, words',
        [
            ([1, 2, 3], "got list, allowed is a dict with 'vector'"),
            ({'vektor': [1, 2, 3]}, "lacks ['vector']"),
            ({'vector': [1, 2]}, 'shape (2,); its space is float32 (3,)'),
            ({'vector': [1, 2, np.nan]}, 'holds NaN'),
            ({'vector': ['a', 'b', 'c']}, 'has dtype'),
            ({'vector': np.zeros((4, 2, 3))}, 'shape (4, 2, 3)'),
        ],
    )
    def test_mistakes(self, agent, obs, words):
        with pytest.raises(ValueError) as e:
            agent.act(obs)
        assert words in str(e.value) and '\n' not in str(e.value)

    def test_other_batch(self, agent):
        agent.act(VECTOR)
        with pytest.raises(ValueError, match='now has 2'):
            agent.act({'vector': np.zeros((2, 3))})
        with pytest.raises(ValueError, match='mode: got'):
            agent.act(VECTOR, 'best')


class TestImagine:
    def test_by_itself(self, agent):
        dream = agent.imagine()
        assert dream.obs['vector'].shape == (agent.model.config.imag_length, 3)
        assert dream.reward.shape == dream.cont.shape == dream.action['action'].shape
        assert ((dream.cont > 0) & (dream.cont <= 1)).all()
        assert agent.carry is None

    def test_with_actions(self, agent):
        actions = {'action': [0, 1, 2, 3]}
        dream = agent.imagine(VECTOR, actions)
        assert dream.obs['vector'].shape == (4, 3)
        np.testing.assert_array_equal(dream.action['action'], actions['action'])
        agent.calls = dict.fromkeys(agent.calls, 0)
        other = agent.imagine(VECTOR, {'action': [3, 1, 2, 3]})
        assert not np.array_equal(dream.obs['vector'], other.obs['vector'])

    def test_batch(self, agent):
        obs = {'vector': np.random.default_rng(0).standard_normal((2, 3))}
        dream = agent.imagine(obs, {'action': np.zeros((2, 4), int)})
        assert dream.obs['vector'].shape == (2, 4, 3)
        assert dream.reward.shape == (2, 4)

    def test_goes_on_from_what_act_saw_and_leaves_it(self, agent):
        for _ in range(3):
            agent.act(VECTOR)
        before = jax.device_get(agent.carry)
        latent, _ = agent.begin()
        np.testing.assert_array_equal(latent.state['deter'], before[0]['deter'])
        agent.imagine(VECTOR, 'greedy', agent.model.config.imag_length)
        jax.tree.map(np.testing.assert_array_equal, jax.device_get(agent.carry), before)

    def test_all_kinds_of_spaces(self, rich):
        rich.reset()
        latent, first = rich.begin(small.observation(rich.model, 3))
        _, dream = rich.go_on(latent, steps=2)
        for values, lead in ((first.obs, (3,)), (dream.obs, (3, 2))):
            for key, space in rich.obs_space.items():
                assert values[key].shape == (*lead, *space.shape)
                assert values[key].dtype == space.dtype
            assert values['image'].std() > 1
            assert (values['choice'] >= 2).all() and (values['keys'] <= [1, 2]).all()
        assert {k: v.dtype for k, v in dream.action.items()} == {
            k: v.dtype for k, v in BOTH.items()
        }

    def test_continuous_actions_are_kept_in_their_bounds(self, rich):
        rich.reset()
        actions = {'action': [[3, -3]], 'button': [True], 'choice': [1]}
        dream = rich.imagine(actions=actions)
        np.testing.assert_array_equal(dream.action['action'], [[1, -1]])

    @pytest.mark.parametrize(
        'actions, steps, words',
        [
            ('best', None, 'mode: got'),
            ('greedy', 0, 'steps: got 0'),
            ({'action': [0, 1]}, 3, 'steps: got 3, but there are 2 actions'),
            ({'action': [0, 9]}, None, 'is 9 at [1], allowed is 0 to below 4'),
            ({'action': 0}, None, 'shape ()'),
            ({'action': [0.5]}, None, 'dtype float64'),
            ({}, None, "lacks ['action']"),
        ],
    )
    def test_mistakes(self, agent, actions, steps, words):
        with pytest.raises(ValueError) as e:
            agent.imagine(VECTOR, actions, steps)
        assert words in str(e.value) and '\n' not in str(e.value)


class Decoder:
    """Predicts an image and a vector that are known."""

    images = ('image',)

    def __call__(self, feat, bdims):
        vector = dists.Agg(dists.MSE(feat, ops.symlog, ops.symexp), 1)
        return {'vector': vector, 'image': dists.Agg(dists.MSE(feat / 2), 1)}


def test_predictions_are_in_the_units_of_the_environment():
    spaces = {'vector': elements.Space(np.float32, (3,)), 'image': elements.Space(np.uint8, (3,))}
    model = type('Model', (), {'dec': Decoder(), 'obs_space': spaces})
    obs = imagine.decode(model, np.float32([[-2, 0.5, 3]]), 1)
    np.testing.assert_allclose(obs['vector'], [[1 - np.e**2, np.e**0.5 - 1, np.e**3 - 1]], 1e-5)
    np.testing.assert_array_equal(obs['image'], np.uint8([[0, 64, 255]]))
