"""Wrappers that change or add observations on their way out of the environment."""

import functools

import elements
import numpy as np

from .. import base
from . import episodes


class AddObs(base.Wrapper):
    """Adds the constant `value` of `space` to the observations."""

    def __init__(self, env, key, value, space):
        super().__init__(env)
        if key in env.obs_space:
            raise ValueError(f'There already is an observation {key!r}: {env.obs_space[key]}')
        self._key = key
        self._value = value
        self._space = space

    @functools.cached_property
    def obs_space(self):
        return {**self.env.obs_space, self._key: self._space}

    def step(self, action):
        return {**self.env.step(action), self._key: self._value}


class BackwardReturn(episodes.Stateful):
    """Adds the discounted sum of past rewards of the episode as the observation `bwreturn`.

    The discount is 1 - 1 / horizon.
    """

    state = ('_value',)

    def __init__(self, env, horizon):
        super().__init__(env)
        if horizon < 1:
            raise ValueError(f'horizon={horizon} has to be at least 1.')
        self._discount = 1 - 1 / horizon
        self._value = 0.0

    @functools.cached_property
    def obs_space(self):
        return {**self.env.obs_space, 'bwreturn': elements.Space(np.float32)}

    def step(self, action):
        obs = self.env.step(action)
        past = 0.0 if obs['is_first'] else self._discount * self._value
        self._value = past + float(obs['reward'])
        return {**obs, 'bwreturn': np.float32(self._value)}


class ResizeImage(base.Wrapper):
    """Scales every image (uint8, rank 3) to size (height, width); (0, 0) leaves them as they are.

    `log/` keys stay as they are.
    """

    def __init__(self, env, size=(64, 64)):
        super().__init__(env)
        self._size = tuple(size)
        if len(self._size) != 2 or (min(self._size) < 1 and self._size != (0, 0)):
            raise ValueError(f'size={size} has to be two positive numbers, height and width.')
        self._keys = [
            key
            for key, space in env.obs_space.items()
            if space.dtype == np.uint8
            and len(space.shape) == 3
            and space.shape[:2] != self._size != (0, 0)
            and not key.startswith('log/')
        ]
        self._pillow = _import_pillow() if self._keys else None

    @functools.cached_property
    def obs_space(self):
        spaces = dict(self.env.obs_space)
        for key in self._keys:
            spaces[key] = elements.Space(np.uint8, (*self._size, spaces[key].shape[2]))
        return spaces

    def step(self, action):
        obs = self.env.step(action)
        return {**obs, **{key: self._resize_all(obs[key]) for key in self._keys}}

    def _resize_all(self, value):
        if getattr(self.env, 'batched', False):
            return np.stack([self._resize(x) for x in value])
        return self._resize(value)

    def _resize(self, image):
        if image.shape[2] == 3:
            return self._scale(image)
        # Pillow would take four channels for transparency and mix them.
        planes = [self._scale(image[:, :, i]) for i in range(image.shape[2])]
        return np.stack(planes, 2)

    def _scale(self, pixels):
        height, width = self._size
        image = self._pillow.fromarray(np.ascontiguousarray(pixels))
        return np.asarray(image.resize((width, height), self._pillow.Resampling.BILINEAR))


def _import_pillow():
    try:
        from PIL import Image
    except ImportError:
        raise ValueError('Resizing images needs Pillow: pip install pillow') from None
    return Image
