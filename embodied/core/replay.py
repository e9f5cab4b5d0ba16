"""Replay: windows of fixed length over the endless streams of many workers.

    worker steps -> chunks -> items (start positions) -> selector -> batches (B, L, ...)

An item is a position where a window of `length` steps starts; windows cross the ends of episodes
and of chunks. A position is one integer, `serial << 32 | index`, with the serial number of a chunk
in this replay. A chunk lives while an item, a waiting position, an open stream or a living
predecessor refers to it. Files are the business of `chunkstore`.
"""

import collections
import threading

import elements
import numpy as np

from . import limiters, selectors
from .buffer import chunk as chunklib
from .buffer import chunkstore, replaystate, windows
from .buffer import items as itemlib

ITEM_BYTES = 160  # Memory for what is known about a window, besides its steps.
# Names of threads of this package that never add a step.
BACKGROUND = ('chunks', 'prefetch', 'save', 'watchdog')


def fitting(step_bytes: int, ram_gb: float) -> int:
    """Windows whose steps fit into memory, with a tenth for chunks that are not full."""
    return int(ram_gb * 1e9 / 1.1 / (step_bytes + ITEM_BYTES))


class Stream:
    """The open chunk of one worker, and its positions that wait for `length` steps behind them."""

    def __init__(self, chunk):
        self.chunk = chunk
        self.waiting = collections.deque()
        self.count = 0  # windows completed so far


