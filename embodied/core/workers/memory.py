"""Arrays in memory that two processes share. It has no name, so it cannot outlive them.

One process makes the memory and hands its file descriptor to the other; both map it by the same
spaces. Who may write when is up to them.
"""

import mmap
import os
import tempfile

import numpy as np

ALIGN = 64  # Bytes of a cache line.


def create() -> int:
    """A file descriptor of new memory, to be closed once it is mapped."""
    if hasattr(os, 'memfd_create'):
        return os.memfd_create('embodied')
    with tempfile.TemporaryFile() as f:
        return os.dup(f.fileno())


def attach(fd: int, *groups: dict) -> list[dict]:
    """Arrays for the spaces of each group, which are zero at first. Closes the file descriptor.

    Spaces without a fixed size, such as texts, have none.
    """
    size, offsets = 0, []
    for spaces in groups:
        offsets.append({})
        for key, space in spaces.items():
            if fixed(space):
                offsets[-1][key] = size
                size += -(-_nbytes(space) // ALIGN) * ALIGN
    os.ftruncate(fd, max(size, 1))
    buffer = mmap.mmap(fd, max(size, 1))  # It lives as long as the arrays do.
    os.close(fd)
    return [
        {k: np.ndarray(spaces[k].shape, spaces[k].dtype, buffer, i) for k, i in places.items()}
        for spaces, places in zip(groups, offsets, strict=True)
    ]


def fixed(space) -> bool:
    """Whether all values of a space have the same size."""
    return np.dtype(space.dtype).kind in 'biuf'


def _nbytes(space):
    return int(np.prod(space.shape, dtype=np.int64)) * np.dtype(space.dtype).itemsize
