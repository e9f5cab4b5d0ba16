"""Waiting, and keeping inserts and samples in proportion."""

import pytest

from embodied.core import limiters


@pytest.fixture
def clock(monkeypatch):
    """Time that only passes by sleeping."""

    class Clock:
        now = 100.0

        def time(self):
            return self.now

        def sleep(self, seconds):
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(limiters, 'time', clock)
    return clock


def test_wait_returns_the_seconds(clock):
    assert limiters.wait(lambda: True, 'never printed') == 0
    waited = limiters.wait(lambda: clock.now >= 103, 'message', sleep=0.5)
    assert waited == 3


def test_wait_says_so(clock, capsys):
    limiters.wait(lambda: clock.now >= 100 + 130, 'Nothing here', {'size': 3}, sleep=1, notify=60)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all('Nothing here' in x and 'size' in x for x in lines)
    assert '60 s' in lines[0]
    assert '120 s' in lines[1]


def run(limiter, steps):
    """Insert and sample whenever allowed; the number of both."""
    inserts = samples = 0
    for _ in range(steps):
        if limiter.want_insert():
            limiter.insert()
            inserts += 1
        while limiter.want_sample() and samples < 10 * steps:
            limiter.sample()
            samples += 1
    return inserts, samples


@pytest.mark.parametrize('rate', [0.25, 1, 4])
def test_samples_per_insert(rate):
    limiter = limiters.SamplesPerInsert(rate, tolerance=2, minsize=10)
    for _ in range(9):
        assert limiter.want_insert()
        limiter.insert()
    assert not limiter.want_sample()
    inserts, samples = run(limiter, 200)
    assert inserts == 200
    assert abs(samples - rate * inserts) <= 2 * max(1, 2 * rate)


def test_inserts_stop_without_samples():
    limiter = limiters.SamplesPerInsert(2.0, tolerance=3, minsize=1)
    count = 0
    while limiter.want_insert():
        limiter.insert()
        count += 1
    assert count == 3
    limiter.sample()
    assert limiter.want_insert()


def test_no_rate_means_no_limit():
    limiter = limiters.SamplesPerInsert(0, tolerance=1, minsize=2)
    limiter.insert()
    assert not limiter.want_sample()
    limiter.insert()
    for _ in range(100):
        assert limiter.want_insert()
        limiter.insert()
    for _ in range(300):
        assert limiter.want_sample()
        limiter.sample()


def test_save_and_load():
    limiter = limiters.SamplesPerInsert(2.0, tolerance=3, minsize=1)
    limiter.insert()
    limiter.insert()
    other = limiters.SamplesPerInsert(2.0, tolerance=3, minsize=1)
    other.load(limiter.save())
    assert other.save() == limiter.save()
    other.insert()
    assert not other.want_insert()


def test_impossible_settings():
    with pytest.raises(ValueError, match='minsize is 0'):
        limiters.SamplesPerInsert(1, 1, 0)
    with pytest.raises(ValueError, match='tolerance is -1'):
        limiters.SamplesPerInsert(1, -1, 1)
