"""Any environment with the interface of `dm_env`: specs and time steps become spaces and flags."""

import functools
import re

import elements
import numpy as np

from ..core import base


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
        self._obs = _named(env.observation_spec(), obs_key, 'obs', (*base.FLAGS, 'reset'))
        self._acts = _named(env.action_spec(), act_key, 'act', ('reset', *base.FLAGS))
        both = self._obs.keys() & self._acts.keys()
        self._obs = {f'obs_{k}' if k in both else k: v for k, v in self._obs.items()}
        # What a step needs, looked up once.
        self._read = [(k, key, self.obs_space[k].dtype) for k, (key, _) in self._obs.items()]
        self._write = [(k, key, _converter(spec)) for k, (key, spec) in self._acts.items()]
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
            **base.FLAGS,
        }

    @functools.cached_property
    def act_space(self):
        spaces = {name: _action(spec) for name, (_, spec) in self._acts.items()}
        return {**spaces, 'reset': elements.Space(bool)}

    def step(self, action):
        if action['reset'] or self._done:
            time = self._env.reset()
        else:
            acts = {key: convert(action[k]) for k, key, convert in self._write}
            time = self._env.step(acts.get(None, acts))
        first, last, values = time.first(), time.last(), time.observation
        self._done = last
        obs = {
            k: np.asarray(values if key is None else values[key], dtype)
            for k, key, dtype in self._read
        }
        return {
            **obs,
            'reward': np.float32(0 if first else time.reward or 0),
            'is_first': np.bool_(first),
            'is_last': np.bool_(last),
            'is_terminal': np.bool_(last and time.discount == 0),
        }

    def close(self):
        if not self._closed:  # Environments of dm_control cannot be closed twice.
            self._env.close()
        self._closed = True


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


def _converter(spec):
    """A function from our value of an action to the environment's."""
    if spec.dtype.kind in 'iu':
        return lambda x: (np.asarray(x) + spec.minimum).astype(spec.dtype)
    if spec.dtype.kind == 'f':
        low, high = (np.asarray(x, np.float32) for x in (spec.minimum, spec.maximum))
        if (low < spec.minimum).any() or (high > spec.maximum).any():
            # Rounding to float32 has led out of the bounds.
            return lambda x: np.clip(np.asarray(x, spec.dtype), spec.minimum, spec.maximum)
    return lambda x: np.asarray(x, spec.dtype)
