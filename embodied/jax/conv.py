"""Convolutions, and the two pairs that image networks are made of: doubling and halving.

`doubled` is nearest upsampling and a convolution, `halved` a convolution and a 2x2 max-pool. Both
are computed by phases, on the smaller of their two resolutions: pixel (2 i + a, 2 j + b) is channel
group (a, b) of pixel (i, j), so the layer is one convolution between such groups. Its kernel holds
the given one, with taps that meet the same pixel added up. This is the same function, and several
times faster on a CPU. Images are (B, H, W, C), kernels (k, k, in, out).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from . import layers, ops

# Pixels whose shifted copies fit into the cache of a core.
CACHED_PIXELS = 2048


class Conv2D(layers.Kernel):
    """Convolution (B, H, W, C) -> (B, H', W', depth) with kernel (k, k, C / groups, depth).

    `transp` inserts zeros, so that input pixel i lands at s i + s - 1 of a grid s times as large,
    and convolves with stride 1. It is not the gradient of a strided convolution. `resize` is
    `double` for nearest upsampling before, or `halve` for a 2x2 max-pool after.
    """

    bias: bool = True
    winit: str = 'trunc_normal_in'
    outscale: float = 1.0
    transp: bool = False
    resize: str = 'none'
    groups: int = 1
    pad: str = 'same'

    def __init__(self, depth, kernel, stride=1):
        self.depth = depth
        self.size = kernel
        self.stride = stride

    def __call__(self, x):
        shape = (self.size, self.size, x.shape[-1] // self.groups, self.depth)
        kernel = self.kernel(shape, x.dtype)
        if self.resize == 'double':
            return self.shift(doubled(x, kernel))
        if self.resize == 'halve':
            return halved(x, kernel, self.shift)
        if self.transp:
            before, after = (self.size - 1) // 2, self.size // 2
            pads = [(before + self.stride - 1, after)] * 2
            dilation = (self.stride, self.stride)
            return self.shift(convolve(x, kernel, pads, groups=self.groups, dilation=dilation))
        stride = (self.stride, self.stride)
        return self.shift(convolve(x, kernel, self.pad.upper(), stride, self.groups))


def convolve(x, kernel, pad, stride=(1, 1), groups=1, dilation=(1, 1)):
    """Cross-correlation, with zeros between the pixels of x where `dilation` is above 1."""
    numbers = ('NHWC', 'HWIO', 'NHWC')
    return jax.lax.conv_general_dilated(
        x, kernel, stride, pad, dilation, None, numbers, feature_group_count=groups
    )


@jax.custom_vjp
def convolve_same(x, kernel):
    """Cross-correlation of the same size, with an odd kernel.

    On a CPU the gradient of the kernel is summed over a few images at a time, whose shifted copies
    stay in the cache: two to three times as fast as the one convolution that XLA makes of it.
    """
    return convolve(x, kernel, 'SAME')


def _same_forward(x, kernel):
    return convolve(x, kernel, 'SAME'), (x, kernel)


def _same_backward(saved, grad):
    x, kernel = saved
    to_x = convolve(grad, kernel[::-1, ::-1].swapaxes(2, 3), 'SAME')
    whole = lambda x, grad: jax.vjp(lambda k: convolve(x, k, 'SAME'), kernel)[1](grad)[0]
    pieces = functools.partial(_kernel_grad, size=kernel.shape[0])
    return to_x, jax.lax.platform_dependent(x, grad, cpu=pieces, default=whole)


convolve_same.defvjp(_same_forward, _same_backward)


def _kernel_grad(x, grad, size):
    """Sum over images of the products of shifted x (B, H, W, I) and grad (B, H, W, O)."""
    batch, h, w, inputs = x.shape
    fitting = max(1, CACHED_PIXELS // (h * w))
    few = next(n for n in range(min(fitting, batch), 0, -1) if batch % n == 0)
    pad = ((0, 0), (size // 2,) * 2, (size // 2,) * 2, (0, 0))

    def step(total, images):
        x, grad = images
        x = jnp.pad(x, pad)
        x = jnp.concatenate([x[:, :, j : j + w] for j in range(size)], -1)
        grad = ops.rows(grad)
        return total + jnp.stack([ops.rows(x[:, i : i + h]).T @ grad for i in range(size)]), None

    total = jnp.zeros((size, size * inputs, grad.shape[-1]), x.dtype)
    images = jax.tree.map(lambda x: x.reshape(-1, few, *x.shape[1:]), (x, grad))
    total, _ = jax.lax.scan(step, total, images)
    return total.reshape(size, size, inputs, -1)


def doubled(x, kernel):
    """Nearest 2x upsampling, then a convolution of the same size: (B, 2 H, 2 W, out)."""
    taps = _taps(kernel.shape[0])
    met = taps.sum(2)  # Both input phases are the same pixel.
    phases = jnp.einsum('atk,bsl,klio->tsiabo', met, met, kernel)
    return _depth_to_space(convolve_same(x, phases.reshape(*phases.shape[:3], -1)))


def halved(x, kernel, shift=lambda x: x):
    """A convolution of the same size, `shift` of it, then a 2x2 max-pool: (B, H / 2, W / 2, out).

    Where pixels that are pooled are equal, they share the gradient equally.
    """
    taps = _taps(kernel.shape[0])
    phases = jnp.einsum('atpk,bsql,klio->tspqiabo', taps, taps, kernel)
    phases = phases.reshape(*phases.shape[:2], 4 * kernel.shape[2], -1)
    y = convolve_same(_space_to_depth(x), phases)
    return max_of_group(shift(y.reshape(*y.shape[:-1], 4, -1)))


@jax.custom_vjp
def max_of_group(x):
    """Maximum over the last axis but one, (..., 4, C), whose gradient goes to all that have it."""
    return functools.reduce(jnp.maximum, (x[..., i, :] for i in range(x.shape[-2])))


def _max_forward(x):
    top = max_of_group(x)
    return top, (x, top)


def _max_backward(saved, grad):
    x, top = saved
    equal = x == top[..., None, :]
    return (equal * (grad / equal.sum(-2).astype(grad.dtype))[..., None, :],)


max_of_group.defvjp(_max_forward, _max_backward)


@functools.cache
def _taps(size):
    """What tap k of a kernel means between phases, along one axis.

    Pixel 2 i + a of the output meets pixel 2 i + a + k - before = 2 (i + t) + p of the input:
    1 at [a, t + reach, p, k] (2, 2 reach + 1, 2, k), for |t| up to `reach`.
    """
    before, reach = (size - 1) // 2, (size + 2) // 4
    taps = np.zeros((2, 2 * reach + 1, 2, size), np.float32)
    for a in range(2):
        for k in range(size):
            t, p = divmod(a + k - before, 2)
            taps[a, t + reach, p, k] = 1
    return taps


def _space_to_depth(x):
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, h // 2, w // 2, 4 * c)


def _depth_to_space(x):
    b, h, w, c = x.shape
    x = x.reshape(b, h, w, 2, 2, c // 4).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(b, 2 * h, 2 * w, c // 4)
