"""A tree of sums that draws keys in proportion to their weight, in logarithmic time.

Keys sit in the leaves; every node above holds the sum of its `branching` children, always summed
anew, so that rounding errors do not pile up. The levels are arrays, so many weights change at once.
"""

import itertools

import numpy as np

from .. import states


class SampleTree:
    """Keys with unnormalised probabilities `uprob` >= 0.

    Infinite weights come first: while there are any, the draw is uniform among them. If all
    weights are zero the draw is uniform among all.
    """

    def __init__(self, branching: int = 16, seed: int = 0):
        if branching < 2:
            raise ValueError(f'branching is {branching}, it must be 2 or more')
        self.rng = np.random.default_rng(seed)
        self.finite = Sums(branching)
        self.infinite = Sums(branching)
        self.keys = []
        self.slots = {}

    def __len__(self):
        return len(self.keys)

    def __contains__(self, key):
        return key in self.slots

    def __getitem__(self, key) -> float:
        slot = self.slots[key]
        return float('inf') if self.infinite[slot] else self.finite[slot]

    def insert(self, key, uprob: float) -> None:
        assert key not in self.slots, key
        self.slots[key] = len(self.keys)
        self.keys.append(key)
        self.update(key, uprob)

    def remove(self, key) -> None:
        """Remove a key; the last one takes its slot."""
        slot, last = self.slots.pop(key), self.keys.pop()
        if slot < len(self.keys):
            self.keys[slot] = last
            self.slots[last] = slot
            for sums in (self.finite, self.infinite):
                sums.set([slot, len(self.keys)], [sums[len(self.keys)], 0.0])
        else:
            self.finite.set([slot], [0.0])
            self.infinite.set([slot], [0.0])

    def update(self, key, uprob: float) -> None:
        self.update_many([key], [uprob])

    def update_many(self, keys, uprobs) -> None:
        """Set the weights (n,) of n keys that are there."""
        uprobs = np.asarray(uprobs, np.float64)
        if not (uprobs >= 0).all():
            raise ValueError(f'weights must be 0 or more, but they are {uprobs}')
        slots = [self.slots[key] for key in keys]
        isinf = np.isinf(uprobs)
        self.finite.set(slots, np.where(isinf, 0.0, uprobs))
        self.infinite.set(slots, isinf.astype(np.float64))

    def sample(self):
        """Draw a key."""
        if not self.keys:
            raise ValueError('cannot sample from an empty tree')
        if self.infinite.total > 0:
            slot = self.infinite.find(self.rng.random())
        elif self.finite.total > 0:
            slot = self.finite.find(self.rng.random())
        else:
            slot = self.rng.integers(0, len(self.keys))
        return self.keys[slot]

    def save(self) -> dict:
        return self.cut()()

    def cut(self):
        """A function that returns what `save` would have returned."""
        rng, keys = states.save_rng(self.rng), states.cut_keys(self.keys)
        return lambda: {'rng': rng, 'keys': keys()}

    def load(self, data: dict) -> None:
        """Take over the random state, and the slots for the keys that are here."""
        states.load_rng(self.rng, data['rng'])
        keys = states.load_keys(self.slots, data['keys'])
        weights = [self[key] for key in keys]
        self.keys = keys
        self.slots = {key: slot for slot, key in enumerate(keys)}
        if keys:
            self.update_many(keys, weights)


class Sums:
    """Non-negative numbers by slot, with the sums of `branching` slots, of those, and so on."""

    def __init__(self, branching):
        self.branching = branching
        self._build(np.zeros(branching))

    def __getitem__(self, slot):
        return float(self.levels[0][slot])

    @property
    def total(self):
        return float(self.levels[-1].sum())

    def set(self, slots, values):
        slots = np.asarray(slots)
        size = len(self.levels[0])
        while slots.max() >= size:
            size *= 2
        if size > len(self.levels[0]):
            self._build(np.concatenate([self.levels[0], np.zeros(size - len(self.levels[0]))]))
        self.levels[0][slots] = values
        for lower, upper in itertools.pairwise(self.levels):
            slots = np.unique(slots // self.branching)
            upper[slots] = lower.reshape(-1, self.branching)[slots].sum(1)

    def find(self, fraction):
        """The slot at a fraction in [0, 1) of the total, never one that holds 0."""
        slot = 0
        for level in reversed(self.levels):
            start = slot * self.branching
            sums = level[start : start + self.branching].cumsum()
            target = fraction * sums[-1]
            inner = sums.searchsorted(target, side='right')
            # Rounding may put the target on the upper end: take the last child that is not 0.
            inner = min(int(inner), int(sums.searchsorted(sums[-1])))
            below = sums[inner - 1] if inner else 0.0
            fraction = min((target - below) / (sums[inner] - below), 1.0)
            slot = start + inner
        return slot

    def _build(self, leaves):
        """Levels above the leaves; each has a multiple of `branching` entries."""
        self.levels = [leaves]
        while len(self.levels[-1]) > self.branching:
            sums = self.levels[-1].reshape(-1, self.branching).sum(1)
            self.levels.append(np.concatenate([sums, np.zeros(-len(sums) % self.branching)]))
