"""Clocks say when it is time again: to log, to report, to save."""

import time
from collections.abc import Callable


class LocalClock:
    """True every `every` seconds of wall time; 0 is never, negative is at every call.

        should_log = LocalClock(120)
        while training:
            if should_log():
                logger.write()

    The time runs from the first call on. `first` says what that one returns where `every` is
    positive. After a stall the clock is true once and goes on from there.
    """

    def __init__(self, every: float, first: bool = False, now: Callable = time.monotonic):
        self._every = every
        self._first = first
        self._now = now
        self._prev = None

    def __call__(self, step=None, skip: bool | None = None) -> bool:
        """Whether it is time. With `skip` it is not, and no time is noted.

        Callers may name the `step` they are at, as with any clock of the field; time alone decides.
        """
        if skip or not self._every:
            return False
        if self._every < 0:
            return True
        now = self._now()
        if self._prev is None:
            self._prev = now
            return self._first
        if now < self._prev + self._every:
            return False
        self._prev = now
        return True

    def save(self) -> dict:
        """Seconds since it was true last, so that a run that is stopped often gets there too."""
        return {'since': None if self._prev is None else self._now() - self._prev}

    def load(self, data: dict) -> None:
        self._prev = None if data['since'] is None else self._now() - data['since']


class GlobalClock(LocalClock):
    """The clock for decisions that all replicas of a learner have to take together.

    For a run with one learner process, that is the local clock. Agreement between replicas comes
    with runs on several hosts.
    """
