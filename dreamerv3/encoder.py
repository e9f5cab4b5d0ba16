"""The encoder: observations to tokens."""

import jax.numpy as jnp
import ninjax as nj

from embodied.jax import conv, layers, ops

from . import inputs


class Encoder(nj.Module):
    """Vectors through an MLP, images through a CNN for each size; tokens are all side by side.

    Only keys that match the regex `include` and not `exclude` are seen.
    """

    depth: int = 64
    mults: tuple = (2, 3, 4, 4)
    layers: int = 3
    units: int = 1024
    act: str = 'silu'
    norm: str = 'rms'
    winit: str = 'trunc_normal_in'
    symlog: bool = True
    outer: bool = False
    kernel: int = 5
    strided: bool = False
    include: str = '.*'
    exclude: str = ''

    def __init__(self, obs_space):
        chosen = inputs.select(obs_space, self.include, self.exclude)
        if not chosen:
            raise ValueError(
                f'agent.enc.simple.include: got {self.include!r}, which with exclude '
                f'{self.exclude!r} leaves nothing; allowed are some of {", ".join(obs_space)}'
            )
        self.vectors, images = inputs.split(chosen)
        self.cameras = inputs.cameras(images, self.mults, self.outer)
        self.concat = layers.DictConcat(self.vectors, ops.symlog if self.symlog else lambda x: x)

    def __call__(self, obs, bdims):
        """Observations (*batch, ...) to tokens (*batch, E)."""
        parts = []
        if self.vectors:
            parts.append(self._vectors({k: obs[k] for k in self.vectors}))
        for cameras in self.cameras:
            # In sorted order, whatever the order of the observation space.
            images = [ops.cast(obs[k].astype(jnp.float32)) for k in sorted(cameras.spaces)]
            x = jnp.concatenate(images, -1) / 255 - 0.5
            batch = x.shape[:bdims]
            x = self._images(cameras, x.reshape(-1, *x.shape[bdims:]))
            parts.append(x.reshape(*batch, -1))
        return jnp.concatenate(parts, -1)

    def _vectors(self, obs):
        x = self.concat(obs)
        for i in range(self.layers):
            x = self.sub(f'mlp{i}', layers.Linear, self.units, winit=self.winit)(x)
            x = self._norm_act(f'mlp{i}', x)
        return x

    def _images(self, cameras, x):
        if any(cameras.padding):
            x = jnp.pad(x, [(0, 0), *((0, n) for n in cameras.padding), (0, 0)])
        for i, mult in enumerate(cameras.mults):
            name = f'cnn{i}{cameras.tail}'
            halve = not (self.outer and i == 0)
            args = (self.depth * mult, self.kernel, 2 if halve and self.strided else 1)
            kw = {'winit': self.winit, 'resize': 'halve' if halve and not self.strided else 'none'}
            x = self.sub(name, conv.Conv2D, *args, **kw)(x)
            x = self._norm_act(name, x)
        return x

    def _norm_act(self, name, x):
        return self.sub(f'{name}norm', layers.Norm, self.norm)(x, self.act)
