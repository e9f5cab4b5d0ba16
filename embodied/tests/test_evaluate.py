"""Evaluation: how many episodes of which environment, and what is told of them."""

import functools
import json

import numpy as np
import pytest

from embodied.core.workers import worker
from embodied.run import evaluate
from embodied.tests import fakes, runs


class Envs:
    """Environments with episodes of 2, 3, 4, ... steps, and so many points and observations."""

    def __init__(self, amount, kind=fakes.Count):
        self.made = [kind(length=2 + i) for i in range(amount)]
        self.fns = [functools.partial(lambda env: env, env) for env in self.made]


@pytest.mark.parametrize(
    'amount, envs, shares', [(1, 3, [1]), (3, 3, [1, 1, 1]), (7, 3, [3, 2, 2]), (4, 1, [4])]
)
def test_every_environment_has_its_share(amount, envs, shares):
    agent, given = runs.CountAgent(), Envs(envs)
    told = []
    results = evaluate.evaluate(
        agent, given.fns, amount, False, lambda results: told.append(len(results))
    )
    # The first `length` observations are numbered 0, 1, ... and the number is the reward.
    lengths = [2 + i for i, share in enumerate(shares) for _ in range(share)]
    assert sorted(x['length'] for x in results) == sorted(n + 1 for n in lengths)
    assert sorted(x['score'] for x in results) == sorted(n * (n + 1) / 2 for n in lengths)
    assert told == list(range(1, amount + 1))
    assert set(agent.modes) == {'eval'}
    assert agent.synced == 1
    used = given.made[: len(shares)]
    assert all(env.closed == 1 for env in used)
    assert not any(env.count for env in given.made[len(shares) :])


def test_in_processes():
    fns = [functools.partial(fakes.Count, length=3)] * 2
    results = evaluate.evaluate(runs.CountAgent(), fns, 3)
    assert results == [{'score': 6.0, 'length': 4}] * 3


def test_stop_ends_early():
    stop, given = [], Envs(2)
    results = evaluate.evaluate(
        runs.CountAgent(), given.fns, 10, False, lambda results: stop.append(1), stop
    )
    assert len(results) == 1
    assert all(env.closed == 1 for env in given.made)


def test_environments_are_closed_after_an_error():
    class Bad(fakes.Count):
        def step(self, action):
            raise KeyError('broken')

    given = Envs(2, Bad)
    with pytest.raises(worker.EnvError, match='broken'):
        evaluate.evaluate(runs.CountAgent(), given.fns, 2, False)
    assert all(env.closed == 1 for env in given.made)


def test_summary_and_file(tmp_path):
    results = [{'score': float(x), 'length': n} for x, n in ((1, 10), (3, 20), (8, 30))]
    stats = evaluate.summary(results)
    assert stats == {
        'episodes': 3,
        'score_mean': 4.0,
        'score_std': pytest.approx(np.std([1, 3, 8])),
        'score_min': 1.0,
        'score_max': 8.0,
        'length_mean': 20.0,
        'length_std': pytest.approx(np.std([10, 20, 30])),
        'length_min': 10.0,
        'length_max': 30.0,
    }
    assert evaluate.describe(stats) == (
        '3 evaluation episodes: score 4 +- 2.94 (1 to 8), mean length 20'
    )
    evaluate.write(tmp_path / 'eval.json', 70, stats, results)
    assert json.loads((tmp_path / 'eval.json').read_text()) == {
        'step': 70,
        **stats,
        'results': results,
    }


def test_success_rate():
    results = [{'score': 1.0, 'length': 2, 'success': x} for x in (1.0, 0.0, 0.0, 1.0)]
    stats = evaluate.summary(results)
    assert stats['success_rate'] == 0.5
    assert evaluate.describe(stats).endswith(', success 50%')


def test_environments_serve_several_evaluations():
    given, agent, seen = Envs(2), runs.CountAgent(), []
    evaluator = evaluate.Evaluator(agent, given.fns, False)
    evaluator.on_step(lambda tran, worker: seen.append((worker, int(tran['step']))))
    for amount in (3, 1):
        seen.clear()
        results = evaluator(amount)
        # Worker 0 plays twice and worker 1 once, then worker 0 once: whole episodes, no others.
        steps = {0: [0, 1, 2] * (amount // 2 + amount % 2), 1: [0, 1, 2, 3] * (amount // 2)}
        assert {k: [s for w, s in seen if w == k] for k in (0, 1)} == steps
        assert len(results) == amount
        stats = evaluator.stats()
        assert stats['log/half/max'] > 0 and 'abandoned' not in stats
        assert stats['policy_image'].shape == (3, 4, 6, 3)
    assert not any(env.closed for env in given.made)
    evaluator.close()
    assert all(env.closed == 1 for env in given.made)
    # Acting goes on with the parameters it had.
    assert agent.synced == 0
