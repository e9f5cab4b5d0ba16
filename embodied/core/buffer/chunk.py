"""A chunk: up to `size` consecutive steps of one worker, one preallocated array per key.

Chunks form an endless stream by naming their successor. On disk a chunk is a `.npz` file, called
`<utc time>-<id>-<id of the successor>-<length>.npz`.
"""

import datetime
import math
import pathlib
import re
import threading

import elements
import numpy as np

from ..system import files, npz

FILENAME = re.compile(r'(\d{8}T\d{6}F\d{6})-([0-9A-Za-z]{1,22})-([0-9A-Za-z]{1,22})-(\d{1,9})\.npz')
NOTHING = elements.UUID(0)


class Chunk:
    """Steps of one worker in the order they came.

    `spec`, a dict of (dtype, shape) by key, fixes what a step holds; without it the first step
    does. The column `stepid` (20,) is filled in here: the id of the chunk, then the index of the
    step as 4 big-endian bytes.
    """

    def __init__(self, size: int = 1024, spec: dict | None = None, id=None):
        now = datetime.datetime.now(datetime.UTC)
        self.time = elements.timestamp(now, millis=True)
        self.id = elements.UUID() if id is None else id
        self.successor = NOTHING
        self.size = size
        self.length = 0
        self.columns = {}
        # How often `update` has changed something. A writer compares the version it wrote.
        self.version = 0
        # Kept by the replay: how many things refer to the chunk, and the position of its start.
        self.refs = 0
        self.base = 0
        self._lock = threading.Lock()
        self._frozen = []
        self._slots = []
        if spec is not None:
            self._allocate(spec)

    def __repr__(self):
        return f'Chunk({self.filename})'

    @property
    def filename(self) -> str:
        return f'{self.time}-{self.id}-{self.successor}-{self.length}.npz'

    @property
    def nbytes(self) -> int:
        return sum(x.nbytes for x in self.columns.values())

    @property
    def spec(self) -> dict:
        """Key -> (dtype, shape) of one step."""
        return {k: (v.dtype, v.shape[1:]) for k, v in self.columns.items() if k != 'stepid'}

    def append(self, step: dict) -> None:
        """Add a step, a dict of arrays. Keys that begin with `log/` are left out.

        Raises ValueError where keys, shapes or kinds of numbers differ from the first step.
        """
        assert self.length < self.size, self
        if not self.columns:
            self._allocate(spec_of(step))
        index = self.length
        try:
            if len(step) != len(self._slots):
                raise KeyError
            for key, column, dtype, shape in self._slots:
                value = step[key]
                if value.shape != shape or (value.dtype is not dtype and value.dtype != dtype):
                    raise TypeError
                column[index] = value
        except (KeyError, AttributeError, TypeError):
            for key, value in conform(step, self.spec).items():
                self.columns[key][index] = value
        self.length = index + 1

    def update(self, index: int, length: int, mapping: dict) -> None:
        """Overwrite the steps from `index` on, `length` of them, for the keys in `mapping`."""
        assert index >= 0 and index + length <= self.length, (index, length, self.length)
        with self._lock:
            for frozen in self._frozen:
                frozen._keep(mapping, index, index + length)
            for key, value in mapping.items():
                self.columns[key][index : index + length] = value
            self.version += 1

    def renew(self, spec: dict) -> None:
        """Let the columns of a spec begin with zeros, whether they are there or not."""
        with self._lock:
            zeros = {k: np.zeros((self.size, *shape), d) for k, (d, shape) in spec.items()}
            self.columns = {**self.columns, **zeros}
            if self._slots:
                self._open()
            self.version += 1

    def slice(self, index: int, length: int) -> dict:
        """Views of the steps from `index` on, `length` of them."""
        assert index >= 0 and index + length <= self.length, (index, length, self.length)
        return {k: v[index : index + length] for k, v in self.columns.items()}

    def close(self) -> None:
        """No step follows."""
        self.size = self.length
        self._slots = []

    def trim(self) -> None:
        """Free the room that a closed chunk had kept for more steps. Takes a copy of the others."""
        with self._lock:
            if any(len(x) > self.size for x in self.columns.values()):
                self.columns = {k: v[: self.size].copy() for k, v in self.columns.items()}

    def freeze(self, keys) -> 'Frozen':
        """The values of some columns as they are now, whatever updates do to them later."""
        with self._lock:
            frozen = Frozen(self, keys)
            self._frozen.append(frozen)
        return frozen

    def save(self, directory, log: bool = False) -> pathlib.Path:
        """Write the chunk into a directory, at once and durably. Raises OSError naming the file."""
        path = pathlib.Path(directory) / self.filename
        frozen = self.freeze(self.columns)
        files.replace(path, npz.pack(frozen.values()))
        frozen.release()
        files.sync_folder(path.parent)
        if log:
            elements.print(f'Saved chunk: {path.name}')
        return path

    @classmethod
    def load(cls, filename, error: str = 'raise'):
        """Read a chunk file. One that is damaged is a ValueError, or None if `error` is 'none'."""
        assert error in ('raise', 'none'), error
        path = pathlib.Path(filename)
        try:
            time, id, successor, length = parse(path.name)
            columns = npz.read(path)
            if 'stepid' not in columns:
                raise ValueError('key stepid is missing')
            lengths = {k: len(v) if v.ndim else 0 for k, v in columns.items()}
            wrong = [k for k, n in lengths.items() if n != length]
            if wrong:
                raise ValueError(f'key {wrong[0]} has length {lengths[wrong[0]]}, not {length}')
        except (OSError, ValueError) as e:
            if error == 'none':
                return None
            raise ValueError(f'{path}: {npz.describe(e)}') from e
        chunk = cls(length, id=id)
        chunk.time, chunk.successor, chunk.length = time, successor, length
        chunk.columns = {**columns, 'stepid': stepids(id, length)}
        return chunk

    def _allocate(self, spec):
        self.columns = {k: np.empty((self.size, *s), d) for k, (d, s) in spec.items()}
        self.columns['stepid'] = stepids(self.id, self.size)
        self._open()

    def _open(self):
        """Prepare for steps to come."""
        columns = {k: v for k, v in self.columns.items() if k != 'stepid'}
        self._slots = [(k, v, v.dtype, v.shape[1:]) for k, v in columns.items()]


