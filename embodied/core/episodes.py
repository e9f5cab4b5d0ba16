"""Statistics of episodes, from the transitions that a driver hands out."""

import collections
from collections.abc import Callable

import numpy as np

SUCCESS = 'log/success'


class Episodes:
    """A tracker that eats transitions and tells what the episodes were like.

        episodes = Episodes(on_end=lambda result, worker: logger.add(result, prefix='episode'))
        driver.on_step(episodes)
        ...
        logger.add(episodes.result(), prefix='epstats')

    Arguments:
        on_end: called as `on_end({'score': float, 'length': int}, worker)` when an episode ends.
            The score is the sum of rewards. The length counts all transitions of the episode, the
            one of the reset included, so it is the number of actions taken plus one. Where the
            environment logs `log/success`, `success` is 1.0 if that was ever above 0, else 0.0.
        frames: a video holds this many frames at most, the last ones of the episode.

    What it holds is bounded, also for episodes that never end. Transitions of a worker before its
    first `is_first` belong to an episode whose start is unknown and are left out.
    """

    def __init__(self, on_end: Callable | None = None, frames: int = 500):
        self._on_end = on_end
        self._frames = frames
        self._open = {}  # Worker to its running episode.
        self._totals = collections.defaultdict(float)
        self._counts = collections.Counter()
        self._videos = {}
        self._abandoned = 0

    def __call__(self, tran: dict, worker: int = 0) -> None:
        """Take in the transition of one environment step."""
        if tran['is_first']:
            self._abandoned += worker in self._open
            self._open[worker] = _Episode(self._frames if worker == 0 else 0)
        episode = self._open.get(worker)
        if episode is None:
            return
        episode.add(tran)
        if tran['is_last']:
            del self._open[worker]
            self._finish(episode, worker)

    def result(self) -> dict:
        """Statistics of the episodes that ended since the last call, which starts anew.

        Averages over episodes of: `log/<name>/avg`, `/max` and `/sum` within an episode for each
        scalar `log/<name>`, `/any`, whether it was ever above 0, so that its average is a success
        rate, and `reward_rate`, the share of steps at which the reward changes. A
        video `policy_<name>` (T, H, W, C) of the last episode of worker 0 for each image. The
        number of episodes `abandoned` without an end, by a restart or a reset, if there were any.
        """
        result = {k: total / self._counts[k] for k, total in self._totals.items()}
        result.update({k: np.stack(frames) for k, frames in self._videos.items()})
        if self._abandoned:
            result['abandoned'] = self._abandoned
        self._totals.clear()
        self._counts.clear()
        self._videos = {}
        self._abandoned = 0
        return result

    def save(self) -> dict:
        """Sums of the episodes that run, without their images."""
        return {'open': {k: v.save() for k, v in self._open.items()}}

    def load(self, data: dict) -> None:
        """Go on with the episodes of `save`."""
        self._open = {k: _Episode(self._frames if k == 0 else 0) for k in data['open']}
        for worker, episode in self._open.items():
            episode.load(data['open'][worker])

    def _finish(self, episode, worker):
        for key, value in episode.stats().items():
            self._totals[key] += value
            self._counts[key] += 1
        if episode.videos:
            self._videos = episode.videos
        if self._on_end:
            self._on_end(episode.result(), worker)


class _Episode:
    """Running sums of one episode, and its last images."""

    def __init__(self, frames):
        self.score = 0.0
        self.length = 0
        self.videos = {}
        self._frames = frames
        self._reward = None
        self._changes = 0
        self._logs = {}  # Name to [sum, max].

    def add(self, tran):
        reward = float(tran['reward'])
        self.score += reward
        self.length += 1
        if self._reward is not None:
            self._changes += abs(reward - self._reward) >= 0.01
        self._reward = reward
        for key, value in tran.items():
            if value.ndim == 3 and value.dtype == np.uint8:
                if self._frames:
                    self._add_frame(f'policy_{key.replace("/", "_")}', value)
            elif value.ndim == 0 and key.startswith('log/'):
                self._add_log(key, float(value))

    def result(self):
        result = {'score': float(self.score), 'length': self.length}
        if SUCCESS in self._logs:
            result['success'] = float(self._logs[SUCCESS][1] > 0)
        return result

    def stats(self):
        stats = {}
        for key, (total, high) in self._logs.items():
            stats[f'{key}/avg'] = total / self.length
            stats[f'{key}/max'] = high
            stats[f'{key}/sum'] = total
            stats[f'{key}/any'] = float(high > 0)
        if self.length > 1:
            stats['reward_rate'] = self._changes / (self.length - 1)
        return stats

    def save(self):
        sums = {'score': self.score, 'length': self.length, 'logs': self._logs}
        return {**sums, 'reward': self._reward, 'changes': int(self._changes)}

    def load(self, data):
        self.score, self.length, self._logs = data['score'], data['length'], data['logs']
        self._reward, self._changes = data['reward'], data['changes']

    def _add_log(self, key, value):
        total, high = self._logs.get(key, (0.0, -np.inf))
        self._logs[key] = (total + value, max(high, value))

    def _add_frame(self, key, image):
        if key not in self.videos:
            self.videos[key] = collections.deque(maxlen=self._frames)
        # A copy, as the image is part of the batch of all workers, which it would keep alive.
        self.videos[key].append(image.copy())
