"""Room with questions: look at a thing, say its colour. After the Dynalang paper (2308.01399).

The paper describes the task in words; room, words and rewards are set here as we understand it, so
scores are not those of other implementations.
"""

import elements
import numpy as np

from ..core import base

TASKS = ('answer',)
MOVES = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))  # Stay, up, down, left, right.
SIDE = 7  # Of the room, without walls.
VIEW = 5  # Side of what the agent sees around itself.
COLORS = {
    'red': (214, 40, 40),
    'green': (46, 160, 67),
    'blue': (38, 98, 214),
    'yellow': (240, 200, 40),
    'purple': (150, 60, 190),
    'cyan': (40, 200, 210),
}
# Where things are, which never changes, and their shape on a tile of 3 x 3.
THINGS = {
    'ball': ((0, 0), ('.#.', '###', '.#.')),
    'box': ((0, SIDE - 1), ('###', '#.#', '###')),
    'cup': ((SIDE - 1, 0), ('#.#', '#.#', '###')),
    'table': ((SIDE - 1, SIDE - 1), ('###', '#.#', '#.#')),
}
WORDS = ('', 'what', 'color', 'is', 'the', *THINGS, '?', *COLORS)
FLOOR, WALL, AGENT = (230, 230, 230), (90, 90, 90), (20, 20, 20)


def check(task: str) -> None:
    """Raises a ValueError for a task that does not exist."""
    if task not in TASKS:
        raise ValueError(f'task: unknown langroom task {task!r}, allowed are {", ".join(TASKS)}')


class LangRoom(base.Env):
    """The observations `image` and `token`, one word per step, and the actions `move` and `talk`.

    Four things are in the corners of a room, of which the agent sees its surroundings only. It is
    asked for the colour of one of them, a word per step, again and again. The first colour it says
    is its answer: 1 if it is right, -0.1 if not. Then all colours are drawn anew, and so is the
    question. Any other word costs 0.01; silence is word 0. Nothing is terminal.

    Arguments:
        task: `answer`.
        size: height and width of the image.
        length: steps after which the episode is cut off.
        seed: the same seed and actions give the same episodes.
    """

    def __init__(self, task, size=(64, 64), length=200, seed=None):
        check(task)
        self._size = tuple(size)
        self._length = length
        self._rng = np.random.default_rng(seed)
        self._position = (SIDE // 2, SIDE // 2)
        self._colors = dict.fromkeys(THINGS, 'red')
        self._question = ['']
        self._asked = 0  # Words of the question so far.
        self._steps = None  # None asks for a reset.

    @property
    def obs_space(self):
        return {
            'image': elements.Space(np.uint8, (*self._size, 3)),
            'token': elements.Space(np.int32, (), 0, len(WORDS)),
            'log/right': elements.Space(np.float32),
            'log/wrong': elements.Space(np.float32),
            **base.FLAGS,
        }

    @property
    def act_space(self):
        return {
            'move': elements.Space(np.int32, (), 0, len(MOVES)),
            'talk': elements.Space(np.int32, (), 0, len(WORDS)),
            'reset': elements.Space(bool),
        }

    def step(self, action):
        if action['reset'] or self._steps is None:
            self._steps = 0
            self._position = (SIDE // 2, SIDE // 2)
            self._ask()
            return self._obs('', is_first=True)
        self._steps += 1
        row, col = np.add(self._position, MOVES[int(action['move'])]).tolist()
        self._position = min(max(row, 0), SIDE - 1), min(max(col, 0), SIDE - 1)
        said = WORDS[int(action['talk'])]
        answer = ''
        if said in COLORS:
            thing = next(x for x in self._question if x in THINGS)
            answer = 'right' if said == self._colors[thing] else 'wrong'
            self._ask()
        reward = {'right': 1.0, 'wrong': -0.1, '': -0.01 if said else 0.0}[answer]
        last = self._steps >= self._length
        self._steps = None if last else self._steps
        return self._obs(answer, reward, is_last=last)

    def save(self):
        names = ('_position', '_colors', '_question', '_asked', '_steps')
        return {'rng': self._rng.bit_generator.state, **{k: getattr(self, k) for k in names}}

    def load(self, data):
        self._rng.bit_generator.state = data['rng']
        for key in ('_colors', '_question', '_asked', '_steps'):
            setattr(self, key, data[key])
        self._position = tuple(data['_position'])

    def render(self):
        """What the agent sees (H, W, 3)."""
        edge = VIEW // 2
        tiles = np.full((SIDE + 2 * edge, SIDE + 2 * edge, 3, 3, 3), WALL, np.uint8)
        tiles[edge:-edge, edge:-edge] = FLOOR
        for thing, ((row, col), shape) in THINGS.items():
            mask = np.array([[x == '#' for x in line] for line in shape])
            tiles[row + edge, col + edge][mask] = COLORS[self._colors[thing]]
        row, col = self._position
        tiles[row + edge, col + edge, 1, 1] = AGENT
        view = tiles[row : row + VIEW, col : col + VIEW]
        picture = view.transpose(0, 2, 1, 3, 4).reshape(3 * VIEW, 3 * VIEW, 3)
        rows, cols = (np.arange(n) * len(picture) // n for n in self._size)
        return picture[rows][:, cols]

    def _ask(self):
        names = list(COLORS)
        self._colors = {k: names[self._rng.integers(len(names))] for k in THINGS}
        thing = list(THINGS)[self._rng.integers(len(THINGS))]
        pause = [''] * int(self._rng.integers(1, 5))
        self._question = [*pause, 'what', 'color', 'is', 'the', thing, '?']
        self._asked = 0

    def _obs(self, answer, reward=0.0, is_first=False, is_last=False):
        word = self._question[self._asked]
        self._asked = (self._asked + 1) % len(self._question)
        return {
            'image': self.render(),
            'token': np.int32(WORDS.index(word)),
            'log/right': np.float32(answer == 'right'),
            'log/wrong': np.float32(answer == 'wrong'),
            'reward': np.float32(reward),
            'is_first': np.bool_(is_first),
            'is_last': np.bool_(is_last),
            'is_terminal': np.bool_(False),
        }
