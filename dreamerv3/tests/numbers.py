"""Comparing with recorded numbers: tolerance, spaces and parameters of a recording."""

import elements
import jax
import ninjax as nj
import numpy as np
import pytest

from dreamerv3 import agent
from dreamerv3.tests import recordings
from embodied.jax import conv, dists, ops


def recording(name):
    """Arrays and meta of the one recording of this name; the test is skipped if it is not there."""
    paths = recordings.paths(name)
    if not paths:
        pytest.skip(f'no {name} in {recordings.folder()}')
    return recordings.load(paths[0])


def close(got, want, name='', absolute=2e-5):
    """|got - want| <= absolute + 1e-4 max|want|, and the same shape and kind of number."""
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, (name, got.shape, want.shape)
    if want.dtype.kind in 'iub':
        np.testing.assert_array_equal(got, want, err_msg=name)
        return
    assert np.isfinite(want).all(), name
    error = np.abs(got.astype(np.float64) - want).max(initial=0)
    limit = absolute + 1e-4 * np.abs(want).max(initial=0)
    assert error <= limit, f'{name}: error {error:.3g} above {limit:.3g}'


def either(results, key, want, absolute=2e-5, where=True):
    """One of several evaluations is close to a recorded tensor; `where` masks it, if given."""
    want, failures = np.where(where, want, 0), []
    for result in results:
        try:
            return close(np.where(where, result[key], 0), want, key, absolute)
        except AssertionError as error:
            failures.append(error)
    raise AssertionError(' and '.join(map(str, failures)))


class Kept:
    """Iterates over what a generator yields, any number of times, no further than needed."""

    def __init__(self, generator):
        self.generator = generator
        self.items = []

    def __iter__(self):
        yield from self.items
        for item in self.generator:
            self.items.append(item)
            yield item


def space(meta):
    """elements.Space of {dtype, shape, classes}."""
    bounds = {} if meta['classes'] is None or meta['dtype'] == 'bool' else (0, meta['classes'])
    low, high = bounds or (None, None)
    return elements.Space(meta['dtype'], tuple(meta['shape']), low, high)


def spaces(meta):
    return {k: space(v) for k, v in meta.items()}


def sub(arrays, prefix):
    """Entries under a prefix, without it."""
    prefix = prefix.rstrip('/') + '/'
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def run(fn, params, *args, seed=0, **kwargs):
    """Call a function of modules with given parameters; it must not need any others."""
    return nj.pure(fn)(dict(params), *args, seed=seed, **kwargs)[1]


def run_and_state(fn, params, *args, seed=0):
    return nj.pure(fn)(dict(params), *args, seed=seed)


def jitted(fn, params, *args, seed=0):
    """Like `run`, compiled: for what is slow operation by operation."""
    return jax.jit(nj.pure(fn))(dict(params), *args, seed=np.array([seed, seed], np.uint32))[1]


def force(monkeypatch, latents, actions=None):
    """Replace randomness by recordings, in the order of use.

    `latents` are one-hot samples (..., S, C), `actions` dicts of samples. Loops run in Python, so
    that every step draws its own; gradients stay those of the straight-through sample.
    """
    latents, actions = list(latents), list(actions or [])

    def latent(self, seed):
        return self.straight_through(np.argmax(latents.pop(0), -1))

    def choose(dists, seed):
        recorded = actions.pop(0)
        assert recorded.keys() == dists.keys()
        return {k: jax.numpy.asarray(recorded[k]) for k in dists}

    monkeypatch.setattr(dists.OneHot, 'sample', latent)
    monkeypatch.setattr(agent, 'sample', choose)
    monkeypatch.setattr(ops, 'scan', unrolled)


def halved(x, kernel, shift=lambda x: x):
    """`conv.halved` as it is written: a convolution, then a max-pool."""
    y = shift(conv.convolve(x, kernel, 'SAME'))
    b, h, w, c = y.shape
    return y.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))


def unrolled(fn, carry, xs, unroll=1):
    """`ops.scan` as a loop in Python."""
    xs = jax.tree.map(lambda x: x.swapaxes(0, 1), xs)
    ys = []
    for t in range(len(jax.tree.leaves(xs)[0])):
        carry, y = fn(carry, jax.tree.map(lambda x, t=t: x[t], xs))
        ys.append(y)
    return carry, jax.tree.map(lambda *leaves: jax.numpy.stack(leaves, 1), *ys)
