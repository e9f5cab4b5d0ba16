"""Whole training steps against the recorded numbers: context, losses, gradients, new parameters."""

import itertools

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import pytest

from dreamerv3 import agent, context, importer
from dreamerv3.tests import numbers, recordings
from dreamerv3.tests.numbers import close, recording, sub
from embodied.jax import layers, optim

pytestmark = pytest.mark.golden

# Rounding of one value and of a sum of some hundred products, relative to the largest one.
NOISE = (1e-7, 1e-6)

# Values there are differences of numbers around 1e8 times tiny probabilities.
LOOSE = {'checkpoint_forward': 5e-5}


def make_model(meta):
    """The agent of a recording's config."""
    config, left_out = importer.translate({'agent': meta['agent_config']})
    known = {'dyn.typ', 'enc.typ', 'dec.typ', 'opt.momentum', 'repl_loss.slowtar'}
    assert {k.removeprefix('agent.') for k in left_out} <= known
    settings = elements.Config(**config.agent, replay_context=meta['replay_context'])
    obs_space, act_space = (numbers.spaces(meta[k]) for k in ('obs_space', 'act_space'))
    return agent.Dreamer(obs_space, act_space, settings)


def all_params(model, data, recorded):
    """Recorded parameters, and freshly made ones where none are recorded (optimiser state)."""

    def create():
        return model.train(model.initial(len(data['reward'])), data)

    fresh = nj.init(create)({}, seed=0)
    known = {k: v for k, v in recorded.items() if k in fresh}
    missing = [k for k in fresh if k not in known and not k.startswith(('opt/', 'slowval'))]
    assert not missing, missing
    slow = {k: known['val' + k[7:]] for k in fresh if k.startswith('slowval/') and k not in known}
    return {**fresh, **slow, **known}


def details(model, carry, data):
    """What the recordings have of the world model, on the way to its losses."""
    state, cut, prevact = context.apply(carry, data, model.config.replay_context)
    _, feat, _, _ = model._world_model(state, cut, prevact)
    x = agent.features(feat)
    recons = {k: v.pred() for k, v in model.dec(feat, bdims=2).items()}
    return {
        'ctx_carry': state,
        'prevact': prevact,
        'reset': cut['is_first'],
        'stepid': cut['stepid'],
        'tokens': model.enc(cut, bdims=2),
        'repfeat': feat,
        'prior_logit': model.dyn.prior(feat['deter']),
        'rew_logits': model.rew(x, bdims=2).logits,
        'rew_pred': model.rew(x, bdims=2).pred(),
        'con_logit': model.con(x, bdims=2).logit,
        'policy': {k: fields(v) for k, v in model.pol(x, bdims=2).items()},
        'recon': {k: v[:1, :1] if k in model.dec.images else v for k, v in recons.items()},
    }


def gradient(model, carry, data, noise, key):
    """Losses and gradients; `noise` relative to the largest value is added to convolutions."""
    call, count = layers.Conv2D.__call__, itertools.count()

    def noisy(self, x):
        x = call(self, x)
        random = jax.random.normal(jax.random.fold_in(key, next(count)), x.shape)
        return x + noise * jnp.abs(x).max() * random

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers.Conv2D, '__call__', noisy)
        args = context.apply(carry, data, model.config.replay_context)
        loss = optim.value_and_grad(model.loss, model.opt.paths)
        total, grads, (_, _, terms, metrics) = loss(*args)
    return {'loss_total': total, 'grad': grads, 'losses': terms, 'metrics': metrics}


def programs(model, params, carry, data):
    """Details, losses and gradients, how far rounding moves gradients, and the update itself.

    Where two pixels under a max-pool differ by less than a float resolves, rounding decides which
    of them gets the gradient. The spread of gradients under noise of that size is what two right
    programs can differ by; it is zero where there is no such pair.
    """
    compiled = lambda fn: jax.jit(nj.pure(fn))
    seed = np.zeros(2, np.uint32)
    run = compiled(lambda: details(model, carry, data))(params, seed=seed)[1]
    grad = compiled(lambda noise, key: gradient(model, carry, data, noise, key))
    exact = grad(params, 0.0, jax.random.key(0), seed=seed)[1]
    draws = [(noise, jax.random.key(i)) for noise in NOISE for i in range(6)]
    moved = [grad(params, *x, seed=seed)[1]['grad'] for x in draws]
    spread = jax.tree.map(lambda *xs: np.ptp(np.stack(xs), 0), exact['grad'], *moved)
    return run, exact, spread, compiled(lambda: model.train(carry, data))(params, seed=seed)


