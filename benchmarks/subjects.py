"""Agents that benchmarks measure, with data of the right shapes: images or vectors, any size."""

import elements
import measure
import numpy as np

from dreamerv3 import agent
from embodied import config

SCHEMA = config.Schema(measure.ROOT / 'dreamerv3' / 'configs.yaml')
FLAGS = {k: elements.Space(bool) for k in ('is_first', 'is_last', 'is_terminal')}
REWARD = {'reward': elements.Space(np.float32), **FLAGS}
# Observations and actions of Crafter, and of the walker.
SPACES = {
    'image': (
        {'image': elements.Space(np.uint8, (64, 64, 3)), **REWARD},
        {'action': elements.Space(np.int32, (), 0, 17)},
    ),
    'proprio': (
        {'vector': elements.Space(np.float32, (24,)), **REWARD},
        {'action': elements.Space(np.float32, (6,), -1, 1)},
    ),
}


def options(size, flags=()):
    """The config of a size; `flags` are KEY=VALUE."""
    return SCHEMA.resolve([size], dict(x.split('=', 1) for x in flags))


def make(kind, size, flags=()):
    """The agent for `image` or `proprio` and its config."""
    made = options(size, flags)
    return agent.make_agent(*SPACES[kind], made), made


def batch(made, options, seed=0):
    """A batch (B, K + T, ...) as replay gives it, without ends of episodes."""
    shape = (options.batch_size, options.replay_context + options.batch_length)
    model = made.model
    data = draw({**model.obs_space, **model.act_space, **model.entry_space}, shape, seed)
    rng = np.random.default_rng(seed)
    data['consec'] = np.zeros(shape, np.int32)
    data['stepid'] = rng.integers(0, 256, (*shape, 20), np.uint8)
    return data


def observation(made, rows, seed=0):
    """Observations (rows, ...) in the middle of an episode."""
    return draw(made.obs_space, (rows,), seed)


def draw(spaces, shape, seed):
    rng = np.random.default_rng(seed)
    return {k: values(s, (*shape, *s.shape), rng) for k, s in spaces.items()}


def values(space, shape, rng):
    if space.dtype == bool:
        return np.zeros(shape, bool)
    if space.discrete:
        return rng.integers(space.low, space.high, shape, space.dtype)
    return rng.standard_normal(shape).astype(space.dtype)
