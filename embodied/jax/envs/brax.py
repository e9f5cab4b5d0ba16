"""Continuous control by rigid bodies. Package `brax`."""

import elements
import jax.numpy as jnp
import numpy as np
from brax import envs

from . import pure


class Brax(pure.PureEnv):
    """Environments of a name such as `ant`. A fall is a terminal, the time limit is not.

    Arguments:
        task: name of the environment.
        seeds: one for each environment.
        backend: `generalized`, `positional`, `spring` or `mjx`, how bodies are simulated.
        repeat: steps that an action lasts.
        length: steps after which an episode is cut off, each with its repeats.
    """

    def __init__(self, task, seeds, backend='generalized', repeat=1, length=1000):
        try:
            env = envs.get_environment(task, backend=backend)
        except KeyError:
            raise ValueError(
                f'task: brax has no environment {task!r}, allowed are names such as ant'
            ) from None
        super().__init__(Rules(env, repeat, length), seeds)


class Rules:
    """A single environment; its state is that of brax and the number of steps."""

    def __init__(self, env, repeat, length):
        self.env, self.repeat, self.length = env, repeat, length
        self.obs_space = {'vector': elements.Space(np.float32, (env.observation_size,))}
        self.act_space = {'action': elements.Space(np.float32, (env.action_size,), -1, 1)}

    def reset(self, key):
        state = self.env.reset(key)
        return (state, jnp.int32(0)), {'vector': state.obs}

    def step(self, key, state, action):
        state, count = state
        count, reward, terminal = count + 1, 0.0, False
        for _ in range(self.repeat):
            state = self.env.step(state, action['action'])
            # After a fall, what is left of the repeats does not count.
            reward += jnp.where(terminal, 0.0, state.reward)
            terminal |= state.done.astype(bool)
        last = terminal | (count >= self.length)
        return (state, count), {'vector': state.obs}, reward, terminal, last
