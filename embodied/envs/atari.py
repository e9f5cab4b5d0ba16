"""Atari games through the Arcade Learning Environment. Package `ale_py`."""

import functools
import importlib.util
import pathlib

import elements
import numpy as np

from ..core import base

LIVES = ('unused', 'discount', 'reset')
STATE = ('_steps', '_lives', '_held', '_done', '_over')
ALIASES = {'james_bond': 'jamesbond'}  # How the published scores spell it.


def check(task: str) -> None:
    """Raises a ValueError for a game that does not exist."""
    games = _games()
    if ALIASES.get(task, task) not in games:
        raise ValueError(f'task: unknown game {task!r}, allowed are {", ".join(games)}')


class Atari(base.Env):
    """Images of the screen, 18 actions or those that the game needs; the reward is the score.

    The end of the game is terminal, the limit of time is not.

    Arguments:
        task: name of the game, such as `pong`.
        repeat: frames per step, in which the action is held.
        size: height and width of the image.
        gray: one channel instead of three.
        noops: highest number of frames without an action at the start, drawn at random.
        lives: `unused`; `discount` ends the episode as a terminal when a life is lost, and the game
            goes on in the next one; `reset` does the same and starts the game over.
        sticky: each frame keeps the action of the frame before with probability 0.25.
        actions: `all` or `needed`, those that do something in this game.
        length: steps after which the episode is cut off.
        pooling: last frames of a step that are merged, against objects that flicker.
        aggregate: `max` or `mean`, how to merge them.
        resize: `pillow` for bilinear interpolation, `area` for the mean of what a pixel covers.
        autostart: press fire at the start where the game knows it.
        clip_reward: only the sign of the reward.
        seed: the same seed and actions give the same episodes.
    """

    def __init__(
        self,
        task,
        repeat=4,
        size=(84, 84),
        gray=True,
        noops=0,
        lives='unused',
        sticky=True,
        actions='all',
        length=108000,
        pooling=2,
        aggregate='max',
        resize='pillow',
        autostart=False,
        clip_reward=False,
        seed=None,
    ):
        check(task)
        if not 1 <= pooling <= repeat:
            raise ValueError(f'env.atari.pooling: got {pooling}, allowed is 1 to repeat, {repeat}')
        if lives not in LIVES:
            raise ValueError(f'env.atari.lives: got {lives!r}, allowed are {", ".join(LIVES)}')
        self._repeat = repeat
        self._size = tuple(size)
        self._noops = noops
        self._mode = lives
        self._length = length
        self._merge = {'max': np.max, 'mean': np.mean}[aggregate]
        self._resample = _filter(resize)
        self._autostart = autostart
        self._clip = clip_reward
        self._rng = np.random.default_rng(seed)
        self._sticky = 0.25 if sticky else 0.0
        self._ale = _load(task, int(self._rng.integers(2**31)))
        self._needed = [x.value for x in self._ale.getMinimalActionSet()]
        every = [x.value for x in self._ale.getLegalActionSet()]
        self._actions = {'all': every, 'needed': self._needed}[actions]
        grab = self._ale.getScreenGrayscale if gray else self._ale.getScreenRGB
        shape = self._ale.getScreenDims() + (() if gray else (3,))
        self._grab = grab
        self._frames = np.zeros((pooling, *shape), np.uint8)  # The newest is the first.
        self._steps = 0
        self._lives = 0
        self._held = 0  # Button of the last frame.
        self._done = True
        self._over = True  # The game, not only the episode.

    @functools.cached_property
    def obs_space(self):
        channels = 1 if self._frames.ndim == 3 else 3
        return {
            'image': elements.Space(np.uint8, (*self._size, channels)),
            **base.FLAGS,
        }

    @functools.cached_property
    def act_space(self):
        return {
            'action': elements.Space(np.int32, (), 0, len(self._actions)),
            'reset': elements.Space(bool),
        }

    def step(self, action):
        if action['reset'] or self._done:
            return self._start()
        reward = self._act(self._actions[int(action['action'])])
        self._steps += 1
        lives = self._ale.lives()
        lost, self._lives = lives < self._lives, lives
        self._over = self._ale.game_over()
        terminal = self._over or (lost and self._mode != 'unused')
        self._done = terminal or self._steps >= self._length
        reward = np.sign(reward) if self._clip else reward
        return self._obs(reward, is_last=self._done, is_terminal=terminal)

    def render(self):
        """The screen as it is (210, 160, 3)."""
        return self._ale.getScreenRGB()

    def save(self):
        state = self._ale.cloneState(include_rng=True).serialize()
        return {
            'ale': np.frombuffer(state, np.uint8),
            'rng': self._rng.bit_generator.state,
            'frames': self._frames.copy(),
            **{k: getattr(self, k) for k in STATE},
        }

    def load(self, data):
        import ale_py

        self._ale.restoreState(ale_py.ALEState(np.asarray(data['ale'], np.uint8).tobytes()))
        self._rng.bit_generator.state = data['rng']
        self._frames[:] = data['frames']
        for key in STATE:
            setattr(self, key, data[key])

    def _start(self):
        lost = self._done and not self._over and self._steps < self._length
        if not (self._mode == 'discount' and lost):
            self._restart()
        self._steps = 0
        self._lives = self._ale.lives()
        self._done = self._over = False
        self._grab(self._frames[0])
        self._frames[1:] = self._frames[0]
        return self._obs(0.0, is_first=True)

    def _restart(self):
        self._ale.reset_game()
        self._held = 0
        for _ in range(self._rng.integers(self._noops + 1)):
            self._ale.act(0)
            if self._ale.game_over():
                self._ale.reset_game()
        if self._autostart:
            for button in (1, 2):  # Fire, and up where fire alone does not do it.
                if button in self._needed:
                    self._ale.act(button)

    def _act(self, button):
        """Hold a button for the frames of a step; returns the reward."""
        reward = 0.0
        for left in reversed(range(self._repeat)):
            # The simulator could do this too, but its saved state would leave it out.
            if not self._sticky or self._rng.random() >= self._sticky:
                self._held = button
            reward += self._ale.act(self._held)
            over = self._ale.game_over()
            if over or left < len(self._frames):
                self._frames[1:] = self._frames[:-1]
                self._grab(self._frames[0])
            if over:
                break
        return reward

    def _obs(self, reward, is_first=False, is_last=False, is_terminal=False):
        return {
            'image': self._image(),
            'reward': np.float32(reward),
            'is_first': np.bool_(is_first),
            'is_last': np.bool_(is_last),
            'is_terminal': np.bool_(is_terminal),
        }

    def _image(self):
        from PIL import Image

        frame = self._merge(self._frames, 0).astype(np.uint8)
        if frame.shape[:2] != self._size:
            frame = Image.fromarray(frame).resize(self._size[::-1], self._resample)
        image = np.array(frame)
        return image[:, :, None] if image.ndim == 2 else image


@functools.cache
def _games():
    folder = importlib.util.find_spec('ale_py').submodule_search_locations[0]
    return sorted(x.stem for x in pathlib.Path(folder, 'roms').glob('*.bin'))


def _filter(name):
    from PIL import Image

    filters = {'pillow': Image.Resampling.BILINEAR, 'area': Image.Resampling.BOX}
    if name not in filters:
        raise ValueError(f'env.atari.resize: got {name!r}, allowed are {", ".join(filters)}')
    return filters[name]


def _load(task, seed):
    # Not at the top: a task can be checked without waiting for the package.
    import ale_py
    from ale_py import roms

    ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
    ale = ale_py.ALEInterface()
    ale.setInt('random_seed', seed)
    ale.setFloat('repeat_action_probability', 0.0)
    ale.loadROM(str(roms.get_rom_path(ALIASES.get(task, task))))
    return ale