def fields(dist):
    """Parameters of a policy's distribution by the names of the recordings."""
    if hasattr(dist, 'logits'):
        return {'logits': dist.logits}
    return {'mean': dist.mean, 'stddev': dist.std}


def compare(got, want, absolute=2e-5):
    """Every recorded entry of a nested dict."""
    got = nj.flatten(got)[0]
    for key, value in want.items():
        close(got[key], value, key, absolute)


def limit_of(value, absolute):
    return absolute + 1e-4 * np.abs(value).max()


def carry_of(arrays, model):
    state = {k: arrays[f'in/carry_{k}'] for k in model.dyn.entry_space}
    return state, sub(arrays, 'in/carry_action')


def check_step(monkeypatch, arrays, meta, params, absolute=2e-5):
    model = make_model(meta)
    data = sub(arrays, 'in/data')
    params = all_params(model, data, params)
    caught = sub(arrays, 'out/caught')
    latents = [*arrays['out/repfeat/stoch'].swapaxes(0, 1)]
    imagined = [*caught['imagine/feat/stoch'].swapaxes(0, 1)]
    acts = sub(caught, 'imag_loss/act')
    actions = [{k: v[:, t] for k, v in acts.items()} for t in range(len(imagined) + 1)]
    # Three programs, each traced once.
    numbers.force(monkeypatch, 2 * latents + imagined + latents + imagined, 2 * actions)
    carry = carry_of(arrays, model)
    run, exact, spread, (after, result) = programs(model, params, carry, data)
    carry, out, metrics = result

    want = sub(arrays, 'out')
    recorded = {k: v for k, v in want.items() if k.split('/')[0] in run}
    assert {k.split('/')[0] for k in recorded} == set(run)
    compare(run, recorded, absolute)
    close(exact['loss_total'], want['loss_total'], 'loss_total', absolute)
    assert exact['losses'].keys() == sub(want, 'losses').keys()
    compare(exact['losses'], sub(want, 'losses'), absolute)
    compare(exact['metrics'], sub(want, 'metrics'), absolute)
    compare(metrics, sub(want, 'metrics'), absolute)
    grads = sub(arrays, 'grad')
    assert exact['grad'].keys() == grads.keys()
    for key, value in grads.items():
        error = np.abs(exact['grad'][key] - value).max()
        # At a tie under a max-pool the gradient may go to either pixel; see `programs`.
        share = 5e-2 if key.startswith('enc/cnn') else 1e-4
        assert error <= absolute + share * np.abs(value).max(), (key, error)
    close(metrics['opt/grad_norm'], want['grad_norm'], 'grad_norm', absolute)

    # The entries of far bins whose gradients underflow take steps of any size.
    for key, value in sub(arrays, 'params_after').items():
        sharp = (grads[key] == 0) | (np.abs(grads[key]) >= 1e-12)
        # Where the direction of a small gradient depends on a tie, so does its whole step.
        loose = 2e-3 if key.startswith('enc/cnn') else absolute
        close(np.where(sharp, after[key], 0), np.where(sharp, value, 0), f'after {key}', loose)
    for key in ('lo', 'hi'):
        name = f'retnorm/{key}/value'
        close(after[name], want[f'newstate/{name}'], name)
    for key, value in sub(want, 'slow_after').items():
        source = key.replace('slowval/', 'val/')
        sharp = np.abs(grads.get(source, 1)) >= 1e-12
        close(np.where(sharp, after[key], 0), np.where(sharp, value, 0), key, absolute)

    compare(carry[0], sub(want, 'carry_end'), absolute)
    np.testing.assert_array_equal(out['replay']['stepid'], want['stepid'])
    for key in ('deter', 'stoch'):
        close(out['replay'][f'dyn/{key}'], want[f'repfeat/{key}'], f'replay {key}', absolute)
        assert out['replay'][f'dyn/{key}'].dtype == np.float32


@pytest.mark.parametrize('path', recordings.paths('agent_'), ids=lambda p: p.stem)
def test_training_step(path, monkeypatch):
    arrays, meta = recordings.load(path)
    check_step(monkeypatch, arrays, meta, sub(arrays, 'params'))


def test_imported_checkpoint_computes_the_same(monkeypatch):
    arrays, meta = recording('checkpoint_forward')
    params, _ = recording('checkpoint_params')
    check_step(monkeypatch, arrays, meta, sub(params, 'params'), LOOSE['checkpoint_forward'])
