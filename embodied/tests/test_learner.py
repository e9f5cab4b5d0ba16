"""The learner: how often it updates, with what, and where the results go."""

import math
from fractions import Fraction

import numpy as np
import pytest

from embodied.core import replay
from embodied.run import learner
from embodied.tests import runs


def make(tmp_path, **changes):
    """Learner, and a function that adds one step of the only worker."""
    parts = runs.Parts(tmp_path, **changes)
    made = replay.Replay(
        parts.args.consec_train * parts.args.batch_length + parts.args.replay_context,
        directory=tmp_path / 'replay',
        chunksize=16,
    )

    def add(t):
        made.add({'count': np.int32(t), 'latent': np.full(2, -1, np.float32)})

    return learner.Learner(parts.agent, made, parts.make_stream, parts.args), add


def drive(made, add, start, stop):
    """Number of updates after each step."""
    counts = []
    for t in range(start, stop):
        add(t)
        made.update(t)
        counts.append(made.updates)
    return counts


# The eleventh step completes the eighth window of five steps, so a batch of 2 x 4 is there.
FIRST = 12


def check_updates(counts, ratio):
    """One update at the first chance, then a share of each step, whatever the steps before."""
    for t, count in enumerate(counts, 1):
        due = (t - FIRST) * Fraction(ratio) / 8
        want = 1 + math.floor(due) if t >= FIRST and ratio else 0
        # Where a whole number is reached, rounding may delay it by a step.
        assert count == want or (due.denominator == 1 and count == want - 1), (t, count, want)


@pytest.mark.parametrize('ratio', [0.0, 0.25, 1.0, 4.0, 7.5, 8.0, 9.0, 64.0])
def test_updates_follow_the_ratio(tmp_path, ratio):
    made, add = make(tmp_path, train_ratio=ratio)
    check_updates(drive(made, add, 1, 300), ratio)
    assert len(made.agent.batches) == made.updates == made.agent.counters['updates']


@pytest.mark.parametrize('stop', [5, 12, 13, 31, 47])
@pytest.mark.parametrize('ratio', [0.0, 3.0, 12.0])
def test_updates_follow_the_ratio_over_a_resume(tmp_path, ratio, stop):
    made, add = make(tmp_path, train_ratio=ratio)
    first = drive(made, add, 1, stop)
    made.flush()
    states = made.replay.save(), made.agent.save(), made.save()
    other, add = make(tmp_path, train_ratio=ratio)
    for part, state in zip((other.replay, other.agent, other), states, strict=True):
        part.load(state)
    check_updates(first + drive(other, add, stop, 90), ratio)


def test_nothing_is_sampled_before_there_is_a_batch(tmp_path):
    made, add = make(tmp_path)
    drive(made, add, 1, FIRST)
    assert not made.ready
    assert made.replay.stats()['samples'] == 0
    drive(made, add, FIRST, FIRST + 1)
    assert made.ready
    assert len(made.agent.batches) == 1


def test_batches_are_what_the_options_say(tmp_path):
    made, add = make(tmp_path, batch_size=3, batch_length=5, consec_train=2, replay_context=2)
    drive(made, add, 1, 60)
    for i, batch in enumerate(made.agent.batches):
        assert batch['count'].shape == (3, 7)
        assert (np.diff(batch['count']) == 1).all()
        assert (batch['consec'] == i % 2).all()
    for one, two in zip(made.agent.batches[::2], made.agent.batches[1::2], strict=False):
        np.testing.assert_array_equal(one['count'] + 5, two['count'])


def test_results_come_late_but_all_of_them(tmp_path):
    made, add = make(tmp_path, train_ratio=8.0)
    drive(made, add, 1, FIRST + 3)
    assert made.result() == {'loss': np.mean([1, 2])}
    assert made.replay.stats()['updates'] == 2 * 2
    made.flush()
    assert made.result() == {'loss': 3}
    assert made.result() == {}
    check_latents(made, made.agent.batches[:2])
    state = made.save()
    # What was fetched for a save reaches replay when it would have without one.
    made.train()
    check_latents(made, made.agent.batches[:3])
    made.load(state)
    assert set(made.owed['replay']) == {'stepid', 'latent'}


def check_latents(made, batches):
    trained = {int(c) for batch in batches for c in batch['count'].reshape(-1)}
    for windows in (made.replay.sample(20, 'report') for _ in range(5)):
        known = np.isin(windows['count'], list(trained))
        want = np.where(known, windows['count'], -1)
        np.testing.assert_array_equal(windows['latent'], np.repeat(want[..., None], 2, -1))


def test_report_averages_numbers_and_keeps_the_last_video(tmp_path):
    made, add = make(tmp_path, report_batches=3)
    drive(made, add, 1, 20)
    before = made.updates
    report = made.report()
    assert report['loss'] == np.mean([1, 2, 3])
    assert report['openloop'].shape == (3, 16, 16, 3) and (report['openloop'] == 3).all()
    assert made.updates == before
    assert made.report()['loss'] == np.mean([4, 5, 6])


@pytest.mark.parametrize('change', [{'batch_size': 3}, {'batch_length': 6}, {'consec_train': 1}])
def test_batches_in_progress_are_dropped_if_they_do_not_fit(tmp_path, change):
    made, add = make(tmp_path, consec_train=2)
    drive(made, add, 1, 30)
    if made.stream.index == 0:
        next(made.stream)
    made.flush()
    state = made.save()
    assert state['stream']['window'] is not None
    same, _ = make(tmp_path / 'same', consec_train=2)
    same.load(state)
    assert (next(same.stream)['consec'] == 1).all()
    other, add = make(tmp_path / 'other', **{'consec_train': 2, **change})
    other.load(state)
    assert other.updates == made.updates
    drive(other, add, 1, 30)
    batch = next(other.stream)
    assert batch['count'].shape == (other.args.batch_size, other.args.batch_length + 1)


def test_carry_comes_back_unless_batches_look_different(tmp_path):
    made, add = make(tmp_path, train_ratio=8.0)
    drive(made, add, 1, 30)
    made.flush()
    made.report()
    state = made.save()
    same, _ = make(tmp_path, train_ratio=8.0)
    same.load(state)
    assert (same.carry, same.report.carry) == (made.updates, 1)
    other, _ = make(tmp_path, train_ratio=8.0, report_length=2)
    other.load(state)
    assert (other.carry, other.report.carry) == (0, 0)


@pytest.mark.parametrize('stop', [12, 20, 31])
def test_updates_of_one_program_wait_for_each_other(tmp_path, stop):
    """They are as many, they only come later; a save in between changes nothing."""
    ratio, together = 5.0, 3
    single, add = make(tmp_path / 'single', train_ratio=ratio)
    counts = drive(single, add, 1, 80)
    made, add = make(tmp_path / 'several', train_ratio=ratio, updates_per_dispatch=together)
    got = drive(made, add, 1, stop)
    other, _ = make(tmp_path / 'several', train_ratio=ratio, updates_per_dispatch=together)
    other.load(made.save())
    other.agent, other.replay, other.stream = made.agent, made.replay, made.stream
    got += drive(other, add, stop, 80)
    assert got == [count // together * together for count in counts]
    assert len(made.agent.batches) == other.updates
