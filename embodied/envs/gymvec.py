"""Gymnasium's own vector environments of an id, as a batch. Package `gymnasium`."""

import gymnasium

from ..core import base, wrappers
from . import from_gym, vector

MODES = ('auto', 'sync', 'async')
check = from_gym.check


def make(task, seeds, size=None, mode='auto', **kwargs) -> base.BatchEnv:
    """One environment for each seed; their images are resized to `size` if that is given.

    mode: `sync` steps one after the other, `async` each in a process of its own; `auto` takes an
    environment that is written as a batch if there is one, else `sync`. `kwargs` are those of
    gymnasium.make_vec.
    """
    if mode not in MODES:
        raise ValueError(f'env.gymvec.mode: got {mode!r}, allowed are {", ".join(MODES)}')
    if mode != 'auto':
        kwargs['vectorization_mode'] = mode
    if mode == 'async':  # Forks of a process that runs JAX may hang.
        kwargs['vector_kwargs'] = {'context': 'spawn'}
    try:
        env = gymnasium.make_vec(task, num_envs=len(seeds), **kwargs)
    except (TypeError, gymnasium.error.Error) as e:
        raise ValueError(f'Cannot make {task!r} with the options {kwargs}: {e}') from e
    several = isinstance(env, gymnasium.vector.SyncVectorEnv | gymnasium.vector.AsyncVectorEnv)
    # One that is written as a batch has a single random generator.
    env = vector.VectorEnv(env, seed=list(seeds) if several else seeds[0])
    return wrappers.ResizeImage(env, size) if size else env
