"""Shares of the time of a run, from the statistics of timers made by hand."""

import math

import elements
import pytest

from embodied.core import bottleneck


def stats(total=100.0, **sections):
    """Statistics of a timer: path with `__` for `/` to seconds, or to (seconds, calls, least)."""
    result = {}
    for name, values in sections.items():
        seconds, count, least = values if isinstance(values, tuple) else (values, 1, values)
        path = name.replace('__', '/').replace('_', '.')
        result |= {f'{path}/sum': seconds, f'{path}/frac': seconds / total}
        result |= {f'{path}/count': count, f'{path}/min': least}
    return result


def loop(policy, train=1.0, **more):
    sections = {'driver__agent_policy': policy, 'driver__agent_train': train, **more}
    return stats(driver=90.0, **sections)


def test_waiting_for_updates_is_learning():
    find = bottleneck.Bottleneck()
    first = find(loop((2.0, 100, 0.01)), updates=20, fresh=True)
    # A call takes 10 ms by itself.
    assert first['acting'] == pytest.approx(0.01)
    assert first['learner'] == pytest.approx(0.01 + 0.01)
    then = find(loop((80.0, 100, 0.5)), updates=100, fresh=False)
    assert then['acting'] == pytest.approx(0.01)
    assert then['learner'] == pytest.approx(0.79 + 0.01)
    assert then['environments'] == pytest.approx(0.09)
    assert then['reports, evaluations, saves and logs'] == pytest.approx(0.1)
    assert bottleneck.advice(then) == {}


def test_acting_is_not_blamed_before_it_was_seen_alone():
    find = bottleneck.Bottleneck()
    shares = find(loop((80.0, 100, 0.5)), updates=100, fresh=False)
    assert (shares['acting'], shares['learner']) == (0, pytest.approx(0.81))
    # Most calls have no update before them.
    shares = find(loop((80.0, 100, 0.5)), updates=10, fresh=False)
    assert shares['acting'] == pytest.approx(0.5)


@pytest.mark.parametrize(
    'sections, part, option',
    [
        ({}, 'environments', 'run.envs'),
        ({'driver__replay_add': 60.0}, 'replay', 'replay.fracs'),
        (
            {'driver__learner_batch__replay_sample': 60.0, 'driver__learner_batch': 62.0},
            'replay',
            '',
        ),
        ({'driver__learner_batch': 62.0}, 'transfer', 'images'),
    ],
)
def test_slow_parts_are_told(sections, part, option):
    shares = bottleneck.Bottleneck()(loop((1.0, 100, 0.01), **sections), 1, True)
    (text,) = bottleneck.advice(shares).values()
    assert text.startswith(part)
    assert f' {shares[part]:.0%} of the time: ' in text
    assert shares[part] == max(shares.values())
    assert option in text


def test_slow_policy_is_told():
    shares = bottleneck.Bottleneck()(loop((80.0, 100, 0.7)), 1, True)
    (text,) = bottleneck.advice(shares).values()
    assert text.startswith('acting takes 70% of the time: ')


def test_slow_reports_are_told():
    timings = stats(driver=30.0, agent_report=60.0, driver__agent_train=20.0)
    (text,) = bottleneck.advice(bottleneck.Bottleneck()(timings, 1, True)).values()
    assert text.startswith('reports, evaluations, saves and logs take 70%')


def test_parts_in_threads_of_their_own():
    acting = {'agent_policy': (90.0, 100, 0.9), 'replay_add': 5.0}
    busy = stats(agent_train=80.0, learner_batch=5.0, replay_update=1.0, **acting)
    shares = bottleneck.Bottleneck()(busy, 100, False)
    assert shares['learner'] == pytest.approx(0.8)
    assert bottleneck.advice(shares) == {}
    idle = stats(agent_train=10.0, learner_batch=5.0, **acting)
    (text,) = bottleneck.advice(bottleneck.Bottleneck()(idle, 100, False)).values()
    assert text.startswith('waiting for experience takes 85% of the time: the learner is starved')


def test_evaluations_do_not_count_as_acting():
    timings = stats(driver=50.0, driver__agent_policy=(1.0, 10, 0.1), driver__agent_train=49.0)
    timings |= stats(evaluation=50.0, evaluation__agent_policy=(50.0, 10, 0.1))
    shares = bottleneck.Bottleneck()(timings, 1, True)
    assert shares['acting'] == pytest.approx(0.01)
    assert shares['reports, evaluations, saves and logs'] == pytest.approx(0.5)


def test_real_timer():
    timer = elements.timer.Timer()
    with timer.section('driver'):
        for _ in range(3):
            with timer.section('agent.policy'):
                pass
    with timer.section('agent.report'):
        pass
    shares = bottleneck.Bottleneck()(timer.stats(), 0, True)
    assert all(0 <= x <= 1 for x in shares.values())
    assert math.isclose(sum(shares.values()), 1, rel_tol=0.01)
    # Sections that were not entered since the last time.
    assert bottleneck.advice(bottleneck.Bottleneck()(timer.stats(), 0, True)) is not None
