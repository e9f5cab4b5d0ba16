"""Waiting for a condition, and keeping the numbers of inserts and samples in proportion."""

import threading
import time

import elements


def wait(predicate, message, info=None, sleep=0.01, notify=60) -> float:
    """Wait until `predicate()` is true and return the seconds that took.

    After every `notify` seconds the message is printed, with `info` (a dict) behind it, so that
    nothing waits silently.
    """
    if predicate():
        return 0.0
    start = notified = time.time()
    while not predicate():
        now = time.time()
        if now - notified >= notify:
            detail = f' {info}' if info else ''
            elements.print(f'{message}, waiting for {now - start:.0f} s.{detail}', color='yellow')
            notified = now
        time.sleep(sleep)
    return time.time() - start


class SamplesPerInsert:
    """Allows `samples_per_insert` samples for every insert, once `minsize` inserts are there.

    `tolerance` is how many inserts one side may run ahead of the other. With a rate of 0 or less
    only `minsize` counts. The caller asks `want_*` first, then reports `insert()` or `sample()`.
    """

    def __init__(self, samples_per_insert: float, tolerance: float, minsize: int):
        if minsize < 1:
            raise ValueError(f'minsize is {minsize}, it must be 1 or more')
        if tolerance < 0:
            raise ValueError(f'tolerance is {tolerance}, it must be 0 or more')
        self.rate = samples_per_insert
        self.minsize = minsize
        self.slack = max(1.0, tolerance * samples_per_insert)
        self.size = 0
        self.avail = 0.0
        self.lock = threading.Lock()

    def want_insert(self) -> bool:
        with self.lock:
            return self.rate <= 0 or self.size < self.minsize or self.avail < self.slack

    def want_sample(self) -> bool:
        with self.lock:
            if self.size < self.minsize:
                return False
            return self.rate <= 0 or self.avail > -self.slack

    def insert(self) -> None:
        with self.lock:
            self.size += 1
            if self.size >= self.minsize:
                self.avail += self.rate

    def sample(self) -> None:
        with self.lock:
            self.avail -= 1

    def save(self) -> dict:
        with self.lock:
            return {'size': self.size, 'avail': self.avail}

    def load(self, data: dict) -> None:
        with self.lock:
            self.size = data['size']
            self.avail = data['avail']
