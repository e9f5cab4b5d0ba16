"""Heads against the recorded numbers."""

import elements
import numpy as np
import pytest

from dreamerv3.tests.numbers import close, recording, run, sub
from embodied.jax import heads

pytestmark = pytest.mark.golden


def load():
    arrays, meta = recording('heads')
    return arrays, meta, sub(arrays, 'params')


def space_of(name, arrays, meta):
    """Spaces of the recorded heads: policies over events disc, multi and contact."""
    event = {
        'disc': 'disc',
        'jump': 'disc',
        'keys': 'multi',
        'contact': 'contact',
        'move': 'contact',
    }
    if name in event:
        x = arrays[f'in/event/{event[name]}']
        if x.dtype.kind == 'f':
            return elements.Space(np.float32, x.shape[2:])
        classes = meta['disc_classes'] if event[name] == 'disc' else meta['multi'][1]
        return elements.Space(np.int32, x.shape[2:], 0, classes)
    if name == 'onehot':
        return elements.Space(np.int32, arrays['in/event/onehot'].shape[2:-1], 0, 4)
    return elements.Space(np.float32, arrays[f'out/{name}/pred'].shape[2:])


def make(name, space, meta, **kw):
    args = (meta['output'][name], meta['layers'][name], meta['units'])
    return heads.MLPHead(space, *args, **kw, name=name)


EVENTS = {'huber': 'mse', 'layer': 'mse', 'logstd': 'mse'}


@pytest.mark.parametrize('name', ['reward', 'reward5', 'value'])
def test_scalar_heads(name):
    arrays, meta, params = load()
    want = sub(arrays, f'out/{name}')
    head = make(name, elements.Space(np.float32), meta, bins=len(want['bins']))
    dist = run(head, params, arrays['in/x'], meta['bdims'])
    close(dist.logits, want['logits'], 'logits')
    close(dist.bins, want['bins'], 'bins')
    close(dist.pred(), want['pred'], 'pred')
    close(dist.loss(arrays[f'in/event/{name}']), want['loss'], 'loss')


def test_continue_head():
    arrays, meta, params = load()
    want = sub(arrays, 'out/cont')
    dist = run(make('cont', elements.Space(bool), meta), params, arrays['in/x'], meta['bdims'])
    close(dist.logit, want['logit'], 'logit')
    close(dist.pred(), want['pred'], 'pred')
    close(dist.prob(1), want['prob1'], 'prob1')
    close(dist.loss(arrays['in/event/cont']), want['loss'], 'loss')


@pytest.mark.parametrize('name', ['mse', 'symlog', 'huber', 'layer'])
def test_point_heads(name):
    arrays, meta, params = load()
    want = sub(arrays, f'out/{name}')
    kw = {'norm': 'layer', 'act': 'gelu'} if name == 'layer' else {}
    head = make(name, space_of(name, arrays, meta), meta, **kw)
    dist = run(head, params, arrays['in/x'], meta['bdims'])
    close(dist.pred(), want['pred'], 'pred')
    close(dist.loss(arrays[f'in/event/{EVENTS.get(name, name)}']), want['loss'], 'loss')


def test_onehot_head():
    arrays, meta, params = load()
    want = sub(arrays, 'out/onehot')
    head = make('onehot', space_of('onehot', arrays, meta), meta, unimix=0.01)
    dist = run(head, params, arrays['in/x'], meta['bdims'])
    close(dist.logits, want['logits'], 'logits')
    # The recording sums over time as well.
    close(dist.entropy().sum(1), want['entropy'], 'entropy')
    close(dist.logp(arrays['in/event/onehot']).sum(1), want['logp'], 'logp')


def test_normal_logstd_head():
    arrays, meta, params = load()
    want = sub(arrays, 'out/logstd')
    space = elements.Space(np.float32, want['mean'].shape[2:])
    dist = run(make('logstd', space, meta), params, arrays['in/x'], meta['bdims'])
    close(dist.mean, want['mean'], 'mean')
    close(dist.std, want['std'], 'std')
    close(dist.entropy(), want['entropy'], 'entropy')
    close(dist.logp(arrays['in/event/mse']), want['logp'], 'logp')


@pytest.mark.parametrize('name', ['pol_disc', 'pol_cont', 'pol_dict'])
def test_policy_heads(name):
    arrays, meta, params = load()
    keys = list(meta['output'][name])
    kinds = {'pol_disc': 'disc', 'pol_cont': 'contact'}
    space = {k: space_of(kinds.get(name, k), arrays, meta) for k in keys}
    # The recorded policies have a unimix in their options that the official heads do not apply.
    kw = {k: v for k, v in meta['policy'].items() if k not in ('layers', 'unimix')}
    head = make(name, space, meta, **kw)
    dists = run(head, params, arrays['in/x'], meta['bdims'])
    events = {
        'disc': 'disc',
        'jump': 'disc',
        'keys': 'multi',
        'contact': 'contact',
        'move': 'contact',
    }
    assert list(dists) == keys
    for key, dist in dists.items():
        want = sub(arrays, f'out/{name}' if name in kinds else f'out/{name}/{key}')
        event = arrays[f'in/event/{events[kinds.get(name, key)]}']
        close(dist.logp(event), want['logp'], f'{key}/logp')
        close(dist.entropy(), want['entropy'], f'{key}/entropy')
        close(dist.pred(), want['pred'], f'{key}/pred')
        for field in ('logits', 'mean', 'std', 'minent', 'maxent'):
            if field in want:
                close(getattr(dist, field), want[field], f'{key}/{field}')
