"""Means, IQM and bootstrap intervals, against numbers worked by hand."""

import numpy as np
import pytest

from embodied.commands import statistics

NAN = np.nan


def test_binned():
    xs, ys = np.array([0.0, 1, 2, 12, 35]), np.array([1.0, 2, 3, 10, 20])
    edges = np.array([0.0, 10, 20, 30, 40, 50])
    np.testing.assert_equal(statistics.binned(xs, ys, edges), [2, 10, 10, 20, NAN])


def test_binned_leaves_out_what_is_not_there():
    xs, ys = np.array([5.0, 6, 25, 100]), np.array([NAN, 4, 6, 1000])
    edges = np.array([0.0, 10, 20, 30])
    np.testing.assert_equal(statistics.binned(xs, ys, edges), [4, 4, 6])
    np.testing.assert_equal(statistics.binned(xs, ys + NAN, edges), [NAN] * 3)
    # What is on the last edge is inside.
    assert statistics.binned(np.array([30.0]), np.array([7.0]), edges)[-1] == 7


def test_iqm():
    assert statistics.iqm(np.array([100.0, 1, 2, 3, 4, 5, 6, -100])) == 3.5
    # Of five values the middle 2.5 count: 2, 3, 4 with weights 0.75, 1, 0.75.
    assert statistics.iqm(np.array([9.0, 2, 3, 4, 0])) == pytest.approx(3)
    assert statistics.iqm(np.array([0.0, 1, 3, 4, 9])) == pytest.approx((0.75 + 3 + 3) / 2.5)
    assert statistics.iqm(np.array([5.0])) == 5
    columns = np.array([[1.0, NAN, NAN], [2, 7, NAN], [3, NAN, NAN], [4, NAN, NAN]])
    np.testing.assert_equal(statistics.iqm(columns), [2.5, 7, NAN])


def test_aggregates():
    values = np.array([[0.0], [1], [2], [4]])
    tasks = np.array([0, 0, 0, 1])
    found = {k: f(values, tasks)[0] for k, f in statistics.AGGREGATES.items()}
    # Tasks have means of 1 and 4; of the runs 1 and 2 are in the middle.
    assert found == {'IQM': 1.5, 'median': 2.5, 'mean': 2.5, 'optimality gap': 0.25}


def test_interval_covers_the_mean():
    rng = np.random.default_rng(0)
    mean = lambda values, tasks: statistics.mean(values)
    hits = 0
    for i in range(100):
        values = rng.normal(3, 1, (30, 1))
        low, high = statistics.interval(mean, values, np.zeros(30), 200, seed=i)
        hits += low[0] <= 3 <= high[0]
    assert 88 <= hits <= 99


def test_interval_draws_within_tasks():
    # Runs of a task are alike, so drawing within it changes nothing.
    values = np.array([[1.0], [1], [5], [5]])
    low, high = statistics.interval(statistics.AGGREGATES['mean'], values, np.array([0, 0, 1, 1]))
    assert low == high == 3


def test_no_interval_of_single_runs():
    mean = lambda values, tasks: statistics.mean(values)
    values = np.array([[1.0, 1], [2, NAN]])
    ends = statistics.interval(mean, values, np.zeros(2), 200)
    np.testing.assert_equal(np.isfinite(ends), [[True, False]] * 2)
    assert np.isnan(statistics.interval(mean, values, np.arange(2))).all()
