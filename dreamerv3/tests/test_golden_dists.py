"""Distributions against the recorded numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dreamerv3.tests.numbers import close, recording, sub
from embodied.jax import dists, ops

pytestmark = pytest.mark.golden


@pytest.fixture(scope='module')
def outs():
    return recording('outs')


@pytest.mark.parametrize('kind', ['plain', 'unimix'])
def test_categorical(outs, kind):
    arrays, meta = outs
    x, want = sub(arrays, 'in/categorical'), sub(arrays, f'out/categorical/{kind}')
    unimix = meta['unimix'] if kind == 'unimix' else 0.0
    dist = dists.Categorical(x['logits'], unimix)
    other = dists.Categorical(x['other'], unimix)
    # Plain logits are recorded raw and mixed ones as log-probabilities.
    close(jax.nn.log_softmax(dist.logits), jax.nn.log_softmax(want['logits']), 'logits')
    close(dist.logp(x['event']), want['logp'], 'logp')
    close(dist.prob(x['event']), want['prob'], 'prob')
    close(dist.loss(x['event']), want['loss'], 'loss')
    close(dist.entropy(), want['entropy'], 'entropy')
    close(dist.kl(other), want['kl'], 'kl')
    close(dist.pred(), want['pred'], 'pred')


@pytest.mark.parametrize('kind', ['plain', 'unimix'])
def test_onehot(outs, kind):
    arrays, meta = outs
    x, want = sub(arrays, 'in/onehot'), sub(arrays, f'out/onehot/{kind}')
    unimix = meta['unimix'] if kind == 'unimix' else 0.0
    make = lambda logits: dists.OneHot(logits, unimix)
    dist, other = make(x['logits']), make(x['other'])
    close(jax.nn.log_softmax(dist.logits), jax.nn.log_softmax(want['logits']), 'logits')
    close(dist.logp(x['event']), want['logp'], 'logp')
    close(dist.entropy(), want['entropy'], 'entropy')
    close(dist.kl(other), want['kl'], 'kl')
    close(dist.pred(), want['pred'], 'pred')
    agg = dists.Agg(dist, 1)
    close(agg.logp(x['event']), want['agg/logp'], 'agg/logp')
    close(agg.loss(x['event']), want['agg/loss'], 'agg/loss')
    close(agg.entropy(), want['agg/entropy'], 'agg/entropy')
    close(agg.kl(dists.Agg(other, 1)), want['agg/kl'], 'agg/kl')
    grad = jax.grad(lambda z: (x['weight'] * make(z).pred()).sum())(x['logits'])
    close(grad, want['grad_pred'], 'grad_pred')
    first, second = jax.grad(lambda a, b: make(a).kl(make(b)).sum(), (0, 1))(
        x['logits'], x['other']
    )
    close(first, want['grad_kl'], 'grad_kl')
    close(second, want['grad_kl_other'], 'grad_kl_other')


def test_binary(outs):
    arrays, _ = outs
    x, want = sub(arrays, 'in/binary'), sub(arrays, 'out/binary')
    dist = dists.Binary(x['logit'])
    close(dist.logp(x['event']), want['logp'], 'logp')
    close(dist.loss(x['event']), want['loss'], 'loss')
    close(dist.pred(), want['pred'], 'pred')
    close(dist.prob(1), want['prob1'], 'prob1')
    grad = jax.grad(lambda z: dists.Binary(z).loss(x['event']).sum())(x['logit'])
    close(grad, want['grad_loss'], 'grad_loss')


def test_normal(outs):
    arrays, _ = outs
    x, want = sub(arrays, 'in/normal'), sub(arrays, 'out/normal')
    dist, other = dists.Normal(x['mean'], x['std']), dists.Normal(x['mean2'], x['std2'])
    close(dist.logp(x['event']), want['logp'], 'logp')
    close(dist.loss(x['event']), want['loss'], 'loss')
    close(dist.prob(x['event']), want['prob'], 'prob')
    close(dist.entropy(), want['entropy'], 'entropy')
    close(dist.kl(other), want['kl'], 'kl')
    close(dist.pred(), want['pred'], 'pred')
    close(dists.Normal(x['mean']).entropy(), want['unit_entropy'], 'unit_entropy')
    agg = dists.Agg(dist, 1)
    close(agg.logp(x['event']), want['agg/logp'], 'agg/logp')
    close(agg.entropy(), want['agg/entropy'], 'agg/entropy')
    close(agg.kl(dists.Agg(other, 1)), want['agg/kl'], 'agg/kl')


def test_point_losses(outs):
    arrays, meta = outs
    mean, target = arrays['in/point/mean'], arrays['in/point/target']
    close(dists.MSE(mean).loss(target), arrays['out/mse/loss'], 'mse')
    close(dists.Agg(dists.MSE(mean), 1).loss(target), arrays['out/mse/agg/loss'], 'mse/agg')
    close(dists.Huber(mean, meta['huber_eps']).loss(target), arrays['out/huber/loss'], 'huber')
    symlog = dists.MSE(mean, ops.symlog)
    close(symlog.loss(target), arrays['out/symlog_mse/loss'], 'symlog_mse')
    close(symlog.pred(), arrays['out/symlog_mse/pred'], 'symlog_mse/pred')


def test_twohot(outs):
    arrays, meta = outs
    for amount in meta['twohot_bins']:
        x, want = sub(arrays, f'in/twohot/{amount}'), sub(arrays, f'out/twohot/{amount}')
        close(dists.symexp_bins(amount), x['bins'], f'{amount}/bins')
        dist = dists.TwoHot(x['logits'], x['bins'])
        close(dist.loss(x['target']), want['loss'], f'{amount}/loss')
        close(dist.pred(), want['pred'], f'{amount}/pred')
        close(dist.weights(x['target']), want['target_weights'], f'{amount}/weights')


def test_twohot_symlog(outs):
    arrays, meta = outs
    low, high = meta['twohot_symlog_range']
    for amount in meta['twohot_bins']:
        want = sub(arrays, f'out/twohot_symlog/{amount}')
        if not want:
            continue
        x = sub(arrays, f'in/twohot/{amount}')
        bins = jnp.linspace(low, high, amount)
        dist = dists.TwoHot(x['logits'], bins, ops.symlog, ops.symexp)
        close(dist.loss(x['target']), want['loss'], f'{amount}/loss')
        close(dist.pred(), want['pred'], f'{amount}/pred')


def test_mirrored_logits_predict_zero():
    for amount in (255, 41, 6, 5):
        pred = lambda x, n=amount: dists.TwoHot(x, dists.symexp_bins(n)).pred()
        for fn in (pred, jax.jit(pred)):
            half = 1e-5 * np.random.default_rng(0).standard_normal((50, amount // 2))
            middle = np.zeros((50, amount % 2))
            logits = np.float32(np.concatenate([half, middle, half[:, ::-1]], 1))
            np.testing.assert_array_equal(fn(logits), np.zeros(50))
            np.testing.assert_array_equal(fn(np.zeros_like(logits)), np.zeros(50))
