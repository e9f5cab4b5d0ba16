"""SIGINT and SIGTERM as a wish to stop, so that a loop can save and end in its own time."""

import contextlib
import os
import signal
import threading


class Stop:
    """Whether the user or the system asked to stop.

        with Stop() as stop:
            while not stop:
                work()

    The first signal only sets it; a second SIGINT interrupts as usual. Where handlers cannot be
    set (outside of the main thread) it stays false.
    """

    def __init__(self, signals=(signal.SIGINT, signal.SIGTERM)):
        self.signals = signals
        self.reason = None
        self.previous = {}

    def __bool__(self):
        return self.reason is not None

    def request(self, reason: str) -> None:
        """Stop for another reason than a signal."""
        self.reason = self.reason or reason

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self.previous = {s: signal.signal(s, self._handle) for s in self.signals}
        return self

    def __exit__(self, *_):
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}

    def _handle(self, number, frame):
        if self.reason is None:
            self.reason = signal.Signals(number).name
            # Not by print, which fails if the signal has come in the middle of another one.
            text = f'\n{self.reason}: saving and ending. Ctrl-C ends at once.\n'
            with contextlib.suppress(OSError):
                os.write(2, text.encode())
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
