"""Wrappers that translate actions on their way into the environment."""

import functools

import elements
import numpy as np

from .. import base


class ClipAction(base.Wrapper):
    """Clips the action `key` to [low, high], numbers or arrays. Its space stays as it is."""

    def __init__(self, env, key='action', low=-1, high=1):
        super().__init__(env)
        _find(env, key)
        self._key = key
        self._low = low
        self._high = high

    def step(self, action):
        # In two steps, as np.clip takes twice as long where there is little to clip.
        clipped = np.minimum(np.maximum(action[self._key], self._low), self._high)
        return self.env.step({**action, self._key: clipped})


class NormalizeAction(base.Wrapper):
    """Lets the continuous action `key` be in [-1, 1] where both of its bounds are finite.

    Dimensions with an infinite bound keep their bounds and values.
    """

    def __init__(self, env, key='action'):
        super().__init__(env)
        space = _find_continuous(env, key)
        self._key = key
        self._space = space
        self._mask = np.isfinite(space.low) & np.isfinite(space.high)
        self._low = np.where(self._mask, space.low, 0).astype(np.float64)
        self._high = np.where(self._mask, space.high, 0).astype(np.float64)

    @functools.cached_property
    def act_space(self):
        low = np.where(self._mask, -1, self._space.low)
        high = np.where(self._mask, 1, self._space.high)
        space = elements.Space(self._space.dtype, self._space.shape, low, high)
        return {**self.env.act_space, self._key: space}

    def step(self, action):
        value = np.asarray(action[self._key], np.float64)
        share = (value + 1) / 2
        # In this form -1 and 1 hit the bounds exactly, and wide bounds do not overflow.
        scaled = self._low * (1 - share) + self._high * share
        if not self._mask.all():
            scaled = np.where(self._mask, scaled, value)
        return self.env.step({**action, self._key: scaled.astype(self._space.dtype)})


class DiscretizeAction(base.Wrapper):
    """Offers `bins` evenly spaced values for each dimension of the continuous action `key`.

    The new action has the same shape and holds integers from 0 (lower bound) to bins - 1 (upper).
    """

    def __init__(self, env, key='action', bins=5):
        super().__init__(env)
        space = _find_continuous(env, key)
        if bins < 2:
            raise ValueError(f'bins={bins} has to be at least 2.')
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            raise ValueError(
                f'Action {key!r} has infinite bounds and cannot be discretized: {space}'
            )
        self._key = key
        self._bins = bins
        self._shape = space.shape
        self._values = np.linspace(space.low, space.high, bins, dtype=space.dtype)

    @functools.cached_property
    def act_space(self):
        space = elements.Space(np.int32, self._shape, 0, self._bins)
        return {**self.env.act_space, self._key: space}

    def step(self, action):
        index = np.asarray(action[self._key])[None]
        value = np.take_along_axis(self._values, index, 0)[0]
        return self.env.step({**action, self._key: value})


def _find(env, key):
    if key not in env.act_space:
        raise ValueError(f'There is no action {key!r}. The actions are {sorted(env.act_space)}.')
    return env.act_space[key]


def _find_continuous(env, key):
    space = _find(env, key)
    if space.discrete:
        raise ValueError(f'Action {key!r} is discrete, but has to be continuous: {space}')
    return space
