"""Streams: endless iterators of batches (dicts of NumPy arrays) with a position to save.

    replay.sample -> Stateless -> Consec -> Map(to device) -> train

A stream is `live` if its next batch depends on when it is asked, as that of a replay does, or that
of anything around one. A position holds numbers, strings and, where batches were read but not
handed out yet, their arrays. Going to it continues with exactly the batches that would have come.
"""

import collections
import concurrent.futures
import functools
import queue
import threading
import weakref

import numpy as np

from . import base, states


class Stateless(base.Stream):
    """Calls a function for every batch. What state it has, as a replay does, is saved elsewhere."""

    live = True

    def __init__(self, nextfn, *args, **kwargs):
        if not callable(nextfn):
            nextfn = nextfn.__next__
        self.nextfn = functools.partial(nextfn, *args, **kwargs)

    def __next__(self):
        return self.nextfn()

    def save(self):
        return None

    def load(self, data):
        pass


class Map(base.Stream):
    """Applies `fn(batch, *args, **kwargs)` to every batch."""

    def __init__(self, source, fn, *args, **kwargs):
        self.source = source
        self.fn = lambda batch: fn(batch, *args, **kwargs)
        self.live = is_live(source)

    def __next__(self):
        return self.fn(next(self.source))

    def save(self):
        return self.source.save()

    def load(self, data):
        self.source.load(data)


class Zip(base.Stream):
    """A list with the next batch of every source."""

    def __init__(self, sources):
        self.sources = list(sources)
        self.live = any(is_live(x) for x in self.sources)

    def __next__(self):
        return [next(x) for x in self.sources]

    def save(self):
        return [x.save() for x in self.sources]

    def load(self, data):
        for source, state in zip(self.sources, data, strict=True):
            source.load(state)


class Mixer(base.Stream):
    """The next batch of one source, drawn by weight. Sources and weights are dicts or lists."""

    def __init__(self, sources, weights, seed: int = 0):
        self.sources = _named(sources)
        weights = _named(weights)
        if set(self.sources) != set(weights):
            raise ValueError(
                f'sources {list(self.sources)} and weights {list(weights)} must have the same names'
            )
        weights = np.array([weights[name] for name in self.sources], np.float64)
        if not (weights >= 0).all() or not 0 < weights.sum() < np.inf:
            raise ValueError(f'weights must be 0 or more and not all 0, but they are {weights}')
        self.sums = (weights / weights.sum()).cumsum()
        self.rng = np.random.default_rng(seed)
        self.live = any(is_live(x) for x in self.sources.values())

    def __next__(self):
        target = self.rng.random() * self.sums[-1]
        index = int(self.sums.searchsorted(target, side='right'))
        return next(list(self.sources.values())[index])

    def save(self):
        sources = {name: x.save() for name, x in self.sources.items()}
        return {'rng': states.save_rng(self.rng), 'sources': sources}

    def load(self, data):
        states.load_rng(self.rng, data['rng'])
        for name, source in self.sources.items():
            source.load(data['sources'][name])


class Consec(base.Stream):
    """Cuts windows (B, consec * length + prefix) into `consec` consecutive batches.

    Each has `prefix + length` steps and begins `length` after the one before; the key `consec`,
    int32 (B, prefix + length), counts them from 0. With `strict` a window must have exactly the
    right length, otherwise steps that are left over at its end are dropped. With `contiguous` the
    batches own their memory, else they are views.
    """

    def __init__(self, source, length, consec, prefix=0, strict=True, contiguous=False):
        if length < 1 or consec < 1 or prefix < 0:
            raise ValueError(
                f'length ({length}) and consec ({consec}) must be 1 or more, and prefix ({prefix}) '
                '0 or more'
            )
        self.source = source
        self.length = length
        self.consec = consec
        self.prefix = prefix
        self.strict = strict
        self.contiguous = contiguous
        self.live = is_live(source)
        self.window = None
        self.index = 0

    def __next__(self):
        if self.index == 0:
            self.window = next(self.source)
            self._check(self.window)
        start = self.index * self.length
        stop = start + self.prefix + self.length
        batch = {k: v[:, start:stop] for k, v in self.window.items()}
        if self.contiguous:
            batch = {k: np.ascontiguousarray(v) for k, v in batch.items()}
        rows = len(next(iter(batch.values())))
        batch['consec'] = np.full((rows, stop - start), self.index, np.int32)
        self.index = (self.index + 1) % self.consec
        return batch

    def save(self):
        window = self.window if self.index else None
        return {'source': self.source.save(), 'index': self.index, 'window': window}

    def load(self, data):
        self.source.load(data['source'])
        self.index = data['index']
        self.window = data['window']

    def _check(self, window):
        need = self.consec * self.length + self.prefix
        for key, value in window.items():
            steps = value.shape[1]
            if steps < need or (self.strict and steps > need):
                raise ValueError(
                    f'Key {key} of the window has {steps} steps, but {self.consec} batches of '
                    f'length {self.length} with a prefix of {self.prefix} take {need}'
                )


