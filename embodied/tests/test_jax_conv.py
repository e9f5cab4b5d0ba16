"""Convolutions by phases are what they replace, with the same gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from embodied.jax import conv


def upsampled(x, kernel):
    return conv.convolve(x.repeat(2, 1).repeat(2, 2), kernel, 'SAME')


def pooled(x, kernel, shift=lambda x: x):
    y = shift(conv.convolve(x, kernel, 'SAME'))
    b, h, w, c = y.shape
    return y.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))


@pytest.mark.parametrize('size', [1, 2, 3, 4, 5, 7])
@pytest.mark.parametrize('names', [('doubled', upsampled), ('halved', pooled)])
def test_phases(names, size):
    name, plain = names
    rng = np.random.default_rng(size)
    x = jnp.asarray(rng.normal(size=(2, 6, 8, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(size, size, 3, 5)), jnp.float32)
    weight = jnp.asarray(rng.normal(size=plain(x, kernel).shape), jnp.float32)

    def value_and_grads(fn):
        loss = lambda x, kernel: (fn(x, kernel) * weight).sum()
        return fn(x, kernel), *jax.grad(loss, (0, 1))(x, kernel)

    for got, want in zip(value_and_grads(getattr(conv, name)), value_and_grads(plain), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_equal_pixels_share_the_gradient():
    x = jnp.array([[1.0, 3.0], [3.0, 2.0], [3.0, 0.0], [0.0, 3.0]])
    grad = jax.grad(lambda x: (conv.max_of_group(x) * jnp.array([6.0, 8.0])).sum())(x)
    np.testing.assert_allclose(grad, [[0, 4], [3, 0], [3, 0], [0, 4]])


def test_the_shift_is_under_the_maximum():
    x = jnp.ones((1, 2, 2, 1))
    kernel = -jnp.ones((1, 1, 1, 2))
    np.testing.assert_allclose(conv.halved(x, kernel, lambda y: -2 * y), 2 * jnp.ones((1, 1, 1, 2)))
