"""Procgen: 16 games whose levels are generated. Package `procgen2`, module `procgen`."""

import importlib.util

import elements
import numpy as np

from ..core import base, wrappers
from . import packages

GAMES = (
    *('bigfish', 'bossfight', 'caveflyer', 'chaser', 'climber', 'coinrun', 'dodgeball', 'fruitbot'),
    *('heist', 'jumper', 'leaper', 'maze', 'miner', 'ninja', 'plunder', 'starpilot'),
)
# Steps after which the game ends an episode, 1000 elsewhere. It does not tell that from an end.
LIMITS = {'bigfish': 6000, 'bossfight': 4000, 'plunder': 4000, 'leaper': 500, 'maze': 500}
RESET = -1  # The action that ends an episode.


def check(task: str) -> None:
    """Raises a ValueError for a game that does not exist."""
    if task not in GAMES:
        raise ValueError(f'task: unknown procgen game {task!r}, allowed are {", ".join(GAMES)}')
    for name in ('gym3', 'cffi'):
        if importlib.util.find_spec(name) is None:
            raise ValueError(
                f'task: procgen needs the package {name!r} beside its own: '
                f'pip install --no-deps {name}'
            )


def make(task, size=(64, 64), **kwargs) -> base.Env:
    """ProcGen with images of another size (height, width)."""
    return wrappers.ResizeImage(ProcGen(task, **kwargs), size)


class ProcGen(base.Env):
    """Images (64, 64, 3) and 15 actions; each episode is a level.

    The limit of time is not terminal, any other end is. The game goes on to the next level at once
    and keeps the last image of an episode to itself, so the one before is shown again.

    Arguments:
        task: name of the game.
        mode: `easy`, `hard`, `extreme`, `memory` or `exploration`, where the game has it.
        levels: number of levels, 0 = endless.
        start: the first of them.
        seed: the same seed and actions give the same episodes.
        kwargs: for procgen.ProcgenGym3Env.
    """

    def __init__(self, task, mode='hard', levels=0, start=0, seed=None, **kwargs):
        check(task)
        if mode != 'exploration':
            kwargs = {'num_levels': levels, 'start_level': start, **kwargs}
        seed = None if seed is None else seed % 2**31
        kwargs = {'distribution_mode': mode, 'rand_seed': seed, 'num_threads': 0, **kwargs}
        self._env = packages.part('procgen.env').ProcgenGym3Env(num=1, env_name=task, **kwargs)
        self._limit = LIMITS.get(task, 1000)
        self._image = self._env.observe()[1]['rgb'][0].copy()
        self._steps = 0
        self._done = True  # The game has begun the next level.

    @property
    def obs_space(self):
        return {
            'image': elements.Space(np.uint8, (64, 64, 3)),
            **base.FLAGS,
        }

    @property
    def act_space(self):
        return {'action': elements.Space(np.int32, (), 0, 15), 'reset': elements.Space(bool)}

    def step(self, action):
        if action['reset'] or self._done:
            if not self._done:
                self._act(RESET)
            self._steps, self._done = 0, False
            self._image = self._env.observe()[1]['rgb'][0].copy()
            return self._obs(0.0, is_first=True)
        reward, image, self._done = self._act(int(action['action']))
        self._steps += 1
        self._image = self._image if self._done else image
        terminal = self._done and self._steps < self._limit
        return self._obs(reward, is_last=self._done, is_terminal=terminal)

    def close(self):
        self._env.close()

    def save(self):
        game = np.frombuffer(self._env.get_state()[0], np.uint8)
        return {'game': game, 'image': self._image, 'steps': self._steps, 'done': self._done}

    def load(self, data):
        self._env.set_state([np.asarray(data['game'], np.uint8).tobytes()])
        self._image = np.asarray(data['image'], np.uint8)
        self._steps, self._done = data['steps'], data['done']

    def _act(self, button):
        self._env.act(np.array([button], np.int32))
        reward, obs, first = self._env.observe()
        return reward[0], obs['rgb'][0].copy(), bool(first[0])

    def _obs(self, reward, is_first=False, is_last=False, is_terminal=False):
        return {
            'image': self._image,
            'reward': np.float32(reward),
            'is_first': np.bool_(is_first),
            'is_last': np.bool_(is_last),
            'is_terminal': np.bool_(is_terminal),
        }
