"""The decoder: features to distributions over observations."""

import jax
import jax.numpy as jnp
import ninjax as nj

from embodied.core import masks
from embodied.jax import conv, dists, heads, layers, ops

from . import inputs

f32 = jnp.float32


class Decoder(nj.Module):
    """Vectors through an MLP and one head per key, images through a transposed CNN for each size.

    Only keys that match the regex `include` and not `exclude` are predicted.
    """

    depth: int = 64
    mults: tuple = (2, 3, 4, 4)
    layers: int = 3
    units: int = 1024
    act: str = 'silu'
    norm: str = 'rms'
    outscale: float = 1.0
    winit: str = 'trunc_normal_in'
    outer: bool = False
    kernel: int = 5
    bspace: int = 8
    strided: bool = False
    include: str = '.*'
    exclude: str = ''

    def __init__(self, obs_space):
        chosen = inputs.select(obs_space, self.include, self.exclude)
        self.vectors, self.images = inputs.split(chosen)
        self.cameras = inputs.cameras(self.images, self.mults, self.outer)
        if self.images and self.depth * self.mults[-1] % self.bspace:
            raise ValueError(
                f'depth {self.depth} times the last of mults {self.mults} must be divisible '
                f'by bspace {self.bspace}.'
            )

    def __call__(self, feat, bdims):
        """Features (*batch, ...) to a distribution per key over (*batch, *space.shape).

        The target of an image is its value / 255.
        """
        deter, stoch = feat['deter'], ops.flat(feat['stoch'], 2)
        recons = {}
        if self.vectors:
            # Opposite order of the feature that the heads see.
            recons.update(self._vectors(jnp.concatenate([stoch, deter], -1)))
        for cameras in self.cameras:
            batch = deter.shape[:bdims]
            x = self._images(cameras, ops.rows(deter), ops.rows(stoch))
            recons.update(self._split(cameras, x.reshape(*batch, *x.shape[1:])))
        return recons

    def masks(self, feat):
        """Predicted masks of actions by key, (*batch, *shape, K): what is more likely than not."""
        names = [k for k in self.vectors if k.startswith(masks.PREFIX)]
        if not names:
            return {}
        # What else is predicted of vectors is not used, and so not computed.
        recons = self._vectors(jnp.concatenate([ops.flat(feat['stoch'], 2), feat['deter']], -1))
        return {k: recons[k].pred().astype(bool) for k in names}

    def _vectors(self, x):
        kw = {'act': self.act, 'norm': self.norm, 'winit': self.winit}
        x = self.sub('mlp', layers.MLP, self.layers, self.units, **kw)(x)
        outputs = {
            k: 'categorical' if s.discrete else 'symlog_mse' for k, s in self.vectors.items()
        }
        kw = {'winit': self.winit, 'outscale': self.outscale}
        return self.sub('vec', heads.DictHead, self.vectors, outputs, **kw)(x)

    def _images(self, cameras, deter, stoch):
        """Pixels (B, H, W, channels) of all cameras of a size, from (B, D) and (B, S C)."""
        mults, tail = cameras.mults, cameras.tail
        x = self._spatial(cameras, deter, stoch)
        for i in reversed(range(len(mults) - 1)):
            x = self._upsample(f'conv{i}{tail}', x, self.depth * mults[i])
            x = self._norm_act(f'conv{i}{tail}', x)
        kw = {'outscale': self.outscale}
        x = self._upsample(f'imgout{tail}', x, cameras.channels, double=not self.outer, **kw)
        if any(cameras.padding):
            height, width = cameras.size
            x = x[:, :height, :width]
        return jax.nn.sigmoid(f32(x))

    def _spatial(self, cameras, deter, stoch):
        """The smallest feature map (B, h, w, c), from deter by blocks and from stoch."""
        (h, w), c, g = cameras.small, self.depth * self.mults[-1], self.bspace
        kw, tail = {'winit': self.winit}, cameras.tail
        x0 = self.sub(f'sp0{tail}', layers.BlockLinear, h * w * c, g, **kw)(deter)
        x0 = x0.reshape(-1, g, h, w, c // g).transpose(0, 2, 3, 1, 4).reshape(-1, h, w, c)
        x1 = self.sub(f'sp1{tail}', layers.Linear, 2 * self.units, **kw)(stoch)
        x1 = self._norm_act(f'sp1{tail}', x1)
        x1 = self.sub(f'sp2{tail}', layers.Linear, (h, w, c), **kw)(x1)
        return self._norm_act(f'sp{tail}', x0 + x1)

    def _upsample(self, name, x, depth, double=True, **kw):
        """Twice the resolution and a convolution, or a transposed one if `strided`."""
        kw = {'winit': self.winit, **kw}
        if double and self.strided:
            return self.sub(name, conv.Conv2D, depth, self.kernel, 2, transp=True, **kw)(x)
        kw['resize'] = 'double' if double else 'none'
        return self.sub(name, conv.Conv2D, depth, self.kernel, **kw)(x)

    def _split(self, cameras, x):
        """One distribution per camera, in the order of the observation space."""
        recons, start = {}, 0
        for key, space in cameras.spaces.items():
            part = x[..., start : start + space.shape[-1]]
            recons[key] = dists.Agg(dists.MSE(part), 3)
            start += space.shape[-1]
        return recons

    def _norm_act(self, name, x):
        return self.sub(f'{name}norm', layers.Norm, self.norm)(x, self.act)
