"""The agent as a whole, tiny: all kinds of spaces, modes, what learns from what, the carry."""

import functools
import types

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import pytest

from dreamerv3 import agent, context
from dreamerv3.tests import small
from embodied.core import streams
from embodied.jax import optim

UNEQUAL = elements.Space(np.int32, (3,), 0, np.array([2, 3, 4]))
HYBRID = {
    'button': elements.Space(bool),
    'switches': elements.Space(bool, (2,)),
    'choice': elements.Space(np.int32, (), 2, 7),
    'keys': UNEQUAL,
    'move': elements.Space(np.float32, (2,), -1, 1),
    'turn': elements.Space(np.float32, (), -1, 1),
}
MIXED = {
    'front': elements.Space(np.uint8, (12, 12, 3)),
    'top': elements.Space(np.uint8, (7, 9, 1)),
    'vector': elements.Space(np.float32, (3,)),
    'matrix': elements.Space(np.float32, (2, 3)),
    'flag': elements.Space(bool),
    'token': elements.Space(np.int32, (), 0, 4),
    'tokens': elements.Space(np.int32, (2,), 1, np.array([3, 5])),
    'log/secret': elements.Space(np.float32),
    **small.REWARD,
}
# Observations, actions, flags and replay context of the agents that are compiled.
CASES = {
    'mixed': (MIXED, HYBRID, {'agent.imag_last': 2}, 1),
    'vector': (small.VECTOR, small.MOVE, {'agent.repval_loss': False}, 0),
    'image': (small.IMAGE, small.CHOICE, {'agent.contdisc': False}, 2),
}
NAMES = ['vector', *(pytest.param(x, marks=pytest.mark.slow) for x in ('mixed', 'image'))]


@functools.cache
def made(name):
    obs_space, act_space, flags, length = CASES[name]
    result = small.make_agent(obs_space, act_space, flags=flags, replay_context=length)
    return result, result.save()


def fresh(name):
    result, state = made(name)
    result.load(state)
    return result


def data(model, **kwargs):
    """A batch as the stream of the agent gives it."""
    values = small.batch(model, **kwargs)
    return {k: v for k, v in values.items() if not k.startswith('log/')}


def learn(agent, batches):
    """Outputs and metrics of updates, and the last carry."""
    carry, results = agent.init_train(2), []
    for batch in agent.stream(streams.Stateless(iter(batches))):
        carry, *result = agent.train(carry, batch)
        results.append(result)
        if len(results) == len(batches):
            break
    results.append(agent.flush())
    return carry, results[1:]


def features(model, out):
    """Features of the latents that the policy put out."""
    return agent.features(context.decode(out, model.dyn.classes))


@pytest.mark.parametrize('name', NAMES)
class TestSpaces:
    def test_policy(self, name):
        actor = fresh(name)
        model, carry = actor.model, actor.init_policy(2)
        for step in range(2):
            obs = small.observation(model, first=step == 0)
            carry, act, out = actor.policy(carry, obs, mode='train')
            assert act.keys() == model.act_space.keys()
            for key, space in model.act_space.items():
                assert act[key].shape == (2, *space.shape) and act[key].dtype == space.dtype
                assert np.isfinite(act[key]).all()
                if space.dtype == np.int32:
                    assert (act[key] >= space.low).all() and (act[key] < space.high).all()
            assert out.keys() == model.entry_space.keys()
            for key, space in model.entry_space.items():
                assert out[key].shape == (2, *space.shape) and out[key].dtype == space.dtype

    def test_train_and_report(self, name):
        learner = fresh(name)
        model, before = learner.model, learner.save()['params']
        batch = data(model)
        _, results = learn(learner, [batch, batch])
        for out, metrics in results:
            assert all(np.isfinite(v).all() for v in metrics.values())
            assert all(np.isfinite(v).all() for v in out.get('replay', {}).values())
        losses = {k for k in results[0][1] if k.startswith('loss/')}
        seen = {f'loss/{k}' for k in model.obs_space if k not in agent.FLAGS}
        rest = {f'loss/{k}' for k in ('rew', 'con', 'dyn', 'rep', 'policy', 'value', 'repval')}
        rest -= set() if model.config.repval_loss else {'loss/repval'}
        assert losses == seen | rest
        after = learner.save()['params']
        for module in ('enc', 'dyn', 'dec', 'rew', 'con', 'pol', 'val', 'slowval'):
            keys = [k for k in before if k.startswith(f'{module}/')]
            assert keys and any(not np.array_equal(before[k], after[k]) for k in keys), module
        _, metrics = learner.report(learner.init_report(2), batch)
        shapes = {k: v.shape[1:] for k, v in metrics.items() if k.startswith('openloop/')}
        sizes = {k: s.shape for k, s in model.dec.images.items()}
        # Three below each other in each of two rows, in a frame of two pixels.
        assert shapes == {
            f'openloop/{k}': (3 * h + 4, 2 * w + 8, 3) for k, (h, w, _) in sizes.items()
        }

    def test_latents_go_back_to_replay(self, name):
        learner = fresh(name)
        batch = data(learner.model)
        _, [(out, _)] = learn(learner, [batch])
        length = CASES[name][3]
        if not length:
            assert out == {} and learner.model.entry_space == {}
            return
        replay = out['replay']
        assert set(replay) == {'stepid', 'priority', 'dyn/deter', 'dyn/stoch'}
        np.testing.assert_array_equal(replay['stepid'], batch['stepid'][:, length:])
        assert replay['priority'].shape == (2, 5 - length)
        for key, space in learner.model.entry_space.items():
            assert replay[key].dtype == space.dtype
        assert replay['dyn/stoch'].max() < learner.model.dyn.classes


