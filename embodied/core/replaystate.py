"""Saving a replay beside its chunk files, and filling one from them.

`restore` puts back the exact state of a save. `collect` makes a replay from whatever chunk files a
directory holds, newest first.
"""

import collections
import contextlib
import pathlib

import elements
import numpy as np

from . import chunk as chunklib
from . import chunkstore

MASK = (1 << 32) - 1


def save(replay) -> dict:
    """Write all chunks and return what the files do not tell.

    Positions are stored as `number in the list of chunks << 32 | index`.
    """
    chunks = [x for x in replay.chunks.values() if x.length]
    names = replay.store.save(chunks)
    numbers = {x.base >> 32: number for number, x in enumerate(chunks)}
    kind = type(replay.selector).__name__
    selector = {kind: replay.selector.save()} if hasattr(replay.selector, 'save') else {}
    return {
        'length': replay.length,
        'spec': {k: [str(d), list(s)] for k, (d, s) in (replay.spec or {}).items()},
        'chunks': names,
        'oldest': replay.oldest,
        'items': _renumber(_dense(replay), numbers),
        'queue': _renumber([x for x in replay.queue if x >> 32 in numbers], numbers),
        'streams': [
            {
                'worker': worker,
                'chunk': stream.chunk.id.value.hex(),
                'waiting': _renumber(stream.waiting, numbers),
                'count': stream.count,
            }
            for worker, stream in replay.streams.items()
        ],
        'selector': selector,
    }


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
    chunks = [x and _accept(replay, x) for x in replay.store.load(data['chunks'])]
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
    if kind in data['selector']:
        replay.selector.load(data['selector'][kind])
    _drop_unused(replay)
    while replay.capacity and len(replay) > replay.capacity:
        replay.remove()
    replay.store.clear()
    _tell_unknown(replay)
    return True


def collect(replay, directory, amount=None) -> None:
    """Load the newest chunk files of a directory until `amount` windows are there.

    Windows go in from the oldest on. Streams and online queue start anew.
    """
    directory = pathlib.Path(str(directory)).expanduser()
    amount = amount or replay.capacity or np.inf
    paths = chunkstore.scan(directory, log=True) + chunkstore.scan(directory / 'unsaved')
    paths = sorted(paths, key=lambda x: x.name, reverse=True)
    updates = chunkstore.scan_updates(directory)
    store = replay.store or chunkstore.ChunkStore(directory)
    replay.spec = replay.spec or _common_spec(paths)
    found, total = [], 0
    for path in paths:
        if total >= amount:
            break
        chunk = chunkstore.read_chunk(path)
        if chunk and chunk.id.value in replay.chunks:
            chunkstore.warn(path, ValueError('a newer chunk has the same id'))
        elif chunk and _accept(replay, chunk):
            replay.register(chunk)
            store.adopt(chunk, path, updates.get(str(chunk.id), []))
            found.append(chunk)
            total += count_windows(replay, chunk)
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
    chunkstore.warn(chunk.filename, ValueError(f'key {keys[0]} is {have}, not {want}'))
    return None


def _common_spec(paths, votes=15):
    """The spec of most of the newest chunk files, so that one odd file does not decide."""
    specs = []
    for path in paths[:votes]:
        with contextlib.suppress(ValueError):
            specs.append(chunklib.Chunk.load(path).spec)
    return max(specs, key=specs.count) if specs else None


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
    for key, position in enumerate(positions.tolist(), start=data['oldest']):
        if position >= 0:
            replay.serials[position >> 32].refs += 1
            replay.put(key, position)
    replay.oldest = data['oldest']
    replay.next_key = data['oldest'] + len(positions)


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
    paths = chunkstore.scan(replay.store.directory, log=True)
    known = {x.path for x in replay.store.entries.values()}
    if unknown := [x for x in paths if x not in known]:
        elements.print(
            f'Left alone {len(unknown)} files in {replay.store.directory} that are not part of '
            f'the save, the newest is {unknown[0].name}'
        )


def _dense(replay):
    """Positions of all items by age, -1 where a key has none."""
    positions = np.full(replay.next_key - replay.oldest, -1, np.int64)
    keys = np.fromiter(replay.items.keys(), np.int64, len(replay.items))
    positions[keys - replay.oldest] = np.fromiter(
        replay.items.values(), np.int64, len(replay.items)
    )
    return positions


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
