"""Returns, actor and critic losses and their gradients against the recorded numbers."""

import jax
import numpy as np
import pytest

from dreamerv3 import losses
from dreamerv3.tests import recordings
from dreamerv3.tests.numbers import close, recording, run_and_state, sub
from embodied.jax import Normalize, dists

pytestmark = pytest.mark.golden


def cases(prefix):
    paths = recordings.paths('returns')
    if not paths:
        return []
    _, meta = recordings.load(paths[0])
    if prefix == 'lambda_return':
        return list(meta['lambda_return'])
    return [k for k in meta if k.startswith(prefix + '/')]


@pytest.mark.parametrize('case', cases('lambda_return'))
def test_lambda_return(case):
    arrays, meta = recording('returns')
    x = sub(arrays, f'lambda_return/in/{case}')
    x.pop('val')  # Has no effect in the recorded function either.
    ret = losses.lambda_return(**x, **meta['lambda_return'][case])
    close(ret, arrays[f'lambda_return/out/{case}/ret'])


def policy(x):
    """Recorded inputs of the policy as distributions."""
    result = {}
    for key in sorted({k.split('/')[0] for k in x}):
        if f'{key}/logits' in x:
            result[key] = dists.Categorical(x[f'{key}/logits'])
        else:
            result[key] = dists.Agg(dists.Normal(x[f'{key}/mean'], x[f'{key}/std']), 1)
    return result


def state_of(arrays, case, part):
    """Recorded state of the normalisers under our names."""
    state = sub(arrays, f'{case}/{part}')
    return {k.replace('/', 'norm/', 1): v for k, v in state.items()}


@pytest.mark.parametrize('case', cases('imag_loss'))
def test_imag_loss(case):
    arrays, meta = recording('returns')
    x, want, options = sub(arrays, f'{case}/in'), sub(arrays, f'{case}/out'), meta[case]
    bins = arrays['imag_loss/bins']
    names = ('retnorm', 'valnorm', 'advnorm')
    norms = [Normalize(**options[k], name=k) for k in names]

    def fn(x):
        value = dists.TwoHot(x['value_logits'], bins)
        slow = dists.TwoHot(x['slow_logits'], bins)
        args = sub(x, 'act'), x['rew'], x['con'], policy(sub(x, 'pol')), value, slow
        terms, ret, metrics = losses.imag_loss(
            *args, *norms, valstats=norms[1].stats(), **options['kw']
        )
        total = sum(v.sum() for v in terms.values())
        return total, (terms, ret, metrics, value.pred(), slow.pred())

    state = state_of(arrays, case, 'state')
    newstate, (_, (terms, ret, metrics, pred, slow)) = run_and_state(fn, state, x)
    for key, value in terms.items():
        close(value, want[f'loss/{key}'], key)
    close(ret, want['ret'], 'ret')
    close(pred, want['value_pred'], 'value_pred')
    close(slow, want['slow_pred'], 'slow_pred')
    recorded = sub(want, 'metric')
    assert metrics.keys() == recorded.keys()
    for key, value in recorded.items():
        close(metrics[key], value, key)
    for key, value in state_of(arrays, case, 'newstate').items():
        close(newstate[key], value, key)

    floats = {k: v for k, v in x.items() if v.dtype == np.float32}
    loss = lambda floats: run_and_state(fn, state, {**x, **floats})[1][0]
    grads = jax.grad(loss)(floats)
    for key, value in sub(arrays, f'{case}/grad').items():
        close(grads[key], value, f'grad/{key}')


@pytest.mark.parametrize('case', cases('repl_loss'))
def test_repl_loss(case):
    arrays, meta = recording('returns')
    x, want = sub(arrays, f'{case}/in'), sub(arrays, f'{case}/out')
    kw = {k: v for k, v in meta[case]['kw'].items() if k != 'slowtar'}  # Without effect there.
    norm = Normalize(**meta[case]['valnorm'], name='valnorm')
    bins = arrays['imag_loss/bins']

    def fn():
        value, slow = (dists.TwoHot(x[k], bins) for k in ('value_logits', 'slow_logits'))
        return losses.repl_loss(x['last'], x['term'], x['rew'], x['boot'], value, slow, norm, **kw)

    newstate, (loss, ret) = run_and_state(fn, state_of(arrays, case, 'state'))
    close(loss, want['loss/repval'], 'loss')
    close(ret, want['ret'], 'ret')
    for key, value in state_of(arrays, case, 'newstate').items():
        close(newstate[key], value, key)
