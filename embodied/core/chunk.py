"""A chunk: up to `size` consecutive steps of one worker, one preallocated array per key.

Chunks form an endless stream by naming their successor. On disk a chunk is one `.npz` file (a zip
of plain arrays with a checksum each, never pickle), called
`<utc time>-<id>-<id of the successor>-<length>.npz`.
"""

import datetime
import io
import pathlib
import re
import threading
import zipfile

import elements
import numpy as np

from . import files

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
        # What `update` has changed, and how often. A writer compares the version it wrote.
        self.changed = set()
        self.version = 0
        # Kept by the replay: how many things refer to the chunk, and the position of its start.
        self.refs = 0
        self.base = 0
        self._lock = threading.Lock()
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
            for key, value in mapping.items():
                self.columns[key][index : index + length] = value
            self.changed.update(mapping)
            self.version += 1

    def slice(self, index: int, length: int) -> dict:
        """Views of the steps from `index` on, `length` of them."""
        assert index >= 0 and index + length <= self.length, (index, length, self.length)
        return {k: v[index : index + length] for k, v in self.columns.items()}

    def close(self) -> None:
        """No step follows: free the room that was kept for them."""
        if self.length < self.size:
            with self._lock:
                self.columns = {k: v[: self.length].copy() for k, v in self.columns.items()}
        self.size = self.length
        self._slots = []

    def pack(self, keys=None) -> tuple[int, list]:
        """Content of a file with all or some columns, as pieces of bytes, and its version."""
        keys = self.columns if keys is None else keys
        with self._lock:
            # A copy, so that updates may go on while it is written.
            return self.version, pack({k: self.columns[k][: self.length].copy() for k in keys})

    def save(self, directory, log: bool = False) -> pathlib.Path:
        """Write the chunk into a directory, at once and durably. Raises OSError naming the file."""
        path = pathlib.Path(directory) / self.filename
        files.replace(path, self.pack()[1])
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
            columns = read(path)
            if 'stepid' not in columns:
                raise ValueError('key stepid is missing')
            lengths = {k: len(v) if v.ndim else 0 for k, v in columns.items()}
            wrong = [k for k, n in lengths.items() if n != length]
            if wrong:
                raise ValueError(f'key {wrong[0]} has length {lengths[wrong[0]]}, not {length}')
        except (OSError, ValueError) as e:
            if error == 'none':
                return None
            raise ValueError(f'{path}: {describe(e)}') from e
        chunk = cls(length, id=id)
        chunk.time, chunk.successor, chunk.length = time, successor, length
        chunk.columns = {**columns, 'stepid': stepids(id, length)}
        return chunk

    def _allocate(self, spec):
        self.columns = {k: np.empty((self.size, *s), d) for k, (d, s) in spec.items()}
        self._slots = [(k, v, v.dtype, v.shape[1:]) for k, v in self.columns.items()]
        self.columns['stepid'] = stepids(self.id, self.size)


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


class Pieces(list):
    """What is written to it, one piece after the other, without a copy."""

    def write(self, data):
        self.append(data)
        return memoryview(data).nbytes

    def flush(self):
        pass


def pack(columns: dict) -> Pieces:
    """A zip file of arrays, as `np.savez` would write it."""
    pieces = Pieces()
    with zipfile.ZipFile(pieces, 'w', zipfile.ZIP_STORED) as archive:
        for key, column in columns.items():
            header = io.BytesIO()
            fields = np.lib.format.header_data_from_array_1_0(column)
            np.lib.format.write_array_header_1_0(header, fields)
            with archive.open(f'{key}.npy', 'w', force_zip64=True) as file:
                file.write(header.getvalue())
                file.write(column.reshape(-1).view(np.uint8).data)
    return pieces


def read(path) -> dict:
    """Arrays of a zip file, by key. Every kind of damage is a ValueError or an OSError."""
    columns = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.namelist():
                # The whole member is read first, as this checks it against its checksum.
                data = io.BytesIO(archive.read(member))
                array = np.lib.format.read_array(data, allow_pickle=False)
                columns[member.removesuffix('.npy')] = array
    except OSError:
        raise
    except Exception as e:
        # A damaged zip file raises a dozen kinds of errors, NotImplementedError among them.
        raise ValueError(f'damaged, {describe(e)}') from e
    return columns


def describe(error: Exception) -> str:
    """An error in one line."""
    text = getattr(error, 'strerror', None) or str(error) or type(error).__name__
    return ' '.join(text.split())
