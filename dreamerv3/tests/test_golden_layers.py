"""Layers and initialisers against the recorded numbers."""

import jax
import ninjax as nj
import numpy as np
import pytest

from dreamerv3.tests.numbers import close, recording, run, spaces, sub
from embodied.jax import conv, layers, ops

pytestmark = pytest.mark.golden


@pytest.fixture(scope='module')
def nets():
    return recording('nets')


def test_functions(nets):
    arrays, _ = nets
    close(ops.symlog(arrays['in/vals']), arrays['out/symlog'], 'symlog')
    close(ops.symexp(arrays['in/small']), arrays['out/symexp'], 'symexp')
    for name, want in sub(arrays, 'out/act').items():
        close(layers.act(name)(arrays['in/x']), want, name)


def test_rms_of_a_list(nets):
    arrays, _ = nets
    leaves = [arrays['in/x'], arrays['in/vals']]
    got = ops.rms(leaves)
    flat = np.concatenate([x.reshape(-1) for x in leaves])
    close(got, np.sqrt(np.square(flat).mean()), 'rms')


def test_linear(nets):
    arrays, meta = nets
    params = sub(arrays, 'params')
    x = arrays['in/x']
    make = {
        'linear': lambda n: layers.Linear(arrays[f'out/{n}'].shape[-1], name=n),
        'linear_nobias': lambda n: layers.Linear(arrays[f'out/{n}'].shape[-1], bias=False, name=n),
        'linear_shape': lambda n: layers.Linear(arrays[f'out/{n}'].shape[2:], name=n),
    }
    for name, ctor in make.items():
        close(run(ctor(name), params, x), arrays[f'out/{name}'], name)
    for name, (units, blocks) in meta['block'].items():
        close(
            run(layers.BlockLinear(units, blocks, name=name), params, x),
            arrays[f'out/{name}'],
            name,
        )


def test_convolutions(nets):
    arrays, meta = nets
    params = sub(arrays, 'params')
    depth = meta['conv_depth']
    cases = {
        'conv': ('img', 1, {}),
        'conv_s2': ('img', 2, {}),
        'conv_s2_8': ('img8', 2, {}),
        'conv_k3': ('img', 1, {}),
        'conv_k4': ('img', 1, {}),
        'conv_group': ('img', 1, {'groups': 2}),
        'conv_valid': ('img8', 1, {'pad': 'valid'}),
        'conv_transp': ('img', 2, {'transp': True}),
    }
    assert set(cases) == {k.split('/')[1] for k in arrays if k.startswith('out/conv')}
    for name, (image, stride, kw) in cases.items():
        kernel = params[f'{name}/kernel'].shape[0]
        module = conv.Conv2D(depth, kernel, stride, **kw, name=name)
        close(run(module, params, arrays[f'in/{image}']), arrays[f'out/{name}'], name)


def test_norms(nets):
    arrays, _ = nets
    params = sub(arrays, 'params')
    for name in [k.split('/')[1] for k in arrays if k.startswith('out/norm_')]:
        impl = name.split('_')[1]
        x = arrays['in/img'] if name.endswith('img') else arrays['in/x']
        x = x * 1e-3 if name.endswith('tiny') else x
        close(run(layers.Norm(impl, name=name), params, x), arrays[f'out/{name}'], name)


def test_mlp(nets):
    arrays, _ = nets
    params = sub(arrays, 'params')
    units = arrays['out/mlp'].shape[-1]
    count = len([k for k in params if k.startswith('mlp/linear') and k.endswith('kernel')])
    close(
        run(layers.MLP(count, units, name='mlp'), params, arrays['in/x']), arrays['out/mlp'], 'mlp'
    )


def test_dict_concat(nets):
    arrays, meta = nets
    space = spaces(meta['spaces'])
    obs, missing = sub(arrays, 'in/obs'), sub(arrays, 'in/missing')
    missing = {**obs, **missing}
    close(layers.DictConcat(space)(obs), arrays['out/dictconcat'], 'plain')
    concat = layers.DictConcat(space, ops.symlog)
    close(concat(obs), arrays['out/dictconcat_symlog'], 'symlog')
    close(layers.DictConcat(space)(missing), arrays['out/dictconcat_missing'], 'missing')


def initialised(row, draws):
    """Kernels (draws, *shape) of one row of the recording."""
    name, units = row['name'], row['kernel_shape'][-1]
    kw = {'winit': 'trunc_normal_in'}
    for fan in ('in', 'out', 'avg'):
        if name.endswith(f'_{fan}'):
            kw['winit'] = f'trunc_normal_{fan}'
    special = {'uniform': 'uniform_in', 'normal': 'normal_in', 'zero': 'zeros'}
    kw['winit'] = special.get(name.split('_')[-1], kw['winit'])
    if name.endswith('default'):
        kw = {}
    if name.endswith('outscale'):
        kw['outscale'] = 0.01
    shape = row['kernel_shape']
    if name.startswith('linear'):
        ctor = lambda: layers.Linear(
            (units // 2, 2) if name.endswith('tuple') else units, **kw, name='x'
        )
    elif name.startswith('block'):
        ctor = lambda: layers.BlockLinear(shape[0] * units, shape[0], **kw, name='x')
    else:
        groups = row['input_shape'][-1] // shape[2]
        ctor = lambda: conv.Conv2D(units, shape[0], groups=groups, **kw, name='x')
    x = np.zeros(row['input_shape'], np.float32)
    make = lambda seed: nj.pure(ctor())({}, x, seed=seed, create=True)[0]['x/kernel']
    seeds = np.random.default_rng(0).integers(0, 2**32, (draws, 2), np.uint32)
    return np.asarray(jax.jit(jax.vmap(make))(seeds))


def test_initialisers():
    arrays, meta = recording('init_stats')
    for row in meta['rows']:
        kernels = initialised(row, draws=200)
        assert list(kernels.shape[1:]) == row['kernel_shape'], row['name']
        std, count = row['std'], kernels.size
        # Four standard errors of mean and deviation; the ends of bounded distributions are sharp.
        assert abs(kernels.mean() - row['mean']) <= 5 * std * (1 / count + 1 / row['count']) ** 0.5
        assert abs(kernels.std() - std) <= 5 * std * (1 / count) ** 0.5, row['name']
        if 'normal' in row['name'].split('_'):
            continue
        assert abs(kernels.max() - row['max']) <= 2e-2 * abs(row['max']), row['name']
        assert abs(kernels.min() - row['min']) <= 2e-2 * abs(row['min']), row['name']
        if std:
            want = arrays[f'hist/{row["name"]}']
            got, _ = np.histogram(kernels / std, arrays['hist_edges'])
            np.testing.assert_allclose(got / got.sum(), want / want.sum(), atol=6e-3)
