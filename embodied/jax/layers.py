"""Layers: linear, block-diagonal linear, normalisation, MLP, and dicts to vectors.

Activations have the compute type, parameters and statistics float32. Names and shapes of parameters
are those of the official program, so that its checkpoints fit.
"""

import functools
import math
import re

import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np

from . import ops

f32 = jnp.float32


def act(name):
    """Activation by name; `swiglu` halves the last axis, `gelu` is the tanh approximation."""
    if name == 'none':
        return lambda x: x
    if name == 'mish':
        return lambda x: x * jnp.tanh(jax.nn.softplus(x))
    if name == 'relu2':
        return lambda x: jnp.square(jax.nn.relu(x))
    if name == 'swiglu':
        return lambda x: jax.nn.silu(x[..., : x.shape[-1] // 2]) * x[..., x.shape[-1] // 2 :]
    if name in ('tanh', 'sigmoid', 'silu', 'gelu', 'relu', 'elu', 'softplus'):
        return getattr(jax.nn, name)
    raise ValueError(f'Unknown activation {name!r}.')


def fans(shape, fan):
    """Fan of a kernel (..., i, o): `in` i * prod(...), `out` o * prod(...), `avg` their mean."""
    space = math.prod(shape[:-2])
    fan_in, fan_out = space * shape[-2], space * shape[-1]
    return {'in': fan_in, 'out': fan_out, 'avg': (fan_in + fan_out) / 2}[fan]


def initializer(name):
    """Kernel initialiser `<dist>_<fan>` with dist trunc_normal|normal|uniform, or `zeros`.

    trunc_normal draws a standard normal on [-2, 2] times 1.1368 sqrt(1 / fan), which has standard
    deviation sqrt(1 / fan), as has normal. uniform draws from +-sqrt(1 / fan).
    """
    if name == 'zeros':
        return lambda shape: jnp.zeros(shape, f32)
    dist, fan = name.rsplit('_', 1)

    def init(shape):
        scale = math.sqrt(1 / fans(shape, fan))
        if dist == 'trunc_normal':
            return 1.1368 * scale * jax.random.truncated_normal(nj.seed(), -2, 2, shape, f32)
        if dist == 'normal':
            return scale * jax.random.normal(nj.seed(), shape, f32)
        if dist == 'uniform':
            return jax.random.uniform(nj.seed(), shape, f32, -scale, scale)
        raise ValueError(f'Unknown initialiser {name!r}.')

    return init


class Kernel(nj.Module):
    """Base of layers with a kernel and a bias.

    Fields are not inherited in ninjax: each layer declares `bias`, `winit` and `outscale` itself.
    """

    def kernel(self, shape, dtype):
        make = lambda: self.outscale * initializer(self.winit)(shape)
        return self.value('kernel', make).astype(dtype)

    def shift(self, x):
        if not self.bias:
            return x
        return x + self.value('bias', jnp.zeros, x.shape[-1:], f32).astype(x.dtype)


class Linear(Kernel):
    """y = x W + b, (..., in) -> (..., *units); the kernel is (in, prod(units))."""

    bias: bool = True
    winit: str = 'trunc_normal_in'
    outscale: float = 1.0

    def __init__(self, units):
        self.units = (units,) if isinstance(units, (int, np.integer)) else tuple(units)

    def __call__(self, x):
        size = math.prod(self.units)
        x = self.shift(ops.matmul(x, self.kernel((x.shape[-1], size), x.dtype)))
        return x.reshape(x.shape[:-1] + self.units)


class BlockLinear(Kernel):
    """Block-diagonal linear: input slice i of `blocks` maps to output slice i.

    The kernel is (blocks, in / blocks, units / blocks). Its fan is that of the whole input.
    """

    bias: bool = True
    winit: str = 'trunc_normal_in'
    outscale: float = 1.0

    def __init__(self, units, blocks):
        if units % blocks:
            raise ValueError(f'units {units} must be divisible by blocks {blocks}.')
        self.units = units
        self.blocks = blocks

    def __call__(self, x, shared=None):
        """y_i = [x_i, shared] W_i + b_i for the slices x_i of x (..., in) and shared (..., S)."""
        (y,) = self.parts(x, 1, shared)
        return y

    def parts(self, x, amount, shared=None):
        """The same as `amount` arrays (..., units / amount), each with a share of every block."""
        if x.shape[-1] % self.blocks:
            raise ValueError(f'width {x.shape[-1]} must be divisible by blocks {self.blocks}.')
        own = x.shape[-1] // self.blocks
        inputs = own + (0 if shared is None else shared.shape[-1])
        kernel = self.kernel((self.blocks, inputs, self.units // self.blocks), x.dtype)
        outputs = []
        for part in jnp.split(kernel, amount, -1):
            y = ops.block_matmul(x, part[:, :own])
            if shared is not None:
                # What all blocks see is one product, and is never repeated.
                y += ops.matmul(shared, ops.flat(part[:, own:].swapaxes(0, 1), 2))
            outputs.append(y)
        if not self.bias:
            return outputs
        bias = self.value('bias', jnp.zeros, (self.units,), f32).astype(x.dtype)
        shifts = jnp.split(bias.reshape(self.blocks, -1), amount, -1)
        return [y + shift.reshape(-1) for y, shift in zip(outputs, shifts, strict=True)]


class Norm(nj.Module):
    """Normalise the last axis, statistics in float32.

    rms: x / sqrt(mean(x^2) + eps) * scale; layer: (x - mean) / sqrt(var + eps) * scale + shift;
    none: x. The name may carry another eps than 1e-4: `layer1em6` is layer with 1e-6.
    """

    def __init__(self, impl):
        match = re.fullmatch(r'(none|rms|layer)(?:(\d+)em(\d+))?', impl)
        if not match:
            raise ValueError(f'Unknown norm {impl!r}. Allowed: none, rms, layer, rms1em6, ...')
        self.impl = match[1]
        self.eps = float(f'{match[2]}e-{match[3]}') if match[2] else 1e-4

    def __call__(self, x, activation='none'):
        """Normalise, then activate."""
        if self.impl == 'none':
            return act(activation)(x)
        scale = self.value('scale', jnp.ones, x.shape[-1:], f32)
        if self.impl == 'rms':
            return rms_norm(self.eps, activation, x, scale)
        shift = self.value('shift', jnp.zeros, x.shape[-1:], f32)
        return layer_norm(self.eps, activation, x, scale, shift)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def rms_norm(eps, activation, x, scale):
    """act(x / sqrt(mean(x^2) + eps) * scale) of x (..., D) and scale (D,).

    The backward pass computes the output anew from x, whose way through memory takes longer, and
    sums by products: with z = x r scale, p = dz x and r = 1 / sqrt(mean(x^2) + eps)

        dscale = sum_n r_n p_n        dx = r scale dz - x r^3 (p . scale) / D
    """
    return _rms_forward(eps, activation, x, scale)[0]


def _rms_forward(eps, activation, x, scale):
    wide = f32(x)
    inverse = jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + eps)
    y = act(activation)((wide * (inverse * scale)).astype(x.dtype))
    return y, (x, scale, inverse)


def _rms_backward(eps, activation, saved, grad):
    x, scale, inverse = saved
    wide = f32(x)
    # In another order than above, so that the compiler does not keep what is computed there.
    _, pull = jax.vjp(act(activation), (wide * inverse * scale).astype(x.dtype))
    (grad,) = pull(grad)
    grad = f32(grad)
    inner = ops.rows(grad * wide)
    to_scale = jnp.dot(inverse.reshape(-1), inner, precision='highest')
    along = jnp.dot(inner, scale, precision='highest').reshape(inverse.shape) / len(scale)
    to_x = grad * (inverse * scale) - wide * (along * inverse**3)
    return to_x.astype(x.dtype), to_scale


rms_norm.defvjp(_rms_forward, _rms_backward)


@functools.partial(jax.checkpoint, static_argnums=(0, 1))
def layer_norm(eps, activation, x, scale, shift):
    """act((x - mean) / sqrt(var + eps) * scale + shift) of x (..., D), scale and shift (D,)."""
    wide = f32(x)
    mean = wide.mean(-1, keepdims=True)
    var = jnp.maximum(0, jnp.square(wide).mean(-1, keepdims=True) - jnp.square(mean))
    y = (wide - mean) * (jax.lax.rsqrt(var + eps) * scale) + shift
    return act(activation)(y.astype(x.dtype))


class MLP(nj.Module):
    """`layers` times linear, norm, activation: (..., in) -> (..., units)."""

    act: str = 'silu'
    norm: str = 'rms'
    winit: str = 'trunc_normal_in'

    def __init__(self, layers, units):
        self.layers = layers
        self.units = units

    def __call__(self, x):
        # An activation that halves its input gets twice the width.
        width = self.units * (2 if self.act == 'swiglu' else 1)
        for i in range(self.layers):
            x = self.sub(f'linear{i}', Linear, width, winit=self.winit)(x)
            x = self.sub(f'norm{i}', Norm, self.norm)(x, self.act)
        return x


class DictConcat:
    """Dict of arrays (*batch, *space.shape) -> (*batch, width), keys in sorted order.

    Continuous values are squished, discrete ones become one-hot (with each element's own number of
    classes), every key is flattened row-major. A key with an element of -inf, or -1 in a signed
    integer space that starts at 0 or above, is missing: it contributes zeros.
    """

    def __init__(self, spaces, squish=lambda x: x):
        self.spaces = {k: spaces[k] for k in sorted(spaces)}
        self.squish = squish

    def __call__(self, xs):
        return jnp.concatenate([self._one(xs[k], s) for k, s in self.spaces.items()], -1)

    def _one(self, x, space):
        ndims = len(space.shape)
        assert x.shape[x.ndim - ndims :] == space.shape, (x.shape, space)
        if not space.discrete:
            x = ops.flat(f32(x), ndims)
            keep = ~jnp.isneginf(x).any(-1, keepdims=True)
            return ops.cast(jnp.where(keep, self.squish(jnp.where(keep, x, 0)), 0))
        low, classes = bounds(space)
        x = ops.flat(x, ndims).astype(jnp.int32)
        marked = np.issubdtype(space.dtype, np.signedinteger) and (low >= 0).all()
        keep = ~(marked & (x == -1).any(-1, keepdims=True))
        hots = [jax.nn.one_hot(x[..., i] - low[i], n) for i, n in enumerate(classes)]
        return ops.cast(jnp.where(keep, jnp.concatenate(hots, -1), 0))


def bounds(space):
    """Lowest value and number of classes of every element of a discrete space, flattened."""
    classes = np.broadcast_to(space.classes, space.shape).reshape(-1)
    low = np.broadcast_to(space.low, space.shape).reshape(-1).astype(np.int64)
    return low, classes
