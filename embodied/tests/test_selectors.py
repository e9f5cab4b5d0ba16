"""Selectors: one contract for all, then what each of them prefers."""

import collections
import json

import numpy as np
import pytest

from embodied.core import selectors, trees
from embodied.core.buffer import sampletree

MAKE = {
    'fifo': selectors.Fifo,
    'uniform': lambda: selectors.Uniform(seed=1),
    'recency': lambda: selectors.Recency(1 / np.arange(1, 2000), seed=1),
    'prioritized': lambda: selectors.Prioritized(seed=1),
    'prioritized inf': lambda: selectors.Prioritized(
        0.8, np.inf, zero_on_sample=True, maxfrac=0.5, branching=3, seed=1
    ),
    'mixture': lambda: selectors.Mixture(
        {'u': selectors.Uniform(1), 'p': selectors.Prioritized(seed=2), 'n': selectors.Fifo()},
        {'u': 0.5, 'p': 0.5, 'n': 0},
        seed=1,
    ),
}


@pytest.fixture(params=MAKE)
def make(request):
    return MAKE[request.param]


def ids(key, length=3):
    """Ids of the steps of a window that begins at a step with the number `key`."""
    rows = [(100 + key + i).to_bytes(20, 'big') for i in range(length)]
    return np.stack([np.frombuffer(x, np.uint8) for x in rows])


def test_contract(make):
    """What is drawn is there; draws and removals in any order leave the rest."""
    selector = make()
    with pytest.raises(ValueError, match=r'cannot (draw|sample) from'):
        selector()
    rng = np.random.default_rng(0)
    present = set()
    for key in range(600):
        selector[key] = ids(key)
        present.add(key)
        if len(present) > 50 or (len(present) > 5 and rng.random() < 0.4):
            # Mostly the oldest, as a replay does, but any must do.
            gone = min(present) if rng.random() < 0.8 else rng.choice(sorted(present))
            del selector[int(gone)]
            present.remove(int(gone))
        if hasattr(selector, 'prioritize') and rng.random() < 0.3:
            selector.prioritize(ids(key - 5, 6), rng.random(6))
        assert len(selector) == len(present)
        assert selector() in present
    for key in sorted(present):
        assert selector() in present
        del selector[key]
        present.remove(key)
    assert len(selector) == 0


def test_keys_of_any_kind(make):
    selector = make()
    for key in ('a', (1, 2), 3):
        selector[key] = ids(5)
    del selector['a']
    assert {selector() for _ in range(100)} <= {(1, 2), 3}


def test_saved_state_gives_the_same_draws(make):
    selector = make()
    for key in range(40):
        selector[key] = ids(key)
    for key in (3, 30, 0):
        del selector[key]
    if hasattr(selector, 'prioritize'):
        selector.prioritize(ids(5, 20), np.linspace(0, 4, 20))
    [selector() for _ in range(7)]
    data, arrays = trees.split(selector.save())
    data = trees.join(json.loads(json.dumps(data)), arrays)
    want = [selector() for _ in range(50)]

    other = make()
    for key in set(range(40)) - {3, 30, 0}:
        other[key] = ids(key)
    other.load(data)
    assert [other() for _ in range(50)] == want
    # Some keys could not be brought back, others are new.
    another = make()
    for key in range(20, 60):
        another[key] = ids(key)
    another.load(data)
    assert all(20 <= another() < 60 for _ in range(100))
    for key in range(20, 60):
        del another[key]


def frequencies(selector, draws=6000):
    counts = collections.Counter(selector() for _ in range(draws))
    return {k: v / draws for k, v in counts.items()}


def test_fifo_gives_the_oldest():
    selector = selectors.Fifo()
    for key in range(4):
        selector[key] = ids(key)
    assert [selector(), selector()] == [0, 0]
    del selector[0]
    del selector[2]
    assert selector() == 1
    del selector[1]
    assert selector() == 3


def test_recency_follows_the_age():
    selector = selectors.Recency([4, 3, 2, 1, 0], seed=0)
    for key in range(30):
        selector[key] = ids(key)
    got = frequencies(selector)
    want = {29: 0.4, 28: 0.3, 27: 0.2, 26: 0.1}
    assert got.keys() == want.keys()
    np.testing.assert_allclose([got[k] for k in want], list(want.values()), atol=0.03)
    # A removal in the middle makes the older ones younger.
    del selector[28]
    assert set(frequencies(selector)) == {29, 27, 26, 25}
    with pytest.raises(ValueError, match='uprobs must be'):
        selectors.Recency([0, 1])


