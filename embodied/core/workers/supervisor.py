"""Environments that fail: how long they are waited for, and how often they are made anew.

A supervisor stands between the driver and a worker. What comes through it is always an observation
that fits its space; after a failure it is the first one of a new environment.
"""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from . import worker

LOOK_SECONDS = 1  # Between looks at whether the run is to stop.
STOP_SECONDS = 1  # What an environment has left then.
CLOSE_SECONDS = 2  # For one that has failed, to close.
UNWATCHED = contextlib.nullcontext()


@dataclasses.dataclass
class Tolerance:
    """What is done about environments that fail.

    task       for messages
    restarts   times that each of them may fail and is made anew; the next failure is an EnvError
    warn       seconds after which one that does not answer is reported, 0 = never
    timeout    seconds after which that is a failure, 0 = never; only one in a process of its own
               can be ended, others are just reported
    tell       called with one line for each report and restart
    stop       once it is true, those that do not answer are given up
    """

    task: str = ''
    restarts: int = 0
    warn: float = 0
    timeout: float = 0
    tell: Callable = print
    stop: Any = ()

    @classmethod
    def of(cls, args, tell=print, stop=()) -> 'Tolerance':
        """That of the arguments of a run."""
        return cls(args.task, args.env_restarts, args.env_warn, args.env_timeout, tell, stop)


class Hangs(worker.EnvError):
    """An environment did not answer in time."""


class Supervisor:
    """A worker whose environment is made anew when it fails. Has the methods of a worker.

    An environment fails by an exception, by its death, by not answering, and by an observation that
    does not fit its spaces. Its episode ends there without `is_last`.
    """

    def __init__(self, kind, make_env: Callable, index: int, tolerance: Tolerance, watchdog=None):
        self._make = lambda steps: kind(make_env, index, tolerance.task, steps)
        self._tolerance = tolerance
        self._watchdog = watchdog
        self._worker = self._make(0)
        self._left = self._restarts = tolerance.restarts
        self._spaces = None

    @property
    def lead(self) -> tuple:
        """Axes of values in front of those of their spaces."""
        return self._worker.lead

    def start(self) -> worker.Promise:
        """Make the environment. Promises (obs_space, act_space)."""
        with self._watched():
            promise = self._worker.start()

        def wait():
            self._wait()
            self._spaces = promise()
            return self._spaces

        return wait

    def step(self, action: dict) -> worker.Promise:
        """Promises the observation for an action, or the first one of a new environment."""
        promise = self._step(action)

        def wait():
            try:
                self._wait()
                return promise()
            except worker.EnvError as e:
                return self._recover(e)

        return wait

    def save(self) -> worker.Promise:
        """Promises the state of the environment, None if it cannot be saved."""
        return self._asked(self._worker.save)

    def load(self, state) -> worker.Promise:
        """Take over a state of `save`."""
        return self._asked(self._worker.load, state)

    def close(self) -> None:
        self._worker.close()

    def join(self, timeout: float) -> None:
        self._worker.join(timeout)

    def _asked(self, method, *args):
        promise = method(*args)

        def wait():
            self._wait()
            return promise()

        return wait

    def _step(self, action):
        if not self._watchdog:  # A context would take longer than all else here.
            return self._worker.step(action)
        with self._watched():
            return self._worker.step(action)

    def _wait(self):
        """Wait until the worker has something to say, but not for ever."""
        if self._worker.ready(0):
            return
        warned, stopped = False, None
        while not self._worker.ready(self._pause()):
            now = time.monotonic()
            passed = now - self._worker.since
            limit = self._tolerance.timeout
            if limit and passed >= limit:
                raise self._worker.error(f'it did not answer for {passed:.3g} s', Hangs)
            if self._tolerance.warn and passed >= self._tolerance.warn and not warned:
                warned = True
                self._tolerance.tell(late(self._worker, passed))
            if self._tolerance.stop:
                stopped = stopped or now
                if now - stopped >= STOP_SECONDS:
                    raise self._worker.error('it did not answer when the run was to end', Hangs)

    def _pause(self):
        """Seconds until there is something to do about a worker that says nothing."""
        passed = time.monotonic() - self._worker.since
        limits = (self._tolerance.warn, self._tolerance.timeout)
        return min([LOOK_SECONDS, *(x - passed for x in limits if x > passed)])

    def _recover(self, error):
        """The first observation of a new environment, if there may be another one."""
        while self._left and not (isinstance(error, Hangs) and self._tolerance.stop):
            self._left -= 1
            line = str(error).partition('\n')[0].rstrip('.')
            self._tolerance.tell(f'{line}, starting it again ({self._left} restarts left)')
            try:
                return self._restart(isinstance(error, Hangs))
            except worker.EnvError as e:
                error = e
        if self._restarts and not self._left:
            line, *details = str(error).split('\n', 1)
            line = f'{line.rstrip(".")} (after {self._restarts} restarts)'
            error = type(error)('\n'.join([line, *details]))
        raise error

    def _restart(self, hangs):
        old, spaces = self._worker, self._spaces
        try:
            old.close()
        except (Exception, SystemExit) as e:
            self._tolerance.tell(f'Closing it failed as well: {type(e).__name__}: {e}')
        old.join(0 if hangs else CLOSE_SECONDS)
        self._worker = self._make(old.steps)
        if key := differing(spaces, self.start()()):
            self._spaces = spaces
            raise self._worker.error(f'the space of {key!r} is another one than before')
        action = self._worker.reset_action(spaces[1])
        promise = self._step(action)
        self._wait()
        # Whatever the environment thinks: nothing of what follows belongs to what was before.
        return {**promise(), 'is_first': action['reset']}

    def _watched(self):
        return self._watchdog.watch(self._worker) if self._watchdog else UNWATCHED


class Watchdog:
    """Reports environments of this process that take long, from a thread of its own."""

    def __init__(self, tolerance: Tolerance):
        self._tolerance = tolerance
        self._current = None  # The worker that is busy, and since when.
        self._closed = threading.Event()
        threading.Thread(target=self._run, name='watchdog', daemon=True).start()

    @contextlib.contextmanager
    def watch(self, busy: worker.Worker):
        self._current = (busy, time.monotonic())
        try:
            yield
        finally:
            self._current = None

    def close(self) -> None:
        self._closed.set()

    def _run(self):
        told, limit = None, self._tolerance.warn
        while not self._closed.wait(min(LOOK_SECONDS, limit / 2)):
            current = self._current
            if current is None or current is told:
                continue
            busy, since = current
            if (passed := time.monotonic() - since) >= limit:
                told = current
                self._tolerance.tell(late(busy, passed))


def late(busy: worker.Worker, seconds: float) -> str:
    """Line about a worker that takes long."""
    where = f'at its step {busy.steps}' if busy.steps else 'while it is made'
    return f'{busy.name} has not answered {where} for {seconds:.3g} s'


def differing(spaces, others) -> str | None:
    """The first key in which two pairs of (obs_space, act_space) are not the same, if any."""
    for ours, theirs in zip(spaces, others, strict=True):
        for key in sorted(ours.keys() | theirs.keys()):
            if key not in ours or key not in theirs or not _equal(ours[key], theirs[key]):
                return key
    return None


def _equal(a, b):
    # Not a == b: elements.Space calls any two spaces equal.
    same = a.dtype == b.dtype and a.shape == b.shape
    return same and np.array_equal(a.low, b.low) and np.array_equal(a.high, b.high)