class Replay:
    """Stores steps of any number of workers and samples windows of `length` steps.

        replay = Replay(length=65, capacity=1_000_000, directory='logdir/replay')
        replay.add({'image': image, 'reward': reward, ...}, worker=0)
        batch = replay.sample(16)        # dict of arrays (16, 65, ...)
        replay.update({'stepid': batch['stepid'], 'dyn/deter': deter})

    `capacity` counts windows, `ram_gb` the memory of their steps (0 = no limit); at the first of
    both the oldest goes. `online` serves every fresh stretch of steps once in training before
    anything is drawn by the `selector` (uniform by default). With a `directory`, chunks of
    `chunksize` steps are written in the background, or at once with `save_wait`. They leave memory
    and disk as a whole, so with a number of `workers` they are made smaller where that would hold
    more than a tenth above the capacity. All methods may be called from several threads.
    """

    def __init__(
        self,
        length: int,
        capacity: int | None = None,
        directory=None,
        chunksize: int = 1024,
        online: bool = False,
        selector=None,
        save_wait: bool = False,
        name: str = 'unnamed',
        seed: int = 0,
        ram_gb: float = 0,
        workers: int = 0,
    ):
        capacity = int(capacity) if capacity else None
        if length < 1 or chunksize < 1:
            raise ValueError(f'length ({length}) and chunksize ({chunksize}) must be 1 or more')
        if capacity is not None and capacity < length:
            raise ValueError(f'capacity ({capacity}) must not be smaller than length ({length})')
        self.length = length
        self.capacity = capacity
        self.chunksize = chunksize
        self.online = online
        self.ram_gb = ram_gb
        self.workers = workers
        self.selector = selectors.Uniform(seed) if selector is None else selector
        self.name = name
        self.spec = None
        self.apart = set()  # Keys that have ever been updated; they have files of their own.
        self.compared = False  # A step with the spec, since that was made or loaded.
        self.store = chunkstore.ChunkStore(directory, save_wait) if directory else None
        self.chunks = {}  # id as bytes -> chunk
        self.serials = {}  # serial number -> chunk
        self.next_serial = 0
        self.streams = {}  # worker -> stream
        self.items = itemlib.Items()
        self.queue = collections.deque()  # positions of fresh windows
        self.queue_limit = 1024
        self.metrics = collections.Counter()
        self.lock = threading.RLock()

    def __len__(self):
        return len(self.items)

    def stats(self) -> dict:
        """Sizes now, and counts since the last call."""
        with self.lock:
            metrics, self.metrics = self.metrics, collections.Counter()
            stats = {
                'items': len(self.items),
                'chunks': len(self.chunks),
                'streams': len(self.streams),
                'ram_gb': sum(x.nbytes for x in self.chunks.values()) / 1024**3,
                'inserts': metrics['inserts'],
                'samples': metrics['samples'],
                'updates': metrics['updates'],
            }
            if metrics['inserts']:
                stats['replay_ratio'] = self.length * metrics['samples'] / metrics['inserts']
        return {k: float(v) for k, v in stats.items()}

    def add(self, step: dict, worker=0) -> None:
        """Append a step, a dict of arrays without batch, to the stream of a worker.

        Raises ValueError if its keys, shapes or kinds of numbers differ from the first step.
        """
        with self.lock:
            if not self.compared:
                self._compare(step)
            stream = self.streams.get(worker)
            if stream is None:
                chunklib.conform(step, self.spec)
                stream = self.open_stream(worker)
            chunk = stream.chunk
            chunk.append(step)
            stream.waiting.append(chunk.base + chunk.length - 1)
            chunk.refs += 1
            if chunk.length == chunk.size:
                self._complete(stream)
            if len(stream.waiting) >= self.length:
                self._finish_window(stream)

    def sample(self, batch: int, mode: str = 'train') -> dict:
        """Draw windows: a dict of arrays (batch, length, ...) with the ids `stepid` (..., 20).

        `is_first` is set on the first step of each window, and `is_last` before every `is_first`
        inside. Waits while there is no window, and says so.
        """
        if batch < 1:
            raise ValueError(f'Replay was asked for a batch of {batch}, it must be 1 or more')
        self._wait()
        with self.lock:
            positions = [self._draw(mode) for _ in range(batch)]
            self.metrics['samples'] += batch
            data = windows.gather(self, positions)
        if 'is_first' in data:
            data['is_first'][:, 0] = True
            if 'is_last' in data:
                data['is_last'][:, :-1] |= data['is_first'][:, 1:]
        return data

    def update(self, data: dict) -> None:
        """Write values (B, T, ...) over those of stored steps, row by row.

        A row goes to consecutive steps from its first `stepid` (B, T, 20) on; rows whose steps are
        no longer here are ignored. The key `priority` (B, T) goes to the selector.
        """
        data = {k: np.asarray(v) for k, v in data.items()}
        stepid = data.pop('stepid')
        priority = data.pop('priority', None)
        windows.check(self, stepid, data)
        with self.lock:
            self.apart.update(data)
            self.metrics['updates'] += stepid.shape[0]
            if priority is not None and hasattr(self.selector, 'prioritize'):
                self.selector.prioritize(stepid.reshape(-1, 20), priority.reshape(-1))
            if data:
                for row, ids in enumerate(stepid):
                    windows.write(self, ids[0].tobytes(), {k: v[row] for k, v in data.items()})

    def save(self) -> dict | None:
        """Write all chunks, durably, and return what `load` needs beside the files.

        The data are numbers, strings and arrays. Without a directory there are none. Raises OSError
        naming the file that could not be written; saving may be tried again then.
        """
        data = self.cut()()
        if self.store is not None:
            self.store.settle()
        return data

    def cut(self):
        """The first half of a save, which takes no time: returns a function that does the rest.

        That is called once in any thread and returns the data of `save`; `committed` or `abandoned`
        follow. What is added and updated meanwhile is not part of the save.
        """
        if self.store is None:
            return lambda: None
        with self.lock:
            for stream in self.streams.values():
                if stream.chunk.length:
                    self._complete(stream, write=False)
            return replaystate.cut(self)

    def committed(self) -> None:
        """Tell that the data of the last `cut` are safe: files that only older ones needed go."""
        if self.store is not None:
            self.store.committed()

    def abandoned(self) -> None:
        """Tell that the data of the last `cut` are lost."""
        if self.store is not None:
            self.store.abandoned()

    def load(self, data: dict | None = None, directory=None, amount: int | None = None) -> None:
        """Fill the replay from disk.

        With the data of `save`, everything is as it was then: order of the items, online queue,
        open streams and random state. Without, the newest chunks of the directory (default: its
        own) are read until `amount` windows are there, by default the capacity.
        A file that cannot be used costs that chunk and one printed line.
        """
        folder = directory or (self.store and self.store.directory)
        if not folder:
            return
        with self.lock:
            if data is None or not replaystate.restore(self, data):
                replaystate.collect(self, folder, amount)
            self.compared = False
            self.metrics.clear()

    def insert(self, position: int) -> None:
        """Make a position an item, after removing the oldest ones at capacity."""
        while self.capacity and len(self.items) >= self.capacity:
            self.remove()
        self.selector[self.items.append(position)] = windows.stepids(self, position)

    def remove(self) -> None:
        """Remove the oldest item."""
        key, position = self.items.pop()
        del self.selector[key]
        self.release(self.serials[position >> 32])

    def fit(self) -> None:
        """Bring capacity and size of chunks into what the spec allows, once that is known."""
        if self.ram_gb:
            steps = max(self.length, fitting(chunklib.step_bytes(self.spec), self.ram_gb))
            self.capacity = min(self.capacity or steps, steps)
        if self.capacity and self.workers:
            self.chunksize = max(1, min(self.chunksize, self.capacity // (10 * self.workers)))

    def register(self, chunk) -> None:
        """Take in a chunk. Its `refs` count what keeps it alive."""
        chunk.base = self.next_serial << 32
        chunk.refs = 0
        self.chunks[chunk.id.value] = chunk
        self.serials[self.next_serial] = chunk
        self.next_serial += 1

    def release(self, chunk, discard: bool = True) -> None:
        """Drop one reference to a chunk; without any it is freed, and then what it referred to.

        Unless `discard`, its files stay.
        """
        chunk.refs -= 1
        while chunk is not None and chunk.refs <= 0:
            del self.chunks[chunk.id.value]
            del self.serials[chunk.base >> 32]
            if self.store is not None:
                self.store.forget(chunk, discard)
            chunk = self.chunks.get(chunk.successor.value)
            if chunk is not None:
                chunk.refs -= 1

    def open_stream(self, worker, id=None) -> Stream:
        """Begin the stream of a worker with an empty chunk."""
        stream = self.streams[worker] = Stream(self._open_chunk(id))
        return stream

    def _open_chunk(self, id=None):
        chunk = chunklib.Chunk(self.chunksize, self.spec, id)
        self.register(chunk)
        chunk.refs += 1
        return chunk

    def _compare(self, step):
        """Take the spec from a step. Keys apart may change it, then their values begin anew."""
        spec = chunklib.spec_of(step)
        if self.spec is None:
            self.spec = spec
            self.fit()
        other = lambda k: spec[k][0].kind != self.spec[k][0].kind or spec[k][1] != self.spec[k][1]
        if changed := sorted(k for k in self.apart & set(spec) & set(self.spec) if other(k)):
            changes = {k: spec[k] for k in changed}
            for chunk in self.chunks.values():
                chunk.renew(changes)
            self.spec |= changes
            text = ', '.join(f'{k} is {d} {s}' for k, (d, s) in changes.items())
            elements.print(f'Replay {self.name}: {text} now, its values begin anew', color='yellow')
        self.compared = True

    def _complete(self, stream, write=True):
        """Close the chunk of a stream and open its successor."""
        chunk, successor = stream.chunk, self._open_chunk()
        chunk.successor = successor.id
        chunk.close()
        # The reference of the stream goes from one to the other; the successor gets one more.
        successor.refs += 1
        stream.chunk = successor
        if write and self.store is not None:
            self.store.write(chunk, self.apart)
        self.release(chunk)

    def _finish_window(self, stream):
        position = stream.waiting.popleft()
        self.insert(position)
        self.metrics['inserts'] += 1
        # The first window of a stream is left out, as in the published program.
        if self.online and stream.count and (stream.count - 1) % self.length == 0:
            self._enqueue(position)
        stream.count += 1

    def _enqueue(self, position):
        self.queue.append(position)
        if len(self.queue) > self.queue_limit:
            # Nobody samples: keep only what could still be served.
            alive = [x for x in self.queue if x >> 32 in self.serials]
            self.queue = collections.deque(alive)
            self.queue_limit = max(1024, 2 * len(alive))

    def _draw(self, mode):
        if mode == 'train':
            while self.queue:
                position = self.queue.popleft()
                if position >> 32 in self.serials:
                    return position
        return self.items[self.selector()]

    def _wait(self):
        if self.items:
            return
        others = [x for x in threading.enumerate() if not x.name.startswith(BACKGROUND)]
        if not set(others) - {threading.current_thread()}:
            raise ValueError(
                f'Replay {self.name} was asked for a sample but holds no window of {self.length} '
                'steps, and no other thread could add one'
            )
        limiters.wait(lambda: len(self.items), f'Replay {self.name} holds no window yet')
