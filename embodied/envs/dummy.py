"""A toy environment with all kinds of spaces, for tests and for trying out a program."""

import elements
import numpy as np

from ..core import base

# Actions by task. The names differ from those of the observations.
ACTIONS = {
    'disc': {'action': elements.Space(np.int32, (), 0, 5)},
    'cont': {'action': elements.Space(np.float32, (6,), -2, 2)},
    'hybrid': {
        'button': elements.Space(bool),
        'choice': elements.Space(np.int32, (), 0, 5),
        'keys': elements.Space(np.int32, (3,), 0, np.array([2, 3, 4])),
        'move': elements.Space(np.float32, (2,), -1, 1),
        'turn': elements.Space(np.float32, (), -0.5, 2),
    },
}


def check(task: str) -> None:
    """Raises a ValueError for a task that does not exist."""
    if task not in ACTIONS:
        raise ValueError(f'task: unknown dummy task {task!r}, allowed are {", ".join(ACTIONS)}')


class Dummy(base.Env):
    """Random observations of all kinds; the reward is how high the actions are in their ranges.

    Tasks: `disc` has one discrete action, `cont` a continuous one, and `hybrid` several: bool,
    discrete, discrete with unequal numbers of classes, continuous with and without axes.

    The observation `step` counts the steps of the episode, `count` all observations so far, so that
    lost and doubled data is seen. Episodes have `length` steps; every other one ends by a terminal,
    the others by a time limit. Equal seeds and actions give equal observations.
    """

    def __init__(self, task, size=(64, 64), length=100, seed=None):
        check(task)
        if length < 1:
            raise ValueError(f'env.dummy.length: got {length}, allowed is at least 1')
        self._actions = ACTIONS[task]
        self._size = tuple(size)
        self._length = length
        self._rng = np.random.default_rng(seed)
        self._count = 0
        self._episode = 0
        self._step = None  # None asks for a reset.

    @property
    def obs_space(self):
        return {
            'image': elements.Space(np.uint8, (*self._size, 3)),
            'vector': elements.Space(np.float32, (7,)),
            'matrix': elements.Space(np.float32, (2, 3), -1, 1),
            'scalar': elements.Space(np.float32),
            'token': elements.Space(np.int32, (), 0, 8),
            'tokens': elements.Space(np.int32, (2,), 0, np.array([3, 5])),
            'flag': elements.Space(bool),
            'flags': elements.Space(bool, (4,)),
            'count': elements.Space(np.float32),
            'step': elements.Space(np.float32),
            'log/step': elements.Space(np.float32),
            **base.FLAGS,
        }

    @property
    def act_space(self):
        return {**self._actions, 'reset': elements.Space(bool)}

    def step(self, action):
        if action['reset'] or self._step is None:
            self._step = 0
            self._episode += 1
            return self._obs(0.0, is_first=True)
        self._step += 1
        reward = np.mean([_height(action[k], v) for k, v in self._actions.items()])
        last = self._step >= self._length
        obs = self._obs(reward, is_last=last, is_terminal=last and self._episode % 2 == 1)
        if last:
            self._step = None
        return obs

    def save(self):
        rng = self._rng.bit_generator.state
        return {'rng': rng, 'count': self._count, 'episode': self._episode, 'step': self._step}

    def load(self, data):
        self._rng.bit_generator.state = data['rng']
        self._count = data['count']
        self._episode = data['episode']
        self._step = data['step']

    def _obs(self, reward, is_first=False, is_last=False, is_terminal=False):
        self._count += 1
        rng = self._rng
        return {
            'image': rng.integers(0, 256, (*self._size, 3), np.uint8),
            'vector': rng.standard_normal(7, np.float32),
            'matrix': rng.uniform(-1, 1, (2, 3)).astype(np.float32),
            'scalar': rng.standard_normal(dtype=np.float32) * np.float32(10),
            'token': rng.integers(0, 8, dtype=np.int32),
            'tokens': rng.integers(0, [3, 5], dtype=np.int32),
            'flag': np.bool_(rng.integers(0, 2)),
            'flags': rng.integers(0, 2, 4).astype(bool),
            'count': np.float32(self._count),
            'step': np.float32(self._step),
            'log/step': np.float32(self._step),
            'reward': np.float32(reward),
            'is_first': np.bool_(is_first),
            'is_last': np.bool_(is_last),
            'is_terminal': np.bool_(is_terminal),
        }


def _height(value, space):
    """Mean position of an action in its range, from 0 to 1."""
    low, high = space.low.astype(np.float32), space.high.astype(np.float32)
    high = high - (space.dtype.kind == 'i')  # Of integers, one above the highest allowed.
    return np.mean((np.asarray(value, np.float32) - low) / (high - low))
