import pytest

from embodied.core import clock


class Now:
    time = 1000.0

    def __call__(self):
        return self.time


@pytest.mark.parametrize('cls', [clock.LocalClock, clock.GlobalClock])
@pytest.mark.parametrize('every, want', [(0, [False] * 3), (-1, [True] * 3)])
def test_zero_is_never_and_negative_is_always(cls, every, want):
    for first in (False, True):
        tick = cls(every, first)
        assert [tick() for _ in range(3)] == want
        assert [tick(step) for step in range(3)] == want


@pytest.mark.parametrize('first', [False, True])
def test_positive_is_every_that_many_seconds_from_the_first_call(first):
    now = Now()
    tick = clock.LocalClock(10, first, now)
    now.time += 1000  # Before the first call nothing runs.
    assert tick() is first
    got = []
    for _ in range(8):
        now.time += 4
        got.append(tick())
    assert got == [False, False, True, False, False, True, False, False]


def test_stall_counts_once():
    now = Now()
    tick = clock.LocalClock(10, now=now)
    tick()
    now.time += 95
    assert [tick(), tick()] == [True, False]
    now.time += 9
    assert not tick()
    now.time += 1
    assert tick()


def test_skip_is_false_and_does_not_start_the_time():
    now = Now()
    tick = clock.LocalClock(10, first=True, now=now)
    assert not tick(skip=True)
    assert tick()
    now.time += 10
    assert not tick(skip=True)
    assert tick(skip=False)
    assert not clock.LocalClock(-1)(skip=True)


def test_state_survives_a_restart():
    now, later = Now(), Now()
    tick = clock.LocalClock(10, now=now)
    assert not tick()
    now.time += 7
    later.time = 5.0  # Another start of the machine.
    again = clock.LocalClock(10, now=later)
    again.load(tick.save())
    assert not again()
    later.time += 3
    assert [again(), again()] == [True, False]


def test_state_of_a_clock_that_was_never_asked():
    now = Now()
    again = clock.LocalClock(10, now=now)
    again.load(clock.LocalClock(10).save())
    assert not again()
    now.time += 10
    assert again()