class Prefetch(base.Stream):
    """Prepares `amount` batches ahead, with `transform(batch)` in a background thread.

    The thread reads a source too, unless it is live: a live source is read while a batch is handed
    out, in the thread of the caller. So what a replay gives depends on the number of batches, not
    on the speed of threads, and runs with equal seeds are equal.

    An error of the source or the transform is raised by the `__next__` whose batch it is. The saved
    position is that behind the last batch handed out: of a live source the batches read ahead are
    saved themselves, before the transform, which must not change their arrays; of another source
    the position it had then, where it can save. The thread ends with `close()` or the program.
    """

    def __init__(self, source, transform=None, amount: int = 1):
        if amount < 0:
            raise ValueError(f'amount is {amount}, it must be 0 or more')
        self.source = source
        self.transform = transform
        self.amount = amount
        self.live = is_live(source)
        self.jobs = collections.deque()
        self.position = None
        self.started = False
        self.requests = queue.SimpleQueue()
        self.thread = threading.Thread(
            target=_work, args=(self.requests,), name='prefetch', daemon=True
        )
        # The thread knows the queue only, so it also ends when the stream is forgotten.
        self.stop = weakref.finalize(self, self.requests.put, None)

    def __next__(self):
        if not self.stop.alive:
            raise ValueError('This prefetch stream is closed')
        self._start()
        while len(self.jobs) <= self.amount:
            self._request(_Job(self.source, self.transform))
        job = self.jobs.popleft()
        result = job.result.result()
        self.position = job.position
        return result

    def save(self):
        if self.live:
            pending = [x.batch for x in self.jobs if x.pulled]
            return {'source': _save(self.source), 'pending': pending}
        return {'source': self.position if self.started else _save(self.source), 'pending': []}

    def load(self, state):
        concurrent.futures.wait([x.result for x in self.jobs])
        self.jobs.clear()
        if state['source'] is not None:
            self.source.load(state['source'])
        self.position = state['source']
        self._start()
        for batch in state['pending']:
            job = _Job(self.source, self.transform)
            job.batch, job.pulled = batch, True
            self._request(job)

    def close(self) -> None:
        """End the thread, after the batch in progress. May be called more than once."""
        self.stop()
        if self.thread.is_alive():
            self.thread.join(timeout=10)

    def _start(self):
        if not self.started:
            if self.position is None:
                self.position = _save(self.source)
            self.started = True
            self.thread.start()

    def _request(self, job):
        if self.live and not job.pulled:
            job.pull()
        self.jobs.append(job)
        self.requests.put(job)


class _Job:
    """One batch on its way: read from the source, then transformed."""

    def __init__(self, source, transform):
        self.source = source
        self.transform = transform
        self.result = concurrent.futures.Future()
        self.batch = None
        self.position = None
        self.pulled = False

    def pull(self):
        try:
            self.batch = next(self.source)
            self.pulled = True
        except BaseException as e:
            self.result.set_exception(e)

    def run(self):
        if self.result.done():
            return
        try:
            if not self.pulled:
                self.batch = next(self.source)
                self.position = _save(self.source)
            batch = self.batch
            if self.transform:
                batch = self.transform(dict(batch) if isinstance(batch, dict) else batch)
            self.result.set_result(batch)
        except BaseException as e:
            self.result.set_exception(e)


def is_live(source) -> bool:
    """Whether the next batch depends on when it is asked for."""
    return getattr(source, 'live', False)


def _work(requests):
    while (job := requests.get()) is not None:
        job.run()
        # Otherwise the last batch would live until the next one is asked for.
        del job


def _save(source):
    """The position of a source, None if it has none."""
    try:
        return source.save()
    except (AttributeError, NotImplementedError):
        return None


def _named(values):
    return dict(values) if hasattr(values, 'items') else dict(enumerate(values))
