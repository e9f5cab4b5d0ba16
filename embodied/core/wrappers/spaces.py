"""Wrappers for types and values: few dtypes inside of the program, and none that is wrong."""

import functools
import math

import elements
import numpy as np

from .. import base, masks

FLAGS = ('reward', 'is_first', 'is_last', 'is_terminal')


class UnifyDtypes(base.Wrapper):
    """Floats become float32, integers int32; uint8 and bool stay.

    A value that cannot become its dtype without damage passes as it is, for CheckSpaces to name it.
    """

    def __init__(self, env):
        super().__init__(env)
        self._act_dtypes = {k: v.dtype for k, v in env.act_space.items()}
        self._obs_dtypes = {k: v.dtype for k, v in self.obs_space.items()}

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
        dtypes = self._obs_dtypes
        return {k: _convert(v, dtypes[k]) if k in dtypes else v for k, v in obs.items()}


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
        masks.check(env.obs_space, env.act_space)
        self._lead = (len(env),) if getattr(env, 'batched', False) else ()
        self._obs_checks = {k: _make_check(v, self._lead) for k, v in env.obs_space.items()}

    def step(self, action):
        obs = self.env.step(action)
        if not isinstance(obs, dict):
            raise ValueError(f'The observation is {obs!r} instead of a dict.')
        _check_keys('observation', obs, self._obs_checks)
        _check_values('Observation', obs, self._obs_checks)
        end = obs['is_terminal'] > obs['is_last']
        if end.any() if self._lead else end:
            raise ValueError("Observation 'is_terminal' is true while 'is_last' is false.")
        return obs


class CheckSpaces(CheckObs):
    """Checks actions in the same way as well, but not in a reset, which ignores them."""

    def __init__(self, env):
        super().__init__(env)
        _require(env, 'act_space', ('reset',))
        self._act_checks = {k: _make_check(v, self._lead) for k, v in env.act_space.items()}

    def step(self, action):
        _check_keys('action', action, self._act_checks)
        reset = action['reset']
        if not (np.all(reset) if self._lead else reset):
            _check_values('Action', action, self._act_checks)
        return super().step(action)


def fit(name, values, spaces, lead=()):
    """Values (*lead, ...) in the types of their spaces, by the keys of `spaces`.

    ValueError for what cannot take that type without damage, or does not fit its space.
    """
    values = {k: _convert(values[k], np.dtype(s.dtype)) for k, s in spaces.items()}
    _check_values(name, values, {k: _make_check(s, tuple(lead)) for k, s in spaces.items()})
    return values


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
    if getattr(value, 'dtype', None) == dtype:
        return value
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
        if problem := find(np.asarray(values[key])):
            raise ValueError(f'{name} {key!r} {problem}; its space is {space.dtype} {space.shape}.')


def _make_check(space, lead):
    """The space and a function that names what is wrong with a value, or returns None.

    `lead` are the axes that values have in front of those of the space.
    """
    dtype, shape = np.dtype(space.dtype), (*lead, *space.shape)
    if dtype.kind not in 'biuf':
        return space, lambda value: _check_kind(value, dtype, shape)
    low, high = space.low, space.high
    if dtype.kind == 'f':
        low, high = low.astype(dtype), high.astype(dtype)
    top = high - (high != np.iinfo(dtype).max) if dtype.kind in 'iu' else high
    fits = _make_test(dtype, shape, low, top)

    def find(value):
        if value.dtype != dtype or value.shape != shape:
            return f'has dtype {value.dtype} and shape {value.shape}'
        if fits(value):
            return None
        if dtype.kind == 'f' and not np.isfinite(value).all():
            return f'holds {"NaN" if np.isnan(value).any() else "infinity"}'
        return _describe(value, low, high, (value < low) | (value > top))

    return space, find


def _make_test(dtype, shape, low, top):
    """Whether a value is finite and in its bounds, by the least work that tells."""
    if dtype.kind == 'b':
        return lambda value: True
    floating = dtype.kind == 'f'
    bounded = np.isfinite(low) & np.isfinite(top) if floating else np.ones_like(low, bool)
    if not floating and (low == np.iinfo(dtype).min).all() and (top == np.iinfo(dtype).max).all():
        return lambda value: True
    if shape == ():
        low, top = low.item(), top.item()
        if bounded:
            return lambda value: low <= value.item() <= top  # Not so for NaN.
        return lambda value: low <= value.item() <= top and math.isfinite(value)
    if bounded.all():
        return lambda value: ((value >= low) & (value <= top)).all()
    if floating and np.isinf(low).all() and np.isinf(top).all():
        return lambda value: np.isfinite(value).all()
    return lambda value: (np.isfinite(value) & (value >= low) & (value <= top)).all()


def _check_kind(value, dtype, shape):
    if value.dtype.kind != dtype.kind or value.shape != shape:
        return f'has dtype {value.dtype} and shape {value.shape}'


def _describe(value, low, high, bad):
    low, high = np.broadcast_to(low, value.shape), np.broadcast_to(high, value.shape)
    index = tuple(int(x) for x in np.argwhere(bad)[0])
    where = f' at {list(index)}' if index else ''
    until = 'below ' if value.dtype.kind in 'iu' else ''
    return f'is {value[index]}{where}, allowed is {low[index]} to {until}{high[index]}'
