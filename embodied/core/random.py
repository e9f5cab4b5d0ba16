"""An agent that acts at random and learns nothing: a baseline, and a test of everything else."""

import numpy as np

from . import base, masks

MODES = ('train', 'eval')


class RandomAgent(base.Agent):
    """Draws every action uniformly from its space.

    Where a dimension has an infinite bound, it is drawn from a normal distribution, folded at the
    other bound if that one is finite. Of discrete actions only what masks allow is drawn. Equal
    seeds give equal actions, and those of training do not depend on evaluations.
    """

    def __init__(self, obs_space: dict, act_space: dict, seed: int = 0):
        self.obs_space = obs_space
        self.act_space = {k: v for k, v in act_space.items() if k != 'reset'}
        self._rngs = {x: np.random.default_rng([seed, i]) for i, x in enumerate(MODES)}

    def init_policy(self, batch_size):
        return ()

    def init_train(self, batch_size):
        return ()

    def init_report(self, batch_size):
        return ()

    def policy(self, carry, obs, mode='train'):
        batch_size = len(obs['is_first'])
        rng = self._rngs[mode]
        given = masks.of(obs)
        acts = {
            k: masks.sample(v, given[k], rng) if k in given else sample(v, batch_size, rng)
            for k, v in self.act_space.items()
        }
        return carry, acts, {}

    def act(self, obs: dict | None = None) -> dict:
        """An action for one environment, after an observation if there is one."""
        obs = {'is_first': np.bool_(True)} if obs is None else obs
        _, acts, _ = self.policy((), {k: np.asarray(v)[None] for k, v in obs.items()})
        return {k: v[0] for k, v in acts.items()}

    def train(self, carry, *batches):
        return carry, {}, {}

    def report(self, carry, data):
        return carry, {}

    def stream(self, source):
        return source

    def save(self):
        return {k: v.bit_generator.state for k, v in self._rngs.items()}

    def load(self, data=None, regex=None):
        """Take over the random states of `save`. With `regex` nothing: there are no parameters."""
        if data is not None and regex is None:
            for mode, rng in self._rngs.items():
                rng.bit_generator.state = data[mode]


def sample(space, batch_size: int, rng) -> np.ndarray:
    """Random values (batch_size, ...) of a space."""
    shape = (batch_size, *space.shape)
    if space.dtype == bool:
        return rng.integers(0, 2, shape).astype(bool)
    if space.discrete:
        return rng.integers(space.low, space.high, shape, space.dtype)
    lower, upper = np.isfinite(space.low), np.isfinite(space.high)
    low, high = np.where(lower, space.low, 0), np.where(upper, space.high, 0)
    share = rng.random(shape)
    normal = rng.standard_normal(shape)
    value = np.where(lower, low + np.abs(normal), np.where(upper, high - np.abs(normal), normal))
    value = np.where(lower & upper, low * (1 - share) + high * share, value)
    return value.astype(space.dtype)
