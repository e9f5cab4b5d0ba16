"""An agent that acts at random and learns nothing: a baseline, and a test of everything else."""

import numpy as np

from . import base


class RandomAgent(base.Agent):
    """Draws every action uniformly from its space.

    Where a dimension has an infinite bound, it is drawn from a normal distribution, folded at the
    other bound if that one is finite. Equal seeds give equal actions.
    """

    def __init__(self, obs_space: dict, act_space: dict, seed: int = 0):
        self.obs_space = obs_space
        self.act_space = {k: v for k, v in act_space.items() if k != 'reset'}
        self._rng = np.random.default_rng(seed)

    def init_policy(self, batch_size):
        return ()

    def init_train(self, batch_size):
        return ()

    def init_report(self, batch_size):
        return ()

    def policy(self, carry, obs, mode='train'):
        batch_size = len(obs['is_first'])
        acts = {k: self._sample(v, batch_size) for k, v in self.act_space.items()}
        return carry, acts, {}

    def train(self, carry, data):
        return carry, {}, {}

    def report(self, carry, data):
        return carry, {}

    def stream(self, source):
        return source

    def save(self):
        return {'rng': self._rng.bit_generator.state}

    def load(self, data=None, regex=None):
        """Take over the random state of `save`; there are no parameters for `regex` to choose."""
        if data is not None:
            self._rng.bit_generator.state = data['rng']

    def _sample(self, space, batch_size):
        shape = (batch_size, *space.shape)
        if space.dtype == bool:
            return self._rng.integers(0, 2, shape).astype(bool)
        if space.discrete:
            return self._rng.integers(space.low, space.high, shape, space.dtype)
        lower, upper = np.isfinite(space.low), np.isfinite(space.high)
        low, high = np.where(lower, space.low, 0), np.where(upper, space.high, 0)
        share = self._rng.random(shape)
        normal = self._rng.standard_normal(shape)
        value = np.where(
            lower, low + np.abs(normal), np.where(upper, high - np.abs(normal), normal)
        )
        value = np.where(lower & upper, low * (1 - share) + high * share, value)
        return value.astype(space.dtype)
