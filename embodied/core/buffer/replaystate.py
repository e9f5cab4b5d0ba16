"""Saving a replay beside its chunk files, and filling one from them.

`restore` puts back the exact state of a save. `collect` makes a replay from whatever chunk files a
directory holds, newest first.
"""

import collections
import contextlib
import pathlib

import elements
import numpy as np

from .. import states
from ..system import npz
from . import chunk as chunklib
from . import chunkfiles, chunkstore, windows

MASK = windows.MASK


def cut(replay):
    """A function that writes all chunks as they are now and returns what the files do not tell.

    Positions are stored as `number in the list of chunks << 32 | index`.
    """
    chunks = [x for x in replay.chunks.values() if x.length]
    replay.store.cut(chunks, replay.apart)
    numbers = {x.base >> 32: number for number, x in enumerate(chunks)}
    oldest, items = replay.items.save()
    queue = np.array([x for x in replay.queue if x >> 32 in numbers], np.int64)
    streams = [
        (worker, x.chunk.id.value.hex(), np.array(x.waiting, np.int64), x.count)
        for worker, x in replay.streams.items()
    ]
    kind, selector = type(replay.selector).__name__, states.cut(replay.selector)
    spec = {k: [str(d), list(s)] for k, (d, s) in (replay.spec or {}).items()}
    fixed = {'length': replay.length, 'spec': spec, 'apart': sorted(replay.apart)}

    def write():
        return {
            **fixed,
            'chunks': replay.store.save(),
            'oldest': oldest,
            'items': _renumber(items, numbers),
            'queue': _renumber(queue, numbers),
            'streams': [
                {'worker': a, 'chunk': b, 'waiting': _renumber(c, numbers), 'count': d}
                for a, b, c, d in streams
            ],
            'selector': {kind: selector()},
        }

    return write


def restore(replay, data: dict) -> bool:
    """Put back the state of a save. False if this replay cannot hold it as it was."""
    if replay.items or replay.streams:
        raise ValueError(f'Replay {replay.name} must be empty to load a save')
    if data['length'] != replay.length:
        elements.print(
            f'Replay {replay.name} was saved with length {data["length"]} and has length '
            f'{replay.length} now: its steps are loaded in the order of their files.'
        )
        return False
    if replay.store is None:
        raise ValueError(f'Replay {replay.name} needs its directory to load a save')
    replay.spec = {k: (np.dtype(d), tuple(s)) for k, (d, s) in data['spec'].items()} or None
    replay.apart = set(data['apart'])
    chunks = replay.store.load(data['chunks'], replay.spec, replay.apart)
    chunks = [x and _accept(replay, x) for x in chunks]
    if replay.spec:
        replay.fit()
    bases = np.full(len(chunks), -1, np.int64)
    for number, chunk in enumerate(chunks):
        if chunk:
            replay.register(chunk)
            bases[number] = chunk.base
    streams = _open_streams(replay, data['streams'])
    _link(replay, [x for x in chunks if x])
    counts = np.array([count_windows(replay, x) if x else 0 for x in chunks], np.int64)
    _restore_items(replay, data, bases, counts)
    _restore_waiting(replay, streams, data['streams'], bases)
    queue = _translate(data['queue'], bases, counts)
    replay.queue = collections.deque(queue[queue >= 0].tolist())
    # One of another kind than the saved one begins anew.
    kind = type(replay.selector).__name__
    if data['selector'].get(kind):
        replay.selector.load(data['selector'][kind])
    _drop_unused(replay)
    while replay.capacity and len(replay) > replay.capacity:
        replay.remove()
    replay.store.clear(data['chunks'])
    _tell_unknown(replay)
    return True


def collect(replay, directory, amount=None) -> None:
    """Load the newest chunk files of a directory until `amount` windows are there.

    Windows go in from the oldest on. Streams and online queue start anew.
    """
    directory = pathlib.Path(str(directory)).expanduser()
    amount = amount or replay.capacity or np.inf
    paths = chunkfiles.scan(directory, log=True) + chunkfiles.scan(directory / 'unsaved')
    paths = sorted(paths, key=lambda x: x.name, reverse=True)
    values = chunkfiles.scan_values(directory)
    store = replay.store or chunkstore.ChunkStore(directory)
    if replay.spec is None:
        _guess_spec(replay, paths, values)
    found, total = [], 0
    for path in paths:
        if total >= amount:
            break
        chunk = chunkfiles.read_chunk(path)
        if chunk and chunk.id.value in replay.chunks:
            chunkfiles.warn(path, ValueError('a newer chunk has the same id'))
        elif chunk:
            store.adopt(chunk, path, values.get(str(chunk.id), []), replay.spec, replay.apart)
            if _accept(replay, chunk):
                replay.register(chunk)
                found.append(chunk)
                total += count_windows(replay, chunk)
            else:
                store.forget(chunk, discard=False)
    _link(replay, found)
    # Those with windows are held by these from here on; the rest is dropped at the end.
    for chunk in reversed(found):
        for index in range(count_windows(replay, chunk)):
            chunk.refs += 1
            replay.insert(chunk.base + index)
    _drop_unused(replay)


