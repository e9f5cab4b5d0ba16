"""Memory Maze: find coloured objects again in a maze that is new each time. `memory-maze`."""

import logging

from ..core import base, wrappers
from . import from_dm, gl, packages

SIZES = ('9x9', '11x11', '13x13', '15x15')


def check(task: str) -> None:
    """Raises a ValueError for a maze that does not exist."""
    if task not in SIZES:
        raise ValueError(f'task: unknown memmaze task {task!r}, allowed are {", ".join(SIZES)}')


def make(task, size=(64, 64), seed=None, **kwargs) -> base.Env:
    """Images of what the agent sees, framed in the colour to look for, and six actions.

    The reward is 1 for each object found. Episodes have 1000 steps, 2000, 3000 or 4000 by size, and
    no terminals.

    Arguments:
        task: tiles of the maze, `9x9`, `11x11`, `13x13` or `15x15`.
        size: height and width of the image.
        seed: the same seed and actions give the same episodes.
        kwargs: for the functions of memory_maze.tasks, such as `global_observables=True`.
    """
    check(task)
    gl.require()
    logging.getLogger('absl').setLevel(logging.ERROR)  # A warning at each reset.
    # The package itself needs the old gym, its tasks do not.
    tasks = packages.part('memory_maze.tasks')
    image_only = not kwargs.get('global_observables')
    kwargs = {'camera_resolution': max(size), 'image_only_obs': image_only, **kwargs}
    env = getattr(tasks, f'memory_maze_{task}')(seed=seed, **kwargs)
    return wrappers.ResizeImage(from_dm.FromDM(env, obs_key='image'), size)
