"""Windows of steps across the ends of chunks: read for a batch, written by an update.

A position is one integer, `serial << 32 | index`, with the serial number of a chunk in the replay.
"""

import numpy as np

MASK = (1 << 32) - 1


def gather(replay, positions) -> dict:
    """The windows at some positions as arrays (B, length, ...), with the ids of their steps."""
    parts = [
        (row, offset, offset + amount, chunk.columns, index, index + amount)
        for row, position in enumerate(positions)
        for offset, chunk, index, amount in segments(replay, position)
    ]
    spec = {**replay.spec, 'stepid': (np.uint8, (20,))}
    data = {}
    for key, (dtype, shape) in spec.items():
        data[key] = column = np.empty((len(positions), replay.length, *shape), dtype)
        for row, start, stop, columns, first, last in parts:
            column[row, start:stop] = columns[key][first:last]
    return data


def stepids(replay, position: int) -> np.ndarray:
    """Ids (length, 20) of the steps of the window at a position."""
    parts = [c.columns['stepid'][i : i + n] for _, c, i, n in segments(replay, position)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def segments(replay, position: int):
    """The stretches (offset, chunk, index, number of steps) of the window at a position."""
    chunk, index = replay.serials[position >> 32], position & MASK
    offset = 0
    while True:
        amount = min(chunk.length - index, replay.length - offset)
        if amount:
            yield offset, chunk, index, amount
        offset += amount
        if offset == replay.length:
            return
        chunk, index = replay.chunks[chunk.successor.value], 0


def write(replay, stepid: bytes, values: dict) -> None:
    """Write values (T, ...) over those of consecutive steps, as far as these are still there."""
    chunk = replay.chunks.get(stepid[:16])
    index = int.from_bytes(stepid[16:], 'big')
    amount = len(next(iter(values.values())))
    offset = 0
    while chunk is not None and offset < amount:
        steps = min(chunk.length - index, amount - offset)
        if steps > 0:
            part = {k: v[offset : offset + steps] for k, v in values.items()}
            chunk.update(index, steps, part)
            offset += steps
        chunk, index = replay.chunks.get(chunk.successor.value), 0


def check(replay, stepid, data) -> None:
    """ValueError if values (B, T, ...) do not fit what the replay holds of the steps (B, T, 20)."""
    if stepid.ndim != 3 or stepid.shape[-1] != 20 or stepid.dtype != np.uint8:
        raise ValueError(f'stepid must be uint8 (B, T, 20), not {stepid.dtype} {stepid.shape}')
    for key, value in data.items():
        if key not in (replay.spec or {}):
            raise ValueError(f'Key {key} of the update is not in the replay')
        dtype, shape = replay.spec[key]
        if value.shape != (expected := stepid.shape[:2] + shape):
            raise ValueError(
                f'Key {key} of the update has shape {value.shape}, it must be {expected}'
            )
        if not np.can_cast(value.dtype, dtype, 'same_kind'):
            raise ValueError(f'Key {key} of the update has type {value.dtype}, it must be {dtype}')
