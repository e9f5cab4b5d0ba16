"""Environments of the package `gymnax`, and conversions for those with its interface."""

import difflib

import elements
import gymnax
import jax.numpy as jnp
import numpy as np

from . import pure


class Gymnax(pure.PureEnv):
    """Environments of an id. A time limit is no terminal.

    Arguments:
        task: an id such as `CartPole-v1` or `Breakout-MinAtar`.
        seeds: one for each environment.
        length: steps after which an episode is cut off, 0 = as the id says.
    """

    def __init__(self, task, seeds, length=0):
        if task not in gymnax.registered_envs:
            close = difflib.get_close_matches(task, gymnax.registered_envs, 3, 0.5)
            hint = f', did you mean {" or ".join(map(repr, close))}?' if close else ''
            raise ValueError(f'task: gymnax has no environment {task!r}{hint}')
        env, params = gymnax.make(task)
        if length:
            params = params.replace(max_steps_in_episode=length)
        super().__init__(Rules(env, params), seeds)


class Rules:
    """A single environment with the interface of gymnax."""

    def __init__(self, env, params):
        self.env, self.params = env, params
        act_space = env.action_space(params)
        if isinstance(leaves(act_space), dict):
            raise ValueError(f'{env.name} has a nested action space, allowed are Box and Discrete')
        self.obs_space = {k: space(v) for k, v in flatten(env.observation_space(params)).items()}
        self.act_space = {'action': space(act_space, bounds=True)}

    def reset(self, key):
        obs, state = self.env.reset_env(key, self.params)
        return state, self.observe(obs)

    def step(self, key, state, action):
        obs, state, reward, terminal, _ = self.env.step_env(
            key, state, action['action'], self.params
        )
        last = terminal | self.env.is_truncated(state, self.params)
        return state, self.observe(obs), reward, terminal, last

    def observe(self, obs):
        """Leaves of an observation by name, in the types of their spaces."""
        values = flatten(obs)
        return {
            k: jnp.asarray(values[k]).astype(v.dtype).reshape(v.shape)
            for k, v in self.obs_space.items()
        }


def flatten(tree) -> dict:
    """Leaves of a nested space or observation by name; `vector` if it is not nested."""
    inner = leaves(tree)
    if not isinstance(inner, dict):
        return {'vector': tree}
    result = {}
    for key, value in inner.items():
        nested = isinstance(leaves(value), dict)
        result |= {f'{key}_{k}': v for k, v in flatten(value).items()} if nested else {key: value}
    return result


def leaves(tree):
    """The dict of what a Dict or Tuple holds, be it a space or a value; others as they are."""
    tree = getattr(tree, 'spaces', tree)
    if isinstance(tree, tuple | list):
        return {f'obs_{i}': x for i, x in enumerate(tree)}
    return tree


def space(theirs, bounds=False) -> elements.Space:
    """Our space for Discrete or Box; without bounds, which observations overstep, unless asked."""
    if hasattr(theirs, 'n'):
        return elements.Space(np.int32, (), 0, int(theirs.n))
    if not np.issubdtype(theirs.dtype, np.floating):
        return elements.Space(np.uint8 if theirs.dtype == np.uint8 else np.float32, theirs.shape)
    if not bounds:
        return elements.Space(np.float32, theirs.shape)
    low, high = (np.asarray(x, np.float32) for x in (theirs.low, theirs.high))
    return elements.Space(np.float32, theirs.shape, low, high)