def test_prioritized_follows_the_mass():
    selector = selectors.Prioritized(exponent=2, initial=1, maxfrac=0.25, seed=0)
    for key in range(0, 9, 3):
        selector[key] = ids(key)
    # Steps 0 to 8 in three windows; the last window keeps its initial priorities.
    selector.prioritize(ids(0, 6), np.array([0, 0, 3, 2, 2, 2]))
    mass = {0: 0.25 * 9 + 0.75 * 3, 3: 4, 6: 1}
    got = frequencies(selector)
    total = sum(mass.values())
    np.testing.assert_allclose(
        [got[k] for k in mass], [x / total for x in mass.values()], atol=0.03
    )
    # Ids of steps that are not here change nothing.
    selector.prioritize(ids(100, 4), np.full(4, 1e9))
    assert set(frequencies(selector)) == {0, 3, 6}
    with pytest.raises(ValueError, match='0 or more'):
        selector.prioritize(ids(0, 1), [-1])


def test_infinite_priorities_come_first_and_zero_on_sample():
    selector = selectors.Prioritized(initial=np.inf, zero_on_sample=True, seed=0)
    for key in range(0, 30, 3):
        selector[key] = ids(key)
    assert sorted(selector() for _ in range(10)) == list(range(0, 30, 3))
    # All are at zero now: any may come.
    assert set(frequencies(selector)) == set(range(0, 30, 3))
    selector.prioritize(ids(6, 3), np.ones(3))
    assert selector() == 6


def test_overlapping_windows_share_priorities():
    selector = selectors.Prioritized(initial=0, seed=0)
    for key in range(10):
        selector[key] = ids(key)
    selector.prioritize(ids(5, 1), np.ones(1))
    assert set(frequencies(selector)) == {3, 4, 5}


def test_mixture_follows_the_fractions():
    first, last = selectors.Fifo(), selectors.Recency([1])
    selector = selectors.Mixture({'a': first, 'b': last}, {'a': 0.25, 'b': 0.75}, seed=0)
    for key in range(10):
        selector[key] = ids(key)
    got = frequencies(selector)
    np.testing.assert_allclose([got[0], got[9]], [0.25, 0.75], atol=0.03)
    with pytest.raises(ValueError, match='same names'):
        selectors.Mixture({'a': first}, {'b': 1.0})
    with pytest.raises(ValueError, match='sum to 1'):
        selectors.Mixture({'a': first, 'b': last}, {'a': 0.5, 'b': 0.6})


@pytest.mark.parametrize('branching', [2, 3, 16])
def test_tree_sums_and_draws(branching):
    tree = sampletree.SampleTree(branching, seed=0)
    rng = np.random.default_rng(0)
    weights = {}
    for number in range(400):
        choice = rng.random()
        if choice < 0.5 or not weights:
            weights[number] = float(rng.integers(0, 5))
            tree.insert(number, weights[number])
        elif choice < 0.75:
            key = int(rng.choice(list(weights)))
            weights[key] = rng.random()
            tree.update(key, weights[key])
        else:
            key = int(rng.choice(list(weights)))
            tree.remove(key)
            del weights[key]
        assert len(tree) == len(weights)
        np.testing.assert_allclose(tree.finite.total, sum(weights.values()), rtol=1e-12, atol=1e-12)
        assert not weights or weights[tree.sample()] > 0 or not any(weights.values())
    for key, weight in weights.items():
        assert tree[key] == weight
    counts = collections.Counter(tree.sample() for _ in range(20000))
    total = sum(weights.values())
    for key, weight in weights.items():
        share = weight / total
        assert abs(counts[key] / 20000 - share) < 5 * np.sqrt(share / 20000) + 1e-9
    with pytest.raises(ValueError, match='0 or more'):
        tree.update(next(iter(weights)), float('nan'))


def test_tree_with_weights_of_all_sizes():
    tree = sampletree.SampleTree(4, seed=0)
    for key, weight in enumerate([1e-300, 0.0, 1e300, 0.0, 1e-8, 0.0]):
        tree.insert(key, weight)
    assert {tree.sample() for _ in range(200)} == {2}
    tree.remove(2)
    assert {tree.sample() for _ in range(200)} == {4}
    tree.remove(4)
    assert {tree.sample() for _ in range(200)} == {0}


def test_rounding_at_the_upper_end_gives_no_empty_slot():
    sums = sampletree.Sums(4)
    sums.set([0, 2, 5], [0.3, 0.1, 0.2])
    assert sums.find(1.0) == 5
    assert sums.find(0.0) == 0
