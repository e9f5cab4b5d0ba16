"""The windows of a replay by age, small enough for millions and quick to copy."""

import array

import numpy as np


class Items:
    """Positions by key. Keys count up, and the oldest goes first.

    A key may be without a position, which counts for nothing.
    """

    def __init__(self):
        # Positions by key, oldest first, -1 for none, behind `start` that have gone.
        self.positions = array.array('q')
        self.start = 0
        self.first = 0  # key of positions[0]
        self.count = 0

    def __len__(self):
        return self.count

    def __iter__(self):
        return (key for key, _ in self.pairs())

    def __getitem__(self, key):
        return self.positions[key - self.first]

    @property
    def oldest(self) -> int:
        """The oldest key, or the next one if there is none."""
        return self.first + self.start

    def values(self):
        return (position for _, position in self.pairs())

    def pairs(self):
        """Keys and positions, oldest first."""
        positions = self.positions[self.start :]
        return ((k, x) for k, x in enumerate(positions, self.oldest) if x >= 0)

    def append(self, position: int) -> int:
        """Add a position and return its key."""
        self.positions.append(position)
        self.count += position >= 0
        return self.first + len(self.positions) - 1

    def pop(self) -> tuple[int, int]:
        """Remove the oldest; returns key and position."""
        while self.positions[self.start] < 0:
            self.start += 1
        key, position = self.oldest, self.positions[self.start]
        self.start += 1
        self.count -= 1
        if self.start > 1024 + len(self.positions) // 2:
            del self.positions[: self.start]
            self.first, self.start = key + 1, 0
        return key, position

    def save(self) -> tuple[int, np.ndarray]:
        """The oldest key, and the positions from there on, -1 for none."""
        return self.oldest, np.array(self.positions[self.start :], np.int64)

    def load(self, oldest: int, positions) -> None:
        """Take over what `save` gave."""
        self.positions = array.array('q', np.asarray(positions, np.int64).tobytes())
        self.first, self.start = oldest, 0
        self.count = int((np.asarray(positions) >= 0).sum())