class TestModes:
    def test_eval_is_greedy_for_the_same_latent(self):
        actor = fresh('mixed')
        obs = small.observation(actor.model, first=True)
        _, act, out = actor.policy(actor.init_policy(2), obs, mode='eval')
        dists = small.compiled(lambda x: {k: d.pred() for k, d in actor.model.pol(x, 1).items()})
        _, best = dists(actor.params, features(actor.model, out))
        for key, value in best.items():
            np.testing.assert_allclose(np.float32(act[key]), np.float32(value), 1e-4, 1e-5)

    def test_train_samples(self):
        actor = fresh('mixed')
        obs = small.observation(actor.model, first=True)
        carry = lambda: actor.init_policy(2)
        moves = [actor.policy(carry(), obs, mode='train')[1]['move'] for _ in range(2)]
        assert not np.array_equal(*moves)
        _, act, out = actor.policy(carry(), obs, mode='train')
        run = small.compiled(lambda x: actor.model.pol(x, 1)['move'].pred())
        assert not np.allclose(
            act['move'], run(actor.params, features(actor.model, out))[1], atol=1e-3
        )

    def test_eval_mode_sample(self):
        model = small.make_model(act_space=small.MOVE, flags={'agent.eval_mode': 'sample'})
        params, obs = small.create(model), small.observation(model, first=True)
        run = small.compiled(lambda mode, obs: model.policy(model.initial(2), obs, mode)[1])
        acts = {}
        for mode in ('train', 'eval'):
            run = small.compiled(lambda obs, m=mode: model.policy(model.initial(2), obs, m)[1])
            acts[mode] = run(params, obs)[1]['action']
        # The same seed draws the same.
        np.testing.assert_array_equal(acts['train'], acts['eval'])


class TestCarry:
    def deter(self, learner, carry, batch):
        """First deterministic state of an update from a carry."""
        carry = jax.tree.map(jnp.copy, carry)  # It is given up.
        learner.train(carry, batch)
        return learner.flush()[0]['replay']['dyn/deter'][:, 0]

    def batch(self, learner, consec, stored=0.0):
        batch = data(learner.model, consec=consec)
        batch['dyn/deter'] = batch['dyn/deter'] + np.float32(stored)
        return batch

    def test_consecutive_rows_carry_on(self):
        learner, state = made('mixed')
        zero = learner.init_train(2)
        other = ({k: v + 0.5 for k, v in zero[0].items()}, zero[1])

        def first(carry, *args):
            learner.load(state)
            return self.deter(learner, carry, self.batch(learner, *args))

        opening = first(zero, 0)
        np.testing.assert_array_equal(opening, first(other, 0))
        assert not np.allclose(opening, first(zero, 0, 1.0))
        later = first(zero, 1)
        np.testing.assert_array_equal(later, first(zero, 1, 1.0))
        assert not np.allclose(later, first(other, 1))

    def test_carry_ends_with_the_last_action(self):
        learner = fresh('mixed')
        batch = data(learner.model)
        (state, prevact), [(out, _)] = learn(learner, [batch])
        for key in HYBRID:
            np.testing.assert_array_equal(prevact[key], batch[key][:, -1])
        last = {k: v[:, -1] for k, v in out['replay'].items()}
        stored = context.decode(last, learner.model.dyn.classes)
        for key in ('deter', 'stoch'):
            np.testing.assert_array_equal(state[key], stored[key])

    def test_first_steps_forget(self):
        actor = fresh('mixed')
        zero = actor.init_policy(2)
        other = ({k: v + 0.5 for k, v in zero[0].items()}, {**zero[1], 'keys': zero[1]['keys'] + 1})
        for first in (True, False):
            obs = small.observation(actor.model, first=first)
            deter = []
            for carry in (zero, other):
                _, _, out = actor.policy(jax.tree.map(jnp.copy, carry), obs)
                deter.append(out['dyn/deter'])
            assert np.array_equal(*deter) == first


