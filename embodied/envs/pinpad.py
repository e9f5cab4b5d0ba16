"""Pin pad: coloured pads to step on in the right order, after the Director paper (2206.04114).

The paper describes the task in words; pads and colours are placed here as we understand it.
"""

import elements
import numpy as np

from ..core import base

TASKS = {'three': 3, 'four': 4, 'five': 5, 'six': 6, 'seven': 7, 'eight': 8}
MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # Stay, up, down, left, right.
ROWS, COLS, BAR = 14, 16, 2  # The room with its walls, and the history below.
PAD = 3  # Side of a pad.
# Upper left tile of each pad, so that neighbours in the order are not neighbours in the room.
SPOTS = ((1, 1), (10, 12), (1, 12), (10, 1), (1, 6), (10, 7), (5, 1), (6, 12))
COLORS = np.array(
    [
        *[(214, 40, 40), (46, 160, 67), (38, 98, 214), (240, 200, 40)],
        *[(200, 60, 200), (40, 200, 210), (245, 130, 30), (130, 90, 50)],
    ],
    np.uint8,
)
FLOOR, WALL, AGENT = (255, 255, 255), (120, 120, 120), (0, 0, 0)


def check(task: str) -> None:
    """Raises a ValueError for a task that does not exist."""
    if task not in TASKS:
        raise ValueError(f'task: unknown pinpad task {task!r}, allowed are {", ".join(TASKS)}')


class PinPad(base.Env):
    """An image of the room from above; the reward is 10 for the right sequence of pads.

    Stepping on a pad puts it at the end of the history, which is shown below the room and holds as
    many pads as there are; staying on it or coming back to it does nothing. Once the history is the
    sequence, it is emptied and the agent is somewhere else. Nothing is terminal.

    Arguments:
        task: number of pads as a word, `three` to `eight`.
        size: height and width of the image.
        length: steps after which the episode is cut off.
        seed: the same seed and actions give the same episodes.
    """

    def __init__(self, task, size=(64, 64), length=10000, seed=None):
        check(task)
        self._size = tuple(size)
        self._length = length
        self._rng = np.random.default_rng(seed)
        self._pads, self._picture = _room(TASKS[task])
        self._target = list(range(TASKS[task]))
        self._free = np.argwhere(self._pads == -1)
        self._position = (0, 0)
        self._history = []
        self._steps = None  # None asks for a reset.

    @property
    def obs_space(self):
        return {
            'image': elements.Space(np.uint8, (*self._size, 3)),
            **base.FLAGS,
        }

    @property
    def act_space(self):
        return {
            'action': elements.Space(np.int32, (), 0, len(MOVES)),
            'reset': elements.Space(bool),
        }

    def step(self, action):
        if action['reset'] or self._steps is None:
            self._steps = 0
            self._start()
            return self._obs(0.0, is_first=True)
        self._steps += 1
        row, col = np.add(self._position, MOVES[int(action['action'])]).tolist()
        if self._pads[row, col] >= -1:
            self._position = row, col
        pad = int(self._pads[self._position])
        if pad >= 0 and self._history[-1:] != [pad]:
            self._history = [*self._history, pad][-len(self._target) :]
        reward = 0.0
        if self._history == self._target:
            reward = 10.0
            self._start()
        last = self._steps >= self._length
        self._steps = None if last else self._steps
        return self._obs(reward, is_last=last)

    def save(self):
        rng = self._rng.bit_generator.state
        place = {'position': list(self._position), 'history': list(self._history)}
        return {'rng': rng, 'steps': self._steps, **place}

    def load(self, data):
        self._rng.bit_generator.state = data['rng']
        self._steps = data['steps']
        self._position = tuple(data['position'])
        self._history = list(data['history'])

    def render(self):
        """The image (H, W, 3)."""
        picture = self._picture.copy()
        picture[self._position] = AGENT
        for i, pad in enumerate(self._history):
            picture[ROWS:, 2 * i : 2 * i + 1] = COLORS[pad]
        rows, cols = (
            np.arange(n) * m // n for n, m in zip(self._size, picture.shape, strict=False)
        )
        return picture[rows][:, cols]

    def _start(self):
        self._position = tuple(self._free[self._rng.integers(len(self._free))].tolist())
        self._history = []

    def _obs(self, reward, is_first=False, is_last=False):
        return {
            'image': self.render(),
            'reward': np.float32(reward),
            'is_first': np.bool_(is_first),
            'is_last': np.bool_(is_last),
            'is_terminal': np.bool_(False),
        }


def _room(amount):
    """Pads (ROWS, COLS), -1 for the floor and -2 for walls, and a picture of them with the bar."""
    pads = np.full((ROWS, COLS), -2)
    pads[1:-1, 1:-1] = -1
    for i, (row, col) in enumerate(SPOTS[:amount]):
        pads[row : row + PAD, col : col + PAD] = i
    palette = np.array([*COLORS, WALL, FLOOR], np.uint8)  # The last two for -2 and -1.
    bar = np.full((BAR, COLS, 3), 40, np.uint8)
    return pads, np.concatenate([palette[pads], bar])
