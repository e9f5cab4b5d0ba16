import jax
import jax.numpy as jnp
import numpy as np
import pytest

from embodied.jax import layers


@pytest.mark.parametrize('shape', [(5, 6), (2, 3, 4, 6), (8,)])
@pytest.mark.parametrize('activation', ['none', 'silu', 'gelu', 'swiglu'])
@pytest.mark.parametrize('dtype, tolerance', [(jnp.float32, 1e-6), (jnp.bfloat16, 2e-2)])
def test_gradient_of_rms_norm_is_that_of_its_formula(shape, activation, dtype, tolerance):
    rng = np.random.default_rng(0)
    x = jnp.asarray(3 * rng.standard_normal(shape), dtype)
    scale = jnp.asarray(rng.standard_normal(shape[-1]), jnp.float32)
    norm = lambda x, scale: layers.rms_norm(1e-3, activation, x, scale)
    y, pull = jax.vjp(norm, x, scale)
    weights = jnp.asarray(rng.standard_normal(y.shape), dtype)

    def formula(x, scale):
        wide = x.astype(jnp.float32)
        wide = wide / jnp.sqrt((wide * wide).mean(-1, keepdims=True) + 1e-3) * scale
        return layers.act(activation)(wide.astype(dtype))

    want, want_pull = jax.vjp(formula, x, scale)
    for found, expected in zip((y, *pull(weights)), (want, *want_pull(weights)), strict=True):
        assert found.dtype == expected.dtype and found.shape == expected.shape
        found, expected = np.float32(found), np.float32(expected)
        atol = tolerance * max(1, np.abs(expected).max())
        np.testing.assert_allclose(found, expected, tolerance, atol)
