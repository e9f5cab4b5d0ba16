"""Runs that come out the same bit by bit: again with the same seed, and stopped and resumed.

The agent here learns from all it is given and acts by what it has learned, so that a single bit
that differs anywhere changes everything after it.
"""

import functools
import json

import elements
import numpy as np
import pytest

from embodied import build
from embodied.core import base, random, selectors, wrappers
from embodied.envs import dummy
from embodied.tests import runs

ENVS = 4
STEPS = 120
# What a machine does, not a run.
MEASURED = ('fps/', 'usage/', 'timer/')


class Learning(base.Agent):
    """Sums up what it trains on, and draws actions from a generator that the sum steers."""

    def __init__(self, act_space, seed):
        self.act_space = {k: v for k, v in act_space.items() if k != 'reset'}
        self.rng = np.random.default_rng(seed)
        self.weights = np.zeros(8)
        self.waiting = ({}, {})

    def init_policy(self, batch_size):
        return np.zeros(batch_size)

    def init_train(self, batch_size):
        return np.zeros(batch_size)

    init_report = init_train

    def policy(self, carry, obs, mode='train'):
        carry = 0.5 * carry + obs['vector'].sum(1)
        skip = int(abs(self.weights.sum() + carry.sum()) * 1e6) % 7
        self.rng.random(skip)
        acts = {k: random.sample(v, len(carry), self.rng) for k, v in self.act_space.items()}
        latent = np.repeat(carry[:, None], 2, 1).astype(np.float32)
        return carry, acts, {'latent': latent}

    def train(self, carry, data):
        seen = [data[k].astype(np.float64) for k in ('vector', 'latent', 'move', 'reward')]
        mean = np.array([x.mean() for x in seen] + [x.std() for x in seen])
        self.weights = 0.9 * self.weights + mean + 0.01 * self.rng.standard_normal(8)
        latent = np.tanh(data['latent'] + self.weights[:2]).astype(np.float32)
        out = {'stepid': data['stepid'], 'latent': latent, 'priority': abs(data['reward'])}
        new = {'replay': out}, {'weight': np.float64(self.weights.sum())}
        late, self.waiting = self.waiting, new
        return carry + mean[0], *late

    def flush(self):
        late, self.waiting = self.waiting, ({}, {})
        return late

    def report(self, carry, data):
        return carry + 1, {'reward': np.float64(data['reward'].mean())}

    def stream(self, source):
        return source

    def save(self):
        return {'rng': self.rng.bit_generator.state, 'weights': self.weights}

    def load(self, data=None, regex=None):
        self.rng.bit_generator.state = data['rng']
        self.weights = data['weights']


class Parts(runs.Parts):
    """Parts of a run with environments of all kinds of spaces."""

    def __init__(self, logdir, seed=0, **changes):
        select = lambda: selectors.Mixture(
            {
                'uniform': selectors.Uniform(seed),
                'priority': selectors.Prioritized(0.8, np.inf, True, 0.5, seed=seed),
                'recency': selectors.Recency(build.recency(60, 1.0), seed),
            },
            {'uniform': 0.4, 'priority': 0.3, 'recency': 0.3},
            seed,
        )
        changes = {'envs': ENVS, 'report_every': -1, **changes}
        super().__init__(logdir, select, capacity=60, priority=True, **changes)
        self.agent = Learning(dummy.ACTIONS['hybrid'], seed)
        # A lambda travels by value, so that no process imports what only this one needs.
        self.make_env = lambda index: wrappers.wrap(
            dummy.Dummy('hybrid', (4, 4), length=5 + index, seed=[seed, index])
        )


def outcome(parts):
    """All that a run has learned and would draw next."""
    batches = [parts.replay.sample(3, 'train') for _ in range(3)]
    actions = parts.agent.policy(np.ones(2), {'vector': np.ones((2, 7), np.float32)})
    batches = [
        {k: v for k, v in x.items() if k != 'stepid'} for x in batches
    ]  # They hold the time.
    return parts.agent.weights, batches, actions


def same(left, right):
    left, right = (elements.tree.flatten(x)[0] for x in (left, right))
    return len(left) == len(right) and all(map(np.array_equal, left, right))


def rows(logdir, name='metrics.jsonl'):
    table = [json.loads(x) for x in (logdir / name).read_text().splitlines()]
    return [{k: v for k, v in row.items() if not k.startswith(MEASURED)} for row in table]


@pytest.fixture(scope='module', params=[False, True], ids=['here', 'processes'])
def straight(request, tmp_path_factory):
    """Makes parts in a folder, where environments live as in the parts of a straight run."""
    folder = tmp_path_factory.mktemp('straight')
    make = functools.partial(Parts, parallel_envs=request.param)
    parts = make(folder, steps=STEPS).train()
    return make, folder, outcome(parts)


def test_same_seed(straight, tmp_path):
    make, folder, result = straight
    again = make(tmp_path / 'again', steps=STEPS).train()
    assert same(outcome(again), result)
    assert rows(again.logdir) == rows(folder)
    assert sum('train/weight' in x for x in rows(folder)) > 20
    assert np.abs(result[0]).min() > 0


def test_stopped_and_resumed(straight, tmp_path):
    make, folder, result = straight
    for steps in (52, STEPS):
        resumed = make(tmp_path / 'run', steps=steps).train()
    assert same(outcome(resumed), result)
    assert rows(resumed.logdir, 'scores.jsonl') == rows(folder, 'scores.jsonl')


def test_other_environments_and_other_seeds(straight, tmp_path):
    _, _, result = straight
    local = Parts(tmp_path / 'local', steps=STEPS, parallel_envs=False).train()
    assert same(outcome(local), result)
    other = Parts(tmp_path / 'other', seed=1, steps=STEPS).train()
    assert not same(outcome(other), result)
