"""Any environment with the interface of `dm_env`: specs and time steps become spaces and flags."""

import functools
import re

import elements
import numpy as np

from ..core import base

FLAGS = ('reward', 'is_first', 'is_last', 'is_terminal')


class FromDM(base.Env):
    """A dm_env environment: a last step with discount 0 is terminal, any other only `is_last`.

    Observations: uint8 with three axes is an image (H, W, C); other numbers are float32, without
    bounds, as environments overstep them; bool stays. Those without values are left out. Actions
    keep their bounds; DiscreteArray and BoundedArray of integers count from 0.

    Names consist of letters, digits and underscores; anything else becomes an underscore. A name
    that the runtime needs for itself gets the prefix `obs_` or `act_`.

    Arguments:
        env: a dm_env.Environment.
        obs_key, act_key: names where the environment has a single observation or action that is
            not in a dict.
    """

    def __init__(self, env, obs_key='observation', act_key='action'):
        self._env = env
        self._obs = _named(env.observation_spec(), obs_key, 'obs', (*FLAGS, 'reset'))
        self._acts = _named(env.action_spec(), act_key, 'act', ('reset', *FLAGS))
        both = self._obs.keys() & self._acts.keys()
        self._obs = {f'obs_{k}' if k in both else k: v for k, v in self._obs.items()}
        self._done = True
        self._closed = False

    @property
    def env(self):
        """The dm_env environment."""
        return self._env

    @functools.cached_property
    def obs_space(self):
        return {
            **{name: _observation(spec) for name, (_, spec) in self._obs.items()},
            'reward': elements.Space(np.float32),
            'is_first': elements.Space(bool),
            'is_last': elements.Space(bool),
            'is_terminal': elements.Space(bool),
        }

    @functools.cached_property
    def act_space(self):
        spaces = {name: _action(spec) for name, (_, spec) in self._acts.items()}
        return {**spaces, 'reset': elements.Space(bool)}

    def step(self, action):
        if action['reset'] or self._done:
            time = self._env.reset()
        else:
            time = self._env.step(self._assemble(action))
        self._done = time.last()
        values = time.observation
        obs = {
            name: np.asarray(values if key is None else values[key], self.obs_space[name].dtype)
            for name, (key, _) in self._obs.items()
        }
        return {
            **obs,
            'reward': np.float32(0 if time.first() else time.reward or 0),
            'is_first': np.bool_(time.first()),
            'is_last': np.bool_(time.last()),
            'is_terminal': np.bool_(time.last() and time.discount == 0),
        }

    def close(self):
        if not self._closed:  # Environments of dm_control cannot be closed twice.
            self._env.close()
        self._closed = True

    def _assemble(self, action):
        values = {}
        for name, (key, spec) in self._acts.items():
            value = np.asarray(action[name])
            if spec.dtype.kind in 'iu':
                value = value + spec.minimum
            elif spec.dtype.kind == 'f':  # A bound that was rounded to float32 can lie outside.
                value = np.clip(value, spec.minimum, spec.maximum)
            values[key] = value.astype(spec.dtype)
        return values.get(None, values)


def _named(specs, root, prefix, reserved):
    """Name to (key, spec), with the key None for what is not in a dict."""
    if not hasattr(specs, 'items'):
        return {root: (None, specs)}
    result = {}
    for key, spec in specs.items():
        if 0 in spec.shape:
            continue
        name = re.sub(r'\W', '_', key, flags=re.ASCII)
        result[f'{prefix}_{name}' if name in reserved else name] = (key, spec)
    return result


def _observation(spec):
    if spec.dtype == bool:
        return elements.Space(bool, spec.shape)
    if spec.dtype == np.uint8 and len(spec.shape) == 3:
        return elements.Space(np.uint8, spec.shape)
    return elements.Space(np.float32, spec.shape)


def _action(spec):
    if spec.dtype == bool:
        return elements.Space(bool, spec.shape)
    if spec.dtype.kind in 'iu':
        classes = np.broadcast_to(spec.maximum - spec.minimum + 1, spec.shape)
        return elements.Space(np.int32, spec.shape, 0, classes.astype(np.int32))
    low, high = (np.asarray(x, np.float32) for x in (spec.minimum, spec.maximum))
    return elements.Space(np.float32, spec.shape, low, high)
