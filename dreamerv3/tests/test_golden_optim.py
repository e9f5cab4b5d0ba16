"""Optimiser, normalisers and slow copy against recorded traces."""

import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import optax
import pytest

from dreamerv3.tests.numbers import close, recording, run, sub
from embodied.jax import Normalize, SlowCopy, layers, optim

pytestmark = pytest.mark.golden


def variants(name):
    from dreamerv3.tests import recordings

    paths = recordings.paths(name)
    return list(recordings.load(paths[0])[1]['variants']) if paths else []


def options(meta, case):
    kw = {**meta['base'], **meta['variants'][case]}
    kw.pop('momentum')  # Always on, and without effect in the official program.
    return kw


@pytest.mark.parametrize('case', variants('optimizer'))
def test_updates(case):
    arrays, meta = recording('optimizer')
    params, grads = sub(arrays, 'params'), sub(arrays, 'grads')
    want = sub(arrays, f'trace/{case}')
    chain = optim.make(**options(meta, case), wdregex=meta['wdregex'])

    @jax.jit
    def step(params, state, grads):
        updates, state = chain.update(grads, state, params)
        return optax.apply_updates(params, updates), state

    params = {k: jnp.asarray(v) for k, v in params.items()}
    state = chain.init(params)
    for t in range(meta['steps']):
        params, state = step(params, state, {k: v[t] for k, v in grads.items()})
        for key, value in params.items():
            close(value, want[key][t], f'{key} after {t}')
    state = nj.flatten(state)[0]
    for key, value in sub(arrays, f'final_state/{case}').items():
        close(state[key], value, key)


@pytest.mark.parametrize('case', variants('optimizer'))
def test_learning_rate(case):
    arrays, meta = recording('optimizer')
    kw = {k: options(meta, case)[k] for k in ('lr', 'schedule', 'warmup', 'anneal')}
    want = arrays[f'lr/{case}']
    got = np.array([optim.learning_rate(**kw)(i) for i in range(len(want))])
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-9)


def test_agc():
    arrays, meta = recording('optimizer')
    params, grads = sub(arrays, 'params'), sub(arrays, 'agc/in')
    got, _ = optim.clip_by_agc(meta['base']['agc']).update(grads, optax.EmptyState(), params)
    for key, value in sub(arrays, 'agc/out').items():
        close(got[key], value, key)


@pytest.mark.parametrize('case', variants('normalize'))
def test_normalize(case):
    arrays, meta = recording('normalize')
    norm = Normalize(**meta['variants'][case], name='norm')
    state, start = nj.pure(norm.stats)({}, create=True)
    close(np.stack(start), arrays[f'init/{case}'], 'init')
    recorded = sub(arrays, f'state/{case.replace(".", "p")}')
    update = jax.jit(nj.pure(norm))
    state = nj.pure(norm)({}, arrays['in/x'][0] * 0, create=True)[0]
    state = {k: jnp.zeros_like(v) for k, v in state.items()}
    for t, x in enumerate(arrays['in/x']):
        state, stats = update(state, x)
        close(np.stack(stats), arrays[f'trace/{case}'][t], f'step {t}')
        for key, value in recorded.items():
            close(state[f'norm/{key}'], value[t], f'{key} at {t}')


@pytest.mark.parametrize('case', variants('slowmodel'))
def test_slow_copy(case):
    arrays, meta = recording('slowmodel')
    shape = arrays['first/val/kernel'].shape
    make = lambda name: layers.Linear(shape[1], name=name)
    source = make('val')
    slow = SlowCopy(make('slow'), source, **meta['variants'][case])
    first = sub(arrays, 'first')
    x = np.ones((1, shape[0]), np.float32)
    state = nj.pure(slow)({k: jnp.asarray(v) for k, v in first.items()}, x, create=True)[0]
    state['slow_count/value'] = jnp.zeros((), jnp.int32)
    close(state['slow/kernel'], first['val/kernel'], 'starts as a copy')
    for t in range(len(arrays['source/kernel'])):
        state.update({f'val/{k}': jnp.asarray(v[t]) for k, v in sub(arrays, 'source').items()})
        state, _ = nj.pure(slow.update)(state)
        for key, value in sub(arrays, f'trace/{case}').items():
            close(state[f'slow/{key}'], value[t], f'{key} at {t}')
    assert run(lambda: slow.count.read(), state) == len(arrays['source/kernel'])
