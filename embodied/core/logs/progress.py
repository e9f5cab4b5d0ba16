"""How far a run has come: one line that moves on a terminal, one line now and then in a log."""

import collections
import shutil
import sys
import time

# Moves to the start of the line and clears it.
CLEAR = '\r\x1b[K'


class Progress:
    """Shows steps, speed, updates, last score and the time that is left.

        progress = Progress(total=args.steps, duration=args.duration, every=args.log_every)
        while step < args.steps:
            ...
            progress.update(step, updates=learner.updates)
            progress.update(step, score=123.0)   # at the end of an episode
            progress.log('Saved checkpoint.')    # a line of its own
        progress.close()

    total      environment steps at the end, 0 = no limit
    duration   seconds until the end, 0 = no limit
    every      seconds between lines where the stream is no terminal, 0 = never
    """

    def __init__(self, total=0, duration=0, every=60, stream=None, clock=time.monotonic):
        self.total = total
        self.duration = duration
        self.stream = sys.stdout if stream is None else stream
        self.clock = clock
        self.live = self.stream.isatty()
        self.every = 0.5 if self.live else every
        self.began = clock()
        self.info = {}
        self.history = collections.deque(maxlen=120)
        self._shown = -float('inf') if self.live else self.began
        self._drawn = None

    def update(self, step: int, updates: int | None = None, score: float | None = None) -> None:
        """Tell the state of the run; cheap, so call it each step. None keeps the last value."""
        now = self.clock()
        self.info['step'] = step
        if updates is not None:
            self.info['updates'] = updates
        if score is not None:
            self.info['score'] = score
        if not self.history or now - self.history[-1][0] >= 0.5:
            self.history.append((now, step))
        if self.every and now - self._shown >= self.every:
            self._shown = now
            self._show(now)

    def log(self, text: str) -> None:
        """Print a line, above the moving one where there is one."""
        self._write((CLEAR if self._drawn else '') + text + '\n')
        if self._drawn:
            self._write(self._drawn)

    def close(self) -> None:
        """Show the last state and leave it there."""
        if self.info:
            self._show(self.clock())
        if self._drawn:
            self._write('\n')
            self._drawn = None

    def _show(self, now):
        text = self._text(now)
        if not self.live:
            self._write(text + '\n')
            return
        width = shutil.get_terminal_size().columns - 1
        self._drawn = CLEAR + self._bar(now) + text
        self._drawn = self._drawn[: len(CLEAR) + width]
        self._write(self._drawn)

    def _text(self, now):
        step = self.info['step']
        rate, left = self._rate(now), self._left(now)
        parts = [f'{step:,}/{self.total:,}' if self._limited() else f'{step:,} steps']
        parts.append(f'{rate:.3g}/s' if rate < 100 else f'{rate:.0f}/s')
        if 'updates' in self.info:
            parts.append(f'{self.info["updates"]:,} updates')
        if 'score' in self.info:
            parts.append(f'score {self.info["score"]:.4g}')
        parts.append(f'{clock_time(now - self.began)} elapsed')
        parts.append(f'ETA {"-" if left is None else clock_time(left)}')
        return '  '.join(parts)

    def _bar(self, now, cells=16):
        fractions = [0.0]
        if self._limited():
            fractions.append(self.info['step'] / self.total)
        if self.duration:
            fractions.append((now - self.began) / self.duration)
        fraction = min(1.0, max(fractions))
        full = int(fraction * cells)
        return f'[{"#" * full}{"-" * (cells - full)}] {fraction:4.0%}  '

    def _limited(self):
        # The default is so large that it means no limit.
        return 0 < self.total < 1e10

    def _rate(self, now):
        """Steps per second of the last minute or so."""
        start, first = self.history[0]
        return (self.info['step'] - first) / max(now - start, 1e-9) if now > start else 0.0

    def _left(self, now):
        rate, left = self._rate(now), []
        if self._limited() and rate > 0:
            left.append(max(0, self.total - self.info['step']) / rate)
        if self.duration:
            left.append(max(0, self.duration - (now - self.began)))
        return min(left, default=None)

    def _write(self, text):
        try:
            self.stream.write(text)
            self.stream.flush()
        except OSError:
            pass  # A closed terminal does not end the run.


def clock_time(seconds: float) -> str:
    """Duration as 2:05, 1:02:05 or 3d 4h."""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 48:
        return f'{hours // 24}d {hours % 24}h'
    return f'{hours}:{minutes:02}:{seconds:02}' if hours else f'{minutes}:{seconds:02}'
