"""Environments that step in C++, as a batch. Package `envpool`."""

import difflib
import warnings

from ..core import base, wrappers
from . import vector


def check(task: str) -> None:
    """Raises a ValueError for an environment that does not exist."""
    import envpool

    known = envpool.list_all_envs()
    if task not in known:
        close = difflib.get_close_matches(task, known, 3, 0.5)
        hint = f', did you mean {" or ".join(map(repr, close))}?' if close else ''
        raise ValueError(f'task: envpool has no environment {task!r}{hint}')


def make(task, seeds, size=None, **kwargs) -> base.BatchEnv:
    """One environment for each seed; their images are resized to `size` if that is given.

    `kwargs` are those of envpool.make, and depend on the environment.
    """
    import envpool

    seeds = [x % 2**31 for x in seeds]
    with warnings.catch_warnings():  # About bounds that are rounded to float32.
        warnings.simplefilter('ignore')
        env = envpool.make_gymnasium(task, num_envs=len(seeds), seed=seeds, **kwargs)
        env = vector.VectorEnv(env)
    return wrappers.ResizeImage(env, size) if size else env
