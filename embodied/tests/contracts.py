"""What every implementation of a contract has to pass. A new one joins by a line in its test."""

import gc
import json
import os
import pathlib
import threading

import numpy as np

from ..core import random, wrappers

FLAGS = {'reward': np.float32, 'is_first': bool, 'is_last': bool, 'is_terminal': bool}


def check_env(env, steps=200, seed=0):
    """Random episodes with resets at their end and in their middle; closes the environment."""
    _check_spaces(env)
    agent = random.RandomAgent(env.obs_space, env.act_space, seed)
    rng = np.random.default_rng(seed)
    checked = wrappers.CheckSpaces(env)  # Keys, dtypes, shapes, ranges, NaN and infinity.
    reset, firsts = True, 0
    for _ in range(steps):
        obs = checked.step(act(agent, reset))
        assert bool(obs['is_first']) == reset
        if reset:
            assert obs['reward'] == 0
            assert not obs['is_last']
            firsts += 1
        reset = bool(obs['is_last'] or rng.random() < 0.05)
    assert firsts > 1, 'No second episode was seen.'
    if hasattr(env, 'save'):
        _check_state(env, agent)
    env.close()
    env.close()


def act(agent, reset=False):
    """One random action without the batch axis."""
    _, acts, _ = agent.policy((), {'is_first': np.zeros(1, bool)})
    return {**{k: v[0] for k, v in acts.items()}, 'reset': np.bool_(reset)}


def tolist(data):
    """Nested state with arrays as lists, to compare and to write as JSON."""
    if isinstance(data, dict):
        return {k: tolist(v) for k, v in data.items()}
    if isinstance(data, list):
        return [tolist(x) for x in data]
    return data.tolist() if isinstance(data, np.ndarray | np.generic) else data


def assert_same(left, right):
    """Observations or transitions are equal to the bit, dtypes included."""
    assert left.keys() == right.keys()
    for key in left:
        a, b = np.asarray(left[key]), np.asarray(right[key])
        assert a.dtype == b.dtype, key
        np.testing.assert_array_equal(a, b, key)


def _check_spaces(env):
    obs_space, act_space = env.obs_space, env.act_space
    for key, dtype in FLAGS.items():
        assert obs_space[key].dtype == dtype and obs_space[key].shape == (), key
    assert act_space['reset'].dtype == bool and act_space['reset'].shape == ()
    assert len(act_space) > 1, 'There is nothing to do.'
    for key in [*obs_space, *act_space]:
        name = key.removeprefix('log/')
        assert name.replace('_', '').replace('/', '').isalnum(), key
    # Asked again, they are the same.
    for before, after in ((obs_space, env.obs_space), (act_space, env.act_space)):
        assert list(before) == list(after)
        assert all(before[k].shape == after[k].shape for k in before)


def _check_state(env, agent):
    """What follows a load is what followed the save, in the middle of an episode and at a reset."""
    env.step(act(agent, reset=True))
    env.step(act(agent))
    state = env.save()
    json.dumps(tolist(state))
    actions = [act(agent, reset=i == 3) for i in range(8)]
    first = [env.step(x) for x in actions]
    env.load(state)
    for want, action in zip(first, actions, strict=True):
        assert_same(want, env.step(action))


def check_seed(make, steps=20):
    """Of `make(seed)`: the same seed and actions give the same episodes, another one does not."""
    one, two, other = (_rollout(make(seed), steps) for seed in (1, 1, 2))
    for a, b in zip(one, two, strict=True):
        assert_same(a, b)
    assert any((a[k] != b[k]).any() for a, b in zip(one, other, strict=True) for k in a)


def check_close(make):
    """An environment of `make(seed)` leaves no thread, process or open file behind."""
    _rollout(make(0), 3)  # What is kept for all environments to come.
    before = _open()
    _rollout(make(0), 3)
    assert _open() == before


def _rollout(env, steps):
    """Observations of random actions in episodes one after another; closes the environment."""
    agent = random.RandomAgent(env.obs_space, env.act_space, seed=0)
    obs = [env.step(act(agent, reset=True))]
    for _ in range(steps - 1):
        obs.append(env.step(act(agent, obs[-1]['is_last'])))
    obs = [{k: np.array(v) for k, v in x.items()} for x in obs]
    env.close()
    return obs


def _open():
    gc.collect()
    children = pathlib.Path(f'/proc/self/task/{os.getpid()}/children').read_text().split()
    return threading.active_count(), len(os.listdir('/proc/self/fd')), len(children)
