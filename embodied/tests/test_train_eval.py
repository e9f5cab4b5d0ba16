"""Training with evaluations: these change nothing of it, and their steps are held out."""

import itertools
import json
import shutil
import signal

import numpy as np
import pytest

from embodied.core import clock
from embodied.run import evaluate
from embodied.tests import fakes, runs


def rows(logdir, name='metrics.jsonl'):
    return [json.loads(line) for line in (logdir / name).read_text().splitlines()]


def column(logdir, key, name='metrics.jsonl'):
    return {row['step']: row[key] for row in rows(logdir, name) if key in row}


def counts(replay):
    """Counts of all stored steps by environment."""
    seen = {}
    for chunk in replay.chunks.values():
        for count in chunk.columns['count'][: chunk.length].tolist() if chunk.length else []:
            seen.setdefault(count // 10_000, []).append(count % 10_000)
    return {k: sorted(v) for k, v in seen.items()}


def parts(folder, **changes):
    return runs.Parts(folder, **{'eval_every': -1, 'eval_eps': 3, 'steps': 40, **changes})


def test_steps_of_training_and_evaluation_stay_apart(tmp_path):
    made = parts(tmp_path).train_eval()
    assert counts(made.replay) == {i: list(range(1, 21)) for i in range(2)}
    # Two episodes of six steps by the first environment and one of seven by the second, 20 times.
    # What the second does beyond its share is left out.
    stored = counts(made.held_out)
    assert stored[0] == list(range(1, 20 * 12 + 1)) and len(stored[1]) == 20 * 7
    assert sorted(made.envs) == [0, 1, evaluate.EVAL_INDEX, evaluate.EVAL_INDEX + 1]
    assert all(env.closed for env in made.envs.values())
    seen = {x for batch in made.agent.batches for x in batch['step'].reshape(-1).tolist()}
    assert seen == set(range(7))
    assert set(made.agent.modes) == {'train', 'eval'}
    assert made.agent.synced == 0


@pytest.mark.parametrize('eps, envs, made', [(1, 4, 1), (3, 2, 2), (2, 2, 2)])
def test_environments_are_no_more_than_episodes(tmp_path, eps, envs, made):
    run = parts(tmp_path, eval_eps=eps, eval_envs=envs, steps=4).train_eval()
    assert len([x for x in run.envs if x >= evaluate.EVAL_INDEX]) == made


def test_training_is_the_same_with_and_without(tmp_path):
    with_evals = parts(tmp_path / 'a').train_eval()
    without = runs.Parts(tmp_path / 'b', steps=40).train()
    assert len(with_evals.agent.batches) == len(without.agent.batches) > 5
    for left, right in zip(with_evals.agent.batches, without.agent.batches, strict=True):
        for key in left.keys() - {'stepid'}:
            np.testing.assert_array_equal(left[key], right[key], key)
    scores = [rows(tmp_path / x, 'scores.jsonl') for x in 'ab']
    assert scores[0] == scores[1]


def test_what_is_logged(tmp_path):
    parts(tmp_path, report_every=-1, timer=True).train_eval()
    evals = column(tmp_path, 'eval/score_mean')
    assert list(evals) == list(range(2, 41, 2))
    # The rewards 0 to 5 twice, and 0 to 6.
    assert set(evals.values()) == {17.0}
    assert column(tmp_path, 'eval_episode/score') == evals
    assert set(column(tmp_path, 'eval_episode/length').values()) == {(6 + 6 + 7) / 3}
    assert rows(tmp_path, 'eval_scores.jsonl') == [
        {'step': k, 'eval_episode/score': v} for k, v in evals.items()
    ]
    keys = {k for row in rows(tmp_path) for k in row}
    assert {'eval_report/loss', 'report/loss', 'eval_epstats/log/half/max'} <= keys
    assert 'timer/evaluation/frac' in keys
    reports = list(column(tmp_path, 'eval_report/loss'))
    assert len(reports) > len(column(tmp_path, 'report/loss')) > 5
    content = json.loads((tmp_path / 'eval.json').read_text())
    assert content['step'] == 40 and len(content['results']) == 3
    for name in ('metrics.jsonl', 'scores.jsonl', 'eval_scores.jsonl'):
        steps = [row['step'] for row in rows(tmp_path, name)]
        assert all(a < b for a, b in itertools.pairwise(steps))


def test_reports_are_on_what_was_held_out(tmp_path):
    made = parts(tmp_path, report_every=-1)
    reported, report = [], made.agent.report
    made.agent.report = lambda carry, data: (
        reported.append(data['step'].max()) or report(carry, data)
    )
    # Only the held-out episodes have so many steps.
    made.make_env_eval = lambda index: fakes.Count(length=30)
    made.train_eval()
    assert {x > 6 for x in reported} == {True, False}


@pytest.mark.parametrize('every, evals', [(0, 0), (1e9, 0), (-1, 20)])
def test_intervals(tmp_path, every, evals):
    made = parts(tmp_path, eval_every=every).train_eval()
    assert made.agent.modes.count('train') == 20
    names = [x for x in tmp_path.iterdir() if x.name == 'eval_scores.jsonl']
    assert len(rows(tmp_path, 'eval_scores.jsonl') if names else []) == evals


def test_resume(tmp_path):
    first = parts(tmp_path, steps=20).train_eval()
    size = len(first.held_out)
    shutil.copytree(tmp_path / 'ckpt', tmp_path / 'kept')
    parts(tmp_path, steps=30).train_eval()
    shutil.rmtree(tmp_path / 'ckpt')
    (tmp_path / 'kept').rename(tmp_path / 'ckpt')
    # As if it was killed after step 20: what came after that comes again.
    made = parts(tmp_path, steps=40, eval_every=0, report_every=-1).train_eval()
    assert len(made.held_out) == size > 0
    assert column(tmp_path, 'eval_report/loss')[40]
    assert list(column(tmp_path, 'eval_episode/score', 'eval_scores.jsonl')) == [*range(2, 21, 2)]
    parts(tmp_path, steps=60).train_eval()
    steps = list(column(tmp_path, 'eval_episode/score', 'eval_scores.jsonl'))
    assert steps == [*range(2, 21, 2), *range(42, 61, 2)]


def test_clock_of_evaluations_goes_on(tmp_path, monkeypatch):
    """A run that is stopped more often than it evaluates gets there too."""
    now = [0.0]

    class Clock(clock.LocalClock):
        def __init__(self, every):
            super().__init__(every, now=lambda: now[0])

    monkeypatch.setattr(clock, 'LocalClock', Clock)
    for steps in (20, 40, 60):
        made = parts(tmp_path, eval_every=25, steps=steps)
        made.agent.on_action = lambda count: now.__setitem__(0, now[0] + 1)
        made.train_eval()
    # Each start has ten turns, and the one in which the clock begins to run does not count.
    assert list(column(tmp_path, 'eval_episode/score')) == [52]


def test_change_between_scripts(tmp_path, capsys):
    runs.Parts(tmp_path, steps=20).train()
    made = parts(tmp_path, steps=40).train_eval()
    assert 'has no eval_replay, evaluation: new ones are used' in capsys.readouterr().out
    assert len(made.held_out) > 0
    again = runs.Parts(tmp_path, steps=60).train()
    assert again.agent.counters['actions'] > 30
    assert list(column(tmp_path, 'eval/score_mean')) == list(range(22, 41, 2))


@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM'])
def test_signal_during_an_evaluation_ends_it_and_saves(tmp_path, name):
    made = parts(tmp_path, eval_eps=1000, final_eval_eps=5)
    number = getattr(signal, name)
    # The first action is one of training, the others are of the first evaluation.
    made.agent.on_action = lambda count: count == 12 and signal.raise_signal(number)
    made.train_eval()
    assert made.agent.modes == ['train'] + 11 * ['eval']
    # What a part of the episodes has scored would not be fair.
    assert not column(tmp_path, 'eval/score_mean') and not (tmp_path / 'eval.json').exists()
    again = parts(tmp_path, steps=20).train_eval()
    assert counts(again.replay)[0][:2] == [1, 2]
    assert again.agent.modes.count('train') == 9


def test_duration_ends_an_evaluation(tmp_path):
    made = parts(tmp_path, steps=10**9, eval_eps=10**9, duration=0.05).train_eval()
    assert made.agent.modes.count('train') == 1
    assert (tmp_path / 'ckpt').is_dir()


def test_final_evaluation(tmp_path):
    made = parts(tmp_path, steps=20, eval_every=0, final_eval_eps=5).train_eval()
    content = json.loads((tmp_path / 'eval.json').read_text())
    assert content['step'] == 20 and len(content['results']) == 5
    assert len(made.held_out) == 0
    assert all(env.closed for env in made.envs.values())
    assert made.agent.synced == 1


def test_failure_of_an_evaluation_environment_closes_all(tmp_path):
    made = parts(tmp_path)

    def fail(index):
        raise KeyError('no such world')

    made.make_env_eval = fail
    with pytest.raises(RuntimeError, match='no such world'):
        made.train_eval()
    assert made.agent.closed == 1
    assert all(env.closed for env in made.envs.values())


def test_full_disk_does_not_end_the_run(tmp_path, monkeypatch, capsys):
    def fail(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(evaluate, 'write', fail)
    made = parts(tmp_path, steps=6).train_eval()
    assert made.agent.modes.count('train') == 3
    assert capsys.readouterr().out.count('Could not write the results of an evaluation') == 3
