"""Crafter: survival in a generated world seen from above. Package `crafter`."""

import concurrent.futures
import json
import pathlib

import elements
import numpy as np

from ..core import base

TASKS = ('reward', 'noreward')
AHEAD = 30  # Step of an episode at which the next world is begun; short ones make none for nothing.


def check(task: str) -> None:
    """Raises a ValueError for a task that does not exist."""
    if task not in TASKS:
        raise ValueError(f'task: unknown crafter task {task!r}, allowed are {", ".join(TASKS)}')


def score(rates) -> float:
    """The Crafter score in percent: geometric mean of the success rates (22,), from 0 to 1."""
    return float(np.expm1(np.log1p(100 * np.asarray(rates, float)).mean()))


class Crafter(base.Env):
    """Images of the world, 17 actions, and 22 achievements that are worth 1 the first time.

    Death is terminal, the end of the day count (10,000 steps) is not. A world takes longer to make
    than hundreds of steps, so the next one is made while this one is played.

    Arguments:
        task: `reward`, or `noreward` for a reward that is always 0.
        size: height and width of the image.
        logs: adds `log/achievement_<name>`, how often each was unlocked in the episode so far, and
            `log/crafter_score`, that of all episodes that ended since this object was made.
        logdir: a folder for `stats_<seed>.jsonl`, with length, reward and achievements of each
            finished episode, in the format of the package's own recorder.
        seed: the same seed and actions give the same episodes.
    """

    def __init__(self, task, size=(64, 64), logs=False, logdir=None, seed=None):
        check(task)
        self._size = tuple(size)
        if seed is None:
            seed = int(np.random.default_rng().integers(2**31))
        self._env, self._spare = (_make(self._size, task == 'reward', seed) for _ in range(2))
        self._worlds = concurrent.futures.ThreadPoolExecutor(1)
        self._next = None  # Promise of the first image of the spare environment.
        self._made = 0  # Worlds so far.
        self._logs = logs
        self._stats = None
        if logdir:
            name = f'stats_{seed}.jsonl'
            self._stats = pathlib.Path(logdir).expanduser() / name
            self._stats.parent.mkdir(parents=True, exist_ok=True)
        self._achievements = self._names()
        self._unlocked = np.zeros(len(self._achievements))  # Episodes with each.
        self._episodes = 0
        self._done = True
        self._length = 0
        self._score = 0.0

    @property
    def obs_space(self):
        spaces = {
            'image': elements.Space(np.uint8, (*self._size, 3)),
            **base.FLAGS,
        }
        if self._logs:
            counts = {f'log/achievement_{k}': elements.Space(np.int32) for k in self._achievements}
            spaces.update(counts)
            spaces['log/crafter_score'] = elements.Space(np.float32)
        return spaces

    @property
    def act_space(self):
        return {
            'action': elements.Space(np.int32, (), 0, len(self._env.action_names)),
            'reset': elements.Space(bool),
        }

    def step(self, action):
        if action['reset'] or self._done:
            self._done = False
            self._length = 0
            self._score = 0.0
            return self._obs(self._begin(), 0.0, {}, is_first=True)
        image, reward, self._done, info = self._env.step(int(action['action']))
        self._length += 1
        if self._length == AHEAD:
            self._next = self._worlds.submit(self._prepare)
        self._score += info['reward']
        if self._done:
            self._episodes += 1
            self._unlocked += [info['achievements'][k] > 0 for k in self._achievements]
        if self._done and self._stats:
            self._write(info['achievements'])
        return self._obs(
            image,
            reward,
            info['achievements'],
            is_last=self._done,
            is_terminal=info['discount'] == 0,
        )

    def render(self):
        """The current image (H, W, 3)."""
        return self._env.render()

    def close(self):
        self._worlds.shutdown()

    def _begin(self):
        """Go to the next world, which is made now if it is not yet; returns the first image."""
        image = self._next.result() if self._next else self._prepare()
        self._env, self._spare = self._spare, self._env
        self._next = None
        return image

    def _prepare(self):
        self._spare._episode = self._made  # Which decides the world, together with the seed.
        self._made += 1
        return self._spare.reset()

    def _obs(self, image, reward, counts, is_first=False, is_last=False, is_terminal=False):
        obs = {
            'image': image,
            'reward': np.float32(reward),
            'is_first': np.bool_(is_first),
            'is_last': np.bool_(is_last),
            'is_terminal': np.bool_(is_terminal),
        }
        if self._logs:
            for key in self._achievements:
                obs[f'log/achievement_{key}'] = np.int32(counts.get(key, 0))
            rates = self._unlocked / max(self._episodes, 1)
            obs['log/crafter_score'] = np.float32(score(rates))
        return obs

    def _write(self, achievements):
        counts = {f'achievement_{k}': int(v) for k, v in achievements.items()}
        stats = {'length': self._length, 'reward': round(float(self._score), 1), **counts}
        with self._stats.open('a') as f:
            f.write(json.dumps(stats) + '\n')

    def _names(self):
        import crafter

        return list(crafter.constants.achievements)


def _make(size, reward, seed):
    # Not at the top: a task can be checked without waiting for the package.
    import crafter

    class Env(crafter.Env):
        def _balance_chunk(self, chunk, objs):
            # The package draws from a set, whose order depends on where objects are in memory. In
            # the order of their creation the same seed gives the same episode.
            order = {id(obj): i for i, obj in enumerate(self._world._objects)}
            super()._balance_chunk(chunk, sorted(objs, key=lambda obj: order[id(obj)]))

    return Env(size=size[::-1], reward=reward, seed=seed)  # The package counts width first.
