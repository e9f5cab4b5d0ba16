"""When a run saves, and what it says about that. Saves are written while training goes on."""

import time

from ..core import clock
from ..core.system import processes

RETRY_SECONDS = 10  # After a save that failed; twice as long after each further one.


class Saver:
    """Saves a run every `every` seconds, as clocks count, in the background.

        saver = Saver(checkpoint, begin, args.save_every, print)
        while training:
            saver(step)
        saver.finish(step)

    checkpoint  where saves are written
    begin       called to take what is to be saved and begin to write it
    tell        called with a line for people

    A save that is due while another one is written waits for its end. One that fails is told and
    tried again soon, while the checkpoints before stay.
    """

    def __init__(self, checkpoint, begin, every, tell, now=time.monotonic):
        self.checkpoint = checkpoint
        self.begin = begin
        self.every = every
        self.tell = tell
        self.now = now
        self.due = clock.LocalClock(every)
        self.saved = None  # Step of the newest complete save.
        self.writing = None  # Step of the one in progress.
        self.failures = 0  # In a row.
        self.error = None
        self.again = float('inf')

    def __call__(self, step: int) -> None:
        """Between any two steps of the run: look after the save in progress, begin one if due."""
        # Where every step is saved, none is left out.
        if self.checkpoint.busy and self.every >= 0:
            return
        self.settle()
        if self.due() or self.now() >= self.again:
            self.start(step)

    def start(self, step: int) -> None:
        """Begin a save."""
        try:
            self.begin()
            self.writing = step
        except OSError as e:
            self._failed(e)

    def settle(self) -> None:
        """Wait for the save in progress, if there is one, and tell how it ended."""
        if self.writing is None:
            return
        step, self.writing = self.writing, None
        try:
            folder = self.checkpoint.result()
        except OSError as e:
            self._failed(e)
            return
        before = f', after {self.failures} that failed' if self.failures else ''
        self.tell(f'Saved checkpoint: {folder}{before}')
        self.saved, self.failures, self.again = step, 0, float('inf')

    def finish(self, step: int) -> None:
        """Save what has come since the last time. ProcessError if that cannot be."""
        self.settle()
        if self.saved != step:
            self.start(step)
            self.settle()
        if self.saved != step:
            raise processes.ProcessError(f'Could not save the end of the run: {self.error}')

    def close(self, kind, *_) -> None:
        """The exit of a context: an error lets the save in progress end, an interrupt does not."""
        if kind is None or issubclass(kind, Exception):
            self.settle()

    def _failed(self, error):
        self.error = error
        self.failures += 1
        pause = RETRY_SECONDS * 2 ** (self.failures - 1)
        self.again = self.now() + (min(pause, self.every) if self.every > 0 else pause)
        self.tell(f'Could not save, will try again: {error}')