class Frozen:
    """Values of some columns of a chunk at one moment, without a copy of them.

    Updates of the chunk first keep the rows that they overwrite here, until `release()`.
    """

    def __init__(self, chunk, keys):
        self.chunk = chunk
        self.keys = list(keys)
        self.length = chunk.length
        self.version = chunk.version
        self._kept = {}  # key -> rows that were overwritten since, and which these are

    def values(self) -> dict:
        """Copies of the columns."""
        with self.chunk._lock:
            columns = {k: self.chunk.columns[k][: self.length].copy() for k in self.keys}
            for key, (old, kept) in self._kept.items():
                columns[key][kept] = old[kept]
        return columns

    def release(self) -> None:
        """The values are not needed any more. May be called more than once."""
        with self.chunk._lock:
            self.chunk._frozen = [x for x in self.chunk._frozen if x is not self]
            self._kept = {}

    def _keep(self, keys, start, stop):
        for key in self.keys:
            if key in keys:
                column = self.chunk.columns[key][: self.length]
                if key not in self._kept:
                    # Memory that is never written to takes no room.
                    self._kept[key] = np.empty_like(column), np.zeros(self.length, bool)
                old, kept = self._kept[key]
                new = start + np.flatnonzero(~kept[start:stop])
                old[new] = column[new]
                kept[start:stop] = True


def parse(name: str) -> tuple:
    """Time, id, successor and length in the name of a chunk file, or ValueError."""
    match = FILENAME.fullmatch(name)
    if not match:
        raise ValueError('the name is not that of a chunk file')
    time, id, successor, length = match.groups()
    if int(length) < 1:
        raise ValueError('the name says that the chunk is empty')
    try:
        return time, elements.UUID(id), elements.UUID(successor), int(length)
    except OverflowError as e:
        raise ValueError('the name holds an id that is out of range') from e


def stepids(id, length: int) -> np.ndarray:
    """Ids (length, 20) of the steps of a chunk."""
    ids = np.empty((length, 20), np.uint8)
    ids[:, :16] = np.frombuffer(id.value, np.uint8)
    ids[:, 16:] = np.arange(length, dtype='>u4')[:, None].view(np.uint8)
    return ids


def spec_of(step: dict) -> dict:
    """Key -> (dtype, shape) of a step. Types that NumPy lacks (bfloat16) are kept as float32."""
    spec = {}
    for key, value in step.items():
        if key == 'stepid' or key.startswith('log/'):
            continue
        value = np.asarray(value)
        dtype = value.dtype
        if dtype.kind == 'V' and not dtype.names and np.can_cast(dtype, np.float32):
            dtype = np.dtype(np.float32)
        if dtype.kind not in 'biufc':
            raise ValueError(f'Replay stores numbers, but key {key} of the step is {dtype}')
        spec[key] = (dtype.newbyteorder('='), value.shape)
    if not spec:
        raise ValueError('Replay was given a step without any key')
    return spec


def step_bytes(spec: dict) -> int:
    """Bytes that a step of a spec takes in columns."""
    return 20 + sum(np.dtype(d).itemsize * math.prod(shape) for d, shape in spec.values())


def conform(step: dict, spec: dict) -> dict:
    """The step as arrays of the spec, or ValueError saying what differs."""
    step = {k: v for k, v in step.items() if k != 'stepid' and not k.startswith('log/')}
    if set(step) != set(spec):
        raise ValueError(
            'Keys of the step differ from those in the replay: '
            f'missing {sorted(set(spec) - set(step))}, unknown {sorted(set(step) - set(spec))}'
        )
    result = {}
    for key, (dtype, shape) in spec.items():
        value = np.asarray(step[key])
        if value.shape != shape:
            raise ValueError(
                f'Key {key} of the step has shape {value.shape}, but the replay holds {shape}'
            )
        if not np.can_cast(value.dtype, dtype, 'same_kind'):
            raise ValueError(
                f'Key {key} of the step has type {value.dtype}, but the replay holds {dtype}'
            )
        result[key] = value.astype(dtype)
    return result
