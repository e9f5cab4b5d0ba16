"""Wrappers for types and values: few dtypes inside of the program, and none that is wrong."""

import functools

import elements
import numpy as np

from .. import base

FLAGS = ('reward', 'is_first', 'is_last', 'is_terminal')


class UnifyDtypes(base.Wrapper):
    """Floats become float32, integers int32; uint8 and bool stay.

    A value that cannot become its dtype without damage passes as it is, for CheckSpaces to name it.
    """

    def __init__(self, env):
        super().__init__(env)
        self._act_dtypes = {k: v.dtype for k, v in env.act_space.items()}

    @functools.cached_property
    def obs_space(self):
        return {k: _unify(v) for k, v in self.env.obs_space.items()}

    @functools.cached_property
    def act_space(self):
        return {k: _unify(v) for k, v in self.env.act_space.items()}

    def step(self, action):
        action = {k: np.asarray(v, self._act_dtypes.get(k)) for k, v in action.items()}
        obs = self.env.step(action)
        if not isinstance(obs, dict):
            return obs
        spaces = self.obs_space
        return {k: _convert(v, spaces[k].dtype) if k in spaces else v for k, v in obs.items()}


class CheckObs(base.Wrapper):
    """Raises a ValueError where an observation does not fit its space.

    It names the key, what is wrong with the value, and the space. Integers have to be below the
    `high` of their space (one above the highest allowed), unless that is the limit of the dtype.
    NaN and infinity are never allowed.
    """

    def __init__(self, env):
        super().__init__(env)
        _require(env, 'obs_space', FLAGS)
        both = sorted(env.obs_space.keys() & env.act_space.keys())
        if both:
            raise ValueError(f'Keys are both observation and action, rename one of each: {both}')
        self._obs_checks = {k: _make_check(v) for k, v in env.obs_space.items()}

    def step(self, action):
        obs = self.env.step(action)
        if not isinstance(obs, dict):
            raise ValueError(f'The observation is {obs!r} instead of a dict.')
        _check_keys('observation', obs, self._obs_checks)
        _check_values('Observation', obs, self._obs_checks)
        if obs['is_terminal'] and not obs['is_last']:
            raise ValueError("Observation 'is_terminal' is true while 'is_last' is false.")
        return obs


class CheckSpaces(CheckObs):
    """Checks actions in the same way as well, but not in a reset, which ignores them."""

    def __init__(self, env):
        super().__init__(env)
        _require(env, 'act_space', ('reset',))
        self._act_checks = {k: _make_check(v) for k, v in env.act_space.items()}

    def step(self, action):
        _check_keys('action', action, self._act_checks)
        if not action['reset']:
            _check_values('Action', action, self._act_checks)
        return super().step(action)


def _unify(space):
    if space.dtype in (np.uint8, bool) or space.dtype.kind not in 'fiu':
        return space
    if space.dtype.kind == 'f':
        with np.errstate(over='ignore'):
            low, high = space.low.astype(np.float32), space.high.astype(np.float32)
        return elements.Space(np.float32, space.shape, low, high)
    limits = np.iinfo(np.int32)
    low, high = (x.astype(np.float64).clip(limits.min, limits.max) for x in (space.low, space.high))
    return elements.Space(np.int32, space.shape, low.astype(np.int32), high.astype(np.int32))


def _convert(value, dtype):
    array = np.asarray(value)
    if array.dtype == dtype or array.dtype.kind not in 'biuf':
        return array
    if array.dtype.kind == dtype.kind == 'i' and array.size:
        limits = np.iinfo(dtype)
        if array.min() < limits.min or array.max() > limits.max:
            return array
    if not np.can_cast(array.dtype, dtype, 'same_kind'):
        return array
    with np.errstate(over='ignore'):  # Beyond float32 it becomes infinite, which is found.
        return array.astype(dtype)


def _require(env, name, keys):
    missing = sorted(set(keys) - getattr(env, name).keys())
    if missing:
        raise ValueError(f'The {name} of {type(env).__name__} lacks {missing}.')


def _check_keys(name, values, checks):
    if values.keys() == checks.keys():
        return
    missing = sorted(checks.keys() - values.keys())
    extra = sorted(values.keys() - checks.keys())
    raise ValueError(
        f'The {name} does not fit its space: missing keys {missing}, unknown keys {extra}.'
    )


def _check_values(name, values, checks):
    for key, (space, find) in checks.items():
        value = np.asarray(values[key])
        problem = find(value)
        if problem:
            raise ValueError(f'{name} {key!r} {problem}; its space is {space.dtype} {space.shape}.')


def _make_check(space):
    """The space and a function that names what is wrong with a value, or returns None."""
    if space.dtype.kind not in 'biuf':
        return space, lambda value: _check_kind(value, space)
    floating = space.dtype.kind == 'f'
    low, high, strict = space.low, space.high, np.zeros((), bool)
    if space.dtype.kind in 'iu':
        limits = np.iinfo(space.dtype)
        strict = space.high != limits.max
        bounded = (low != limits.min).any() or strict.any()
    else:
        if floating:
            low, high = low.astype(space.dtype), high.astype(space.dtype)
        bounded = floating and (np.isfinite(low).any() or np.isfinite(high).any())

    def find(value):
        if value.dtype != space.dtype or value.shape != space.shape:
            return f'has dtype {value.dtype} and shape {value.shape}'
        if floating and not np.isfinite(value).all():
            return f'holds {"NaN" if np.isnan(value).any() else "infinity"}'
        if bounded:
            bad = (value < low) | (value > high) | (strict & (value == high))
            if bad.any():
                return _describe(value, low, high, bad)

    return space, find


def _check_kind(value, space):
    if value.dtype.kind != space.dtype.kind or value.shape != space.shape:
        return f'has dtype {value.dtype} and shape {value.shape}'


def _describe(value, low, high, bad):
    index = tuple(int(x) for x in np.argwhere(bad)[0])
    where = f' at {list(index)}' if index else ''
    until = 'below ' if value.dtype.kind in 'iu' else ''
    return f'is {value[index]}{where}, allowed is {low[index]} to {until}{high[index]}'
