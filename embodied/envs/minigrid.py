"""MiniGrid and BabyAI: grid worlds with a mission in words. Package `minigrid`."""

import difflib
import importlib
import re

import gymnasium
import numpy as np

from ..core import base, wrappers
from . import from_gym

# What missions of BabyAI say beyond the words that the package lists.
WORDS = ('after', 'behind', 'front', 'in', 'left', 'next', 'on', 'right', 'your')


def check(task: str) -> None:
    """Raises a ValueError for a task that does not exist."""
    name = _resolve(task)
    if name not in gymnasium.registry:
        ids = [k for k in gymnasium.registry if k.startswith(('MiniGrid-', 'BabyAI-'))]
        close = difflib.get_close_matches(name, ids, 3, 0.5)
        hint = f', did you mean {" or ".join(close)}?' if close else '.'
        raise ValueError(
            f'task: unknown minigrid task {task!r}{hint} Allowed are ids of the package, where '
            'MiniGrid- and -v0 may be left out'
        )


def make(task, size=(64, 64), full=False, words=40, seed=None, **kwargs) -> base.Env:
    """The observations `image`, `direction` (int32, 4) and `mission` (int32, `words`).

    Seven actions: turn left and right, go, pick up, drop, toggle, done.

    Arguments:
        task: an id, in short (`Empty-5x5`) or in full (`BabyAI-GoToLocal-v0`).
        size: height and width of the image.
        full: the image shows the whole grid instead of what the agent sees, itself in the middle of
            the lower edge.
        words: length of the mission, which is filled up with 0 or cut off; 0 leaves it out. Class 1
            is a word that is not known.
        seed: the same seed and actions give the same episodes.
        kwargs: for gymnasium.make.
    """
    check(task)
    env = gymnasium.make(_resolve(task), disable_env_checker=True, **kwargs)
    env = from_gym.FromGym(Observed(env, size, full, words), seed=seed)
    return wrappers.ResizeImage(env, size)


class Observed(gymnasium.ObservationWrapper):
    """Colours for an image, and numbers for a mission."""

    def __init__(self, env, size, full, words):
        super().__init__(env)
        inner = env.unwrapped
        cells = max(inner.width, inner.height) if full else inner.agent_view_size
        self._tile = max(8, -(-max(size) // cells))
        self._full = full
        self._words = words
        self._classes = {word: i + 2 for i, word in enumerate(_vocabulary())}
        grid = (inner.height, inner.width) if full else (cells, cells)
        shape = (*(x * self._tile for x in grid), 3)
        spaces = {
            'image': gymnasium.spaces.Box(0, 255, shape, np.uint8),
            'direction': gymnasium.spaces.Discrete(4),
        }
        if words:
            classes = len(self._classes) + 2
            spaces['mission'] = gymnasium.spaces.MultiDiscrete([classes] * words)
        self.observation_space = gymnasium.spaces.Dict(spaces)

    def observation(self, observation):
        inner = self.env.unwrapped
        image = inner.get_frame(self._full, self._tile, agent_pov=not self._full)
        result = {'image': image, 'direction': observation['direction']}
        if self._words:
            result['mission'] = self._encode(observation['mission'])
        return result

    def _encode(self, mission):
        words = re.findall(r'\w+', mission.lower())[: self._words]
        result = np.zeros(self._words, np.int32)
        result[: len(words)] = [self._classes.get(x, 1) for x in words]
        return result


def _resolve(task):
    importlib.import_module('minigrid')  # Which registers its environments.
    return task if task in gymnasium.registry else f'MiniGrid-{task}-v0'


def _vocabulary():
    from minigrid.wrappers import DictObservationSpaceWrapper

    return sorted({*WORDS, *DictObservationSpaceWrapper.get_minigrid_words()})
