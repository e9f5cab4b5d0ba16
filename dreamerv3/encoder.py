"""The encoder: observations to tokens."""

import jax.numpy as jnp
import ninjax as nj

from embodied.jax import conv, layers, ops

from . import checks


def split_spaces(obs_space):
    """Vector keys (rank <= 2) and image keys (rank 3) of an observation space, in its order."""
    vectors = {k: s for k, s in obs_space.items() if len(s.shape) <= 2}
    images = {k: s for k, s in obs_space.items() if len(s.shape) == 3}
    for key, space in obs_space.items():
        if len(space.shape) > 3:
            raise ValueError(
                f'Observation {key!r} has shape {space.shape}; allowed are ranks 0 to 3.'
            )
    return vectors, images


def resolution(images, stages):
    """(Height, width) after `stages` halvings, and total channels of all cameras.

    ValueError unless all cameras have one size and the result is 3 to 16 pixels.
    """
    sizes = {k: s.shape[:2] for k, s in images.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f'All images must have the same height and width, got {sizes}.')
    height, width = next(iter(sizes.values()))
    if not (checks.divisible(height, stages) and checks.divisible(width, stages)):
        raise ValueError(
            f'Images {", ".join(images)} are {height}x{width}; with {stages} halvings (mults) '
            f'allowed are {checks.sides(stages)}, as of env.SUITE.size.'
        )
    small = height // 2**stages, width // 2**stages
    return small, sum(s.shape[-1] for s in images.values())


class Encoder(nj.Module):
    """Vectors through an MLP, images through a CNN; tokens are both side by side."""

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

    def __init__(self, obs_space):
        self.vectors, self.images = split_spaces(obs_space)
        self.concat = layers.DictConcat(self.vectors, ops.symlog if self.symlog else lambda x: x)
        if self.images:
            resolution(self.images, len(self.mults) - self.outer)

    def __call__(self, obs, bdims):
        """Observations (*batch, ...) to tokens (*batch, E)."""
        parts = []
        if self.vectors:
            parts.append(self._vectors({k: obs[k] for k in self.vectors}))
        if self.images:
            # In sorted order, whatever the order of the observation space.
            images = [ops.cast(obs[k].astype(jnp.float32)) for k in sorted(self.images)]
            x = jnp.concatenate(images, -1) / 255 - 0.5
            batch = x.shape[:bdims]
            parts.append(self._images(x.reshape(-1, *x.shape[bdims:])).reshape(*batch, -1))
        return jnp.concatenate(parts, -1)

    def _vectors(self, obs):
        x = self.concat(obs)
        for i in range(self.layers):
            x = self.sub(f'mlp{i}', layers.Linear, self.units, winit=self.winit)(x)
            x = self._norm_act(f'mlp{i}', x)
        return x

    def _images(self, x):
        for i, mult in enumerate(self.mults):
            halve = not (self.outer and i == 0)
            args = (self.depth * mult, self.kernel, 2 if halve and self.strided else 1)
            kw = {'winit': self.winit, 'resize': 'halve' if halve and not self.strided else 'none'}
            x = self.sub(f'cnn{i}', conv.Conv2D, *args, **kw)(x)
            x = self._norm_act(f'cnn{i}', x)
        return x

    def _norm_act(self, name, x):
        return self.sub(f'{name}norm', layers.Norm, self.norm)(x, self.act)
