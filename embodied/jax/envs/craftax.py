"""Craftax and Craftax-Classic: Crafter and a longer game on top of it. Package `craftax`."""

import elements
import jax.numpy as jnp
import numpy as np
from craftax import craftax_env

from ...core import wrappers
from . import gymnax, pure

TASKS = tuple(f'{x}-{y}-v1' for x in ('Craftax', 'Craftax-Classic') for y in ('Symbolic', 'Pixels'))


def make(task, seeds, size=None):
    """One environment for each seed. Compiling takes minutes on a CPU.

    Death is a terminal, the time limit of the game is not. Those with Pixels show images, which are
    resized to `size` (height, width) if that is given.
    """
    if task not in TASKS:
        raise ValueError(f'task: unknown craftax task {task!r}, allowed are {", ".join(TASKS)}')
    env = craftax_env.make_craftax_env_from_name(task, auto_reset=False)
    env = pure.PureEnv(Rules(env, env.default_params), seeds)
    return wrappers.ResizeImage(env, size) if size else env


class Rules(gymnax.Rules):
    """A single game."""

    def __init__(self, env, params):
        super().__init__(env, params)
        self.images = 'Pixels' in env.name
        if self.images:
            shape = self.obs_space['vector'].shape
            self.obs_space = {'image': elements.Space(np.uint8, shape)}

    def step(self, key, state, action):
        obs, state, reward, last, _ = self.env.step_env(key, state, action['action'], self.params)
        # What would be over at any time of day is over by itself.
        terminal = self.env.is_terminal(state.replace(timestep=0), self.params)
        return state, self.observe(obs), reward, terminal, last

    def observe(self, obs):
        if self.images:
            return {'image': (255 * obs).round().astype(jnp.uint8)}
        return super().observe(obs)