def learning(losses, flags):
    """Names of the modules that get a gradient, for each of some losses by itself."""
    flags = {f'agent.{k}': v for k, v in flags.items()}
    # Heads that start at zero would give no gradient to what is below them.
    flags[r'agent\.(rewhead|value)\.outscale'] = 1.0
    model = small.make_model(flags=flags)
    batch = small.batch(model, steps=3)

    def weighted(weights):
        args = context.apply(model.initial(2), batch, 1)
        _, (_, _, terms, _) = model.loss(*args, training=False)
        return sum(weights[i] * terms[k].mean() for i, k in enumerate(losses)), {}

    def norms(params, weights):
        fn = nj.pure(optim.value_and_grad(weighted, model.opt.paths))
        _, (_, grads, _) = fn(params, weights, seed=small.SEED)
        sums = {}
        for key, value in grads.items():
            sums.setdefault(key.split('/')[0], []).append(jnp.abs(value).sum())
        return {k: sum(v) for k, v in sums.items()}

    program = jax.jit(norms)
    params, weights = dict(small.create(model)), np.eye(len(losses), dtype=np.float32)
    result = {}
    for key, row in zip(losses, weights, strict=True):
        sums = program(params, row)
        assert all(np.isfinite(v) for v in sums.values())
        result[key] = {k for k, v in sums.items() if v > 0}
    return result


@pytest.mark.parametrize(
    'flags, want',
    [
        (
            {},
            {
                'vector': {'dec', 'dyn', 'enc'},
                'rew': {'rew', 'dyn', 'enc'},
                'con': {'con', 'dyn', 'enc'},
                'policy': {'pol'},
                'value': {'val'},
                'repval': {'val', 'dyn', 'enc'},
            },
        ),
        (
            {'ac_grads': True, 'reward_grad': False, 'repval_grad': False},
            {
                'rew': {'rew'},
                'policy': {'pol', 'dyn', 'enc'},
                'value': {'val', 'dyn', 'enc'},
                'repval': {'val'},
            },
        ),
    ],
)
def test_which_modules_learn_from_a_loss(flags, want):
    assert learning(list(want), flags) == want


@pytest.mark.parametrize('contdisc, going_on', [(True, 1 - 1 / 10), (False, 1.0)])
def test_discount_is_part_of_the_continuation(contdisc, going_on):
    """Where the episode goes on, the continuation aims at 1, or at the discount with contdisc."""
    model = small.make_model(flags={'agent.contdisc': contdisc, 'agent.horizon': 10})
    batch = small.batch(model, steps=2)
    batch['is_terminal'][0, 1] = True
    batch = {k: jnp.asarray(v) for k, v in batch.items()}
    feat = {'deter': jnp.zeros((2, 2, 8)), 'stoch': jnp.zeros((2, 2, 2, 4))}
    target = types.SimpleNamespace(loss=lambda target: target)
    model.enc = model.rew = model.con = lambda *args, bdims: target
    model.dyn = types.SimpleNamespace(
        observe=lambda *args: (None, feat), losses=lambda feat: ({}, {})
    )
    model.dec = lambda feat, bdims: {}
    terms = model._world_model(None, batch, None)[2]
    np.testing.assert_allclose(terms['con'], [[going_on, 0], [going_on, going_on]], rtol=1e-6)


class TestErrors:
    def check(self, match, obs=(), act=(), **kwargs):
        with pytest.raises(ValueError, match=match) as e:
            small.make_model({**small.VECTOR, **dict(obs)}, {**small.CHOICE, **dict(act)}, **kwargs)
        assert '\n' not in str(e.value)

    def test_names(self):
        space = elements.Space(np.float32)
        self.check("^Space 'a/b': names of observations", obs={'a/b': space})
        self.check("^Space 'a b': names of observations", act={'a b': space})
        small.make_model({**small.VECTOR, 'log/any thing': space})

    def test_nothing_to_see(self):
        with pytest.raises(ValueError, match='no observations besides reward and flags'):
            small.make_model({**small.REWARD, 'log/x': elements.Space(np.float32)})

    def test_too_many_classes(self):
        self.check(
            "^Space 'count' has 100000 classes", {'count': elements.Space(np.int32, (), 0, 100000)}
        )
        self.check(
            "^Space 'count' has 42949\\d+ classes", {'count': elements.Space(np.int32, (2,))}
        )

    def test_image_size(self):
        wide = {'image': elements.Space(np.uint8, (12, 33, 3))}
        self.check('^Images image are 12x33; with 1 halvings .* from 5 to 32, as of', wide)
        self.check('^Images a are 4x12', {'a': elements.Space(np.uint8, (4, 12, 3))})

    def test_rank(self):
        deep = elements.Space(np.float32, (1, 1, 1, 1))
        self.check(r"^Observation 'deep' has shape \(1, 1, 1, 1\)", {'deep': deep})


def test_update_with_an_infinite_observation_is_left_out(capsys):
    learner = fresh('vector')
    batch = data(learner.model)
    before = learner.save()['params']
    key = next(k for k in learner.model.obs_space if k not in agent.FLAGS)
    bad = {**batch, key: np.full_like(batch[key], np.inf)}
    _, results = learn(learner, [bad])
    assert results[0][0] == {} and set(results[0][1]) == {'skipped'}
    assert f'loss/{key}' in capsys.readouterr().out
    after = learner.save()['params']
    moved = [k for k in before if not np.array_equal(before[k], after[k])]
    assert not moved
