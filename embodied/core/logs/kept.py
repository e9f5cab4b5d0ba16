"""What an output could not write yet, to be written with the next metrics."""

import contextlib
import itertools
import time

import numpy as np

LIMIT = 100_000  # Scalars and texts that are kept.
MEDIA = 20  # Images and videos, which are large.


class Kept:
    """An output that writes step by step, oldest first, and forgets what is written.

    Derived classes have `open()`, called before each attempt, `write(step, values)`, `flush()`,
    `end()`, and `abort()` for what is open after a failure. Any of them may raise; what was not
    written is tried again with the next call, `pause` seconds later at the earliest, and twice as
    long after each further failure.
    """

    each = True  # Whether a step is written when `write` returns, or only after `flush`.

    def __init__(self, pause: float = 0, longest: float = 600, clock=time.monotonic):
        self.pause = pause
        self.longest = longest
        self.clock = clock
        self.waiting = []  # Of (step, name, value).
        self.failures = 0
        self.again = -float('inf')

    def __call__(self, summaries):
        self.waiting += [(int(step), name, value) for step, name, value in summaries]
        self._forget()
        if self.waiting and self.clock() >= self.again:
            self._write()

    def close(self):
        """Write what is left, whenever the last attempt was."""
        try:
            if self.waiting:
                self._write()
        finally:
            self.end()

    def open(self):
        """Make sure that there is something to write to."""
        raise NotImplementedError('Open a file or connection, unless it is open.')

    def write(self, step: int, values: dict):
        """Write texts and arrays by name."""
        raise NotImplementedError('Write the values of a step.')

    def flush(self):
        """Make sure that it is written."""

    def end(self):
        """Free what `open` has opened."""

    def abort(self):
        """The same after a failure."""
        self.end()

    def _write(self):
        done = 0
        try:
            self.open()
            for step, rows in itertools.groupby(self.waiting, lambda x: x[0]):
                rows = list(rows)
                self.write(step, {name: value for _, name, value in rows})
                done += len(rows)
            self.flush()
        except Exception:
            del self.waiting[: done if self.each else 0]
            self.again = self.clock() + min(self.longest, self.pause * 2**self.failures)
            self.failures += 1
            with contextlib.suppress(Exception):
                self.abort()
            raise
        self.waiting.clear()
        self.failures = 0

    def _forget(self):
        """The oldest, so that memory does not grow without end."""
        media = [i for i, (_, _, x) in enumerate(self.waiting) if np.ndim(x) > 1]
        for i in reversed(media[:-MEDIA]):
            del self.waiting[i]
        del self.waiting[:-LIMIT]