def count_windows(replay, chunk) -> int:
    """How many windows start in a chunk, given the steps behind it that are there."""
    total, needed = chunk.length, chunk.length + replay.length - 1
    current = chunk
    while total < needed:
        current = replay.chunks.get(current.successor.value)
        if current is None or not current.length:
            break
        total += current.length
    return min(max(0, total - replay.length + 1), chunk.length)


def _accept(replay, chunk):
    """The chunk if its keys, types and shapes are those of the replay, else None."""
    if replay.spec is None or chunk.spec == replay.spec:
        return chunk
    keys = [k for k in {**replay.spec, **chunk.spec} if replay.spec.get(k) != chunk.spec.get(k)]
    have, want = chunk.spec.get(keys[0]), replay.spec.get(keys[0])
    have, want = ('missing' if x is None else f'{x[0]} {x[1]}' for x in (have, want))
    chunkfiles.warn(chunk.filename, ValueError(f'key {keys[0]} is {have}, not {want}'))
    return None


def _guess_spec(replay, paths, values, votes=15):
    """The spec of most of the newest files, so that one odd file does not decide."""
    common = {}
    newest = sorted((x[0] for x in values.values()), key=lambda x: x.stat().st_mtime_ns)
    for kind, files in (('values', newest[::-1]), ('chunks', paths)):
        specs = []
        for path in files[:votes]:
            with contextlib.suppress(OSError, ValueError):
                columns = npz.read(path) if kind == 'values' else chunklib.Chunk.load(path).columns
                specs.append({k: (v.dtype, v.shape[1:]) for k, v in columns.items()})
        common[kind] = max(specs, key=specs.count) if specs else {}
    replay.apart = set(common['values'])
    replay.spec = {**common['chunks'], **common['values']}
    replay.spec.pop('stepid', None)
    if replay.spec:
        replay.fit()
    else:
        replay.spec = None


def _open_streams(replay, saved):
    streams = []
    for entry in saved:
        stream = replay.open_stream(entry['worker'], elements.UUID(bytes.fromhex(entry['chunk'])))
        stream.count = entry['count']
        streams.append(stream)
    return streams


def _link(replay, chunks):
    """Let every chunk hold its successor."""
    for chunk in chunks:
        successor = replay.chunks.get(chunk.successor.value)
        if successor is not None:
            successor.refs += 1


def _restore_items(replay, data, bases, counts):
    positions = _translate(data['items'], bases, counts)
    replay.items.load(data['oldest'], positions)
    for key, position in replay.items.pairs():
        replay.serials[position >> 32].refs += 1
        replay.selector[key] = windows.stepids(replay, position)


def _restore_waiting(replay, streams, saved, bases):
    """Waiting positions from which the stream reaches its open chunk without a gap."""
    for stream, entry in zip(streams, saved, strict=True):
        for position in _translate(entry['waiting'], bases).tolist():
            chunk = replay.serials.get(position >> 32)
            start = chunk
            while chunk is not None and chunk is not stream.chunk:
                chunk = replay.chunks.get(chunk.successor.value)
            if chunk is not None:
                start.refs += 1
                stream.waiting.append(position)


def _drop_unused(replay):
    """Take chunks without any window out of memory; their files stay."""
    for chunk in list(replay.chunks.values()):
        if not chunk.refs and chunk.id.value in replay.chunks:
            replay.release(chunk, discard=False)


def _tell_unknown(replay):
    paths = chunkfiles.scan(replay.store.directory, log=True)
    known = {x.path for x in replay.store.entries.values()}
    if unknown := [x for x in paths if x not in known]:
        elements.print(
            f'Left alone {len(unknown)} files in {replay.store.directory} that are not part of '
            f'the save, the newest is {unknown[0].name}'
        )


def _renumber(positions, numbers):
    """Positions by serial number -> positions by number in the list of chunks."""
    positions = np.array(positions, np.int64).reshape(-1)
    lookup = np.full(max(numbers, default=-1) + 2, -1, np.int64)
    lookup[list(numbers.keys())] = list(numbers.values())
    return np.where(positions < 0, -1, lookup[positions >> 32] << 32 | positions & MASK)


def _translate(positions, bases, counts=None):
    """Positions by number in the list of chunks -> positions here, -1 for what is lost."""
    positions = np.asarray(positions, np.int64)
    number, index = positions >> 32, positions & MASK
    bases = np.append(bases, -1)
    lost = (positions < 0) | (bases[number] < 0)
    if counts is not None:
        lost |= index >= np.append(counts, 0)[number]
    return np.where(lost, -1, bases[number] + index)
