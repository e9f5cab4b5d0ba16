"""Environments that step together by the vector interface of Gymnasium, as a batch."""

import functools

import elements
import gymnasium
import numpy as np

from ..core import base
from . import from_gym, gym_spaces


class VectorEnv(base.BatchEnv):
    """Environments of a gymnasium.vector.VectorEnv, or of one with its methods.

    It has to reset an environment in the step after the last one of an episode, which is mode
    NEXT_STEP and the default everywhere: only then all observations are seen, and each of them is
    followed by one action. Observations and actions become those of `FromGym`.

    Arguments:
        env: the vector environment.
        obs_key, act_key: names of an observation and an action that have none of their own.
        seed: given to the first reset. What is allowed depends on the environment.
    """

    def __init__(self, env, obs_key=None, act_key='action', seed=None):
        mode = env.metadata.get('autoreset_mode', gymnasium.vector.AutoresetMode.NEXT_STEP)
        if mode != gymnasium.vector.AutoresetMode.NEXT_STEP:
            raise ValueError(f'{env} has the autoreset_mode {mode}, allowed is NEXT_STEP')
        self._env = env
        self._seed = seed
        self._done = np.ones(env.num_envs, bool)
        obs_space = env.single_observation_space
        self._acts = gym_spaces.actions(env.single_action_space, act_key, ('reset',))
        reserved = (*base.FLAGS, 'reset', *self._acts)
        root = obs_key or from_gym.default_key(obs_space)
        leaves, _ = gym_spaces.observations(obs_space, root, reserved, (env.num_envs,))
        self._obs = gym_spaces.masked(leaves, self._acts, (env.num_envs,))

    def __len__(self):
        return self._env.num_envs

    @functools.cached_property
    def obs_space(self):
        return {
            **{key: leaf.space for key, leaf in self._obs.items()},
            **base.FLAGS,
        }

    @functools.cached_property
    def act_space(self):
        spaces = {key: leaf.space for key, leaf in self._acts.items()}
        return {**spaces, 'reset': elements.Space(bool)}

    def step(self, action):
        reset = np.asarray(action['reset'])
        if reset.all():
            return self._reset()
        if (reset & ~self._done).any():
            raise ValueError('Only all environments at once can be reset amid their episodes.')
        values = {leaf.path: leaf.convert(action[key]) for key, leaf in self._acts.items()}
        values = gym_spaces.assemble(self._env.single_action_space, values)
        obs, reward, terminated, truncated, _ = self._env.step(values)
        first, self._done = self._done, terminated | truncated
        reward = np.where(first, 0, reward)
        return self._convert(obs, reward, first, self._done, np.asarray(terminated, bool))

    def close(self):
        self._env.close()

    def _reset(self):
        obs, _ = self._env.reset(seed=self._seed)
        self._seed = None
        self._done = none = np.zeros(len(self), bool)
        return self._convert(obs, np.zeros(len(self)), ~none, none, none)

    def _convert(self, obs, reward, first, last, terminal):
        values = gym_spaces.read(obs, self._obs)
        return {
            **values,
            'reward': np.asarray(reward, np.float32),
            'is_first': first,
            'is_last': last,
            'is_terminal': terminal,
        }
