"""Which item of the replay is drawn next.

A selector holds keys. It is filled by `selector[key] = stepids`, with the ids (L, 20) of the steps
of the item, emptied by `del selector[key]`, and `selector()` draws a key. `save()` gives the random
state and the order of the keys, on which draws depend; `load(data)` takes them over for the keys
that are here, so the keys are put back first. `cut()` takes no time, also for millions of keys, and
returns a function that makes what `save()` would have returned. A key may be any hashable value.
"""

import collections

import numpy as np

from . import states
from .buffer import sampletree


class Selector:
    """A selector that can be saved."""

    def save(self):
        return self.cut()()


class Fifo(Selector):
    """Always the oldest key."""

    def __init__(self):
        self.keys = collections.OrderedDict()

    def __len__(self):
        return len(self.keys)

    def __call__(self):
        return next(iter(_filled(self.keys)))

    def __setitem__(self, key, stepids):
        assert key not in self.keys, key
        self.keys[key] = None

    def __delitem__(self, key):
        del self.keys[key]

    def cut(self):
        keys = states.cut_keys(self.keys)
        return lambda: {'keys': keys()}

    def load(self, data):
        keys = states.load_keys(self.keys, data['keys'])
        self.keys = collections.OrderedDict.fromkeys(keys)


class Uniform(Selector):
    """Every key with equal probability."""

    def __init__(self, seed: int = 0):
        self.rng = np.random.default_rng(seed)
        self.keys = []
        self.slots = {}

    def __len__(self):
        return len(self.keys)

    def __call__(self):
        return self.keys[self.rng.integers(0, len(_filled(self.keys)))]

    def __setitem__(self, key, stepids):
        assert key not in self.slots, key
        self.slots[key] = len(self.keys)
        self.keys.append(key)

    def __delitem__(self, key):
        # The last key takes the free slot.
        slot, last = self.slots.pop(key), self.keys.pop()
        if slot < len(self.keys):
            self.keys[slot] = last
            self.slots[last] = slot

    def cut(self):
        rng, keys = states.save_rng(self.rng), states.cut_keys(self.keys)
        return lambda: {'rng': rng, 'keys': keys()}

    def load(self, data):
        states.load_rng(self.rng, data['rng'])
        self.keys = states.load_keys(self.slots, data['keys'])
        self.slots = {key: slot for slot, key in enumerate(self.keys)}


class Recency(Selector):
    """A key of age n (0 is the newest) with a probability proportional to `uprobs[n]`.

    Keys older than there are entries in `uprobs` are not drawn. Fast where the oldest key is
    removed, as a replay does; any other removal costs time in proportion to the number of keys.
    """

    def __init__(self, uprobs, seed: int = 0):
        uprobs = np.asarray(uprobs, np.float64)
        if uprobs.ndim != 1 or not len(uprobs) or not (uprobs >= 0).all() or not uprobs[0] > 0:
            raise ValueError(
                'uprobs must be a list of numbers of 0 or more that begins with a positive one, '
                f'but it is {uprobs}'
            )
        self.sums = uprobs.cumsum()
        self.rng = np.random.default_rng(seed)
        self.keys = collections.OrderedDict()
        # The keys by age, oldest first, behind `start` slots that are already free.
        self.order = []
        self.start = 0

    def __len__(self):
        return len(self.keys)

    def __call__(self):
        last = min(len(_filled(self.keys)), len(self.sums)) - 1
        target = self.rng.random() * self.sums[last]
        age = min(int(self.sums.searchsorted(target, side='right')), last)
        return self.order[-1 - age]

    def __setitem__(self, key, stepids):
        assert key not in self.keys, key
        self.keys[key] = None
        self.order.append(key)

    def __delitem__(self, key):
        del self.keys[key]
        if self.order[self.start] == key:
            self.order[self.start] = None
            self.start += 1
            if self.start > len(self.order) // 2:
                del self.order[: self.start]
                self.start = 0
        else:
            del self.order[self.order.index(key, self.start)]

    def cut(self):
        rng, keys = states.save_rng(self.rng), states.cut_keys(self.keys)
        return lambda: {'rng': rng, 'keys': keys()}

    def load(self, data):
        states.load_rng(self.rng, data['rng'])
        self.order = states.load_keys(self.keys, data['keys'])
        self.keys = collections.OrderedDict.fromkeys(self.order)
        self.start = 0


class Prioritized(Selector):
    """A key with a probability that follows the priorities `p` of its steps.

    Its mass is `maxfrac max(p^exponent) + (1 - maxfrac) mean(p^exponent)`. Steps start with the
    priority `initial`; infinite means that what was never prioritised comes first. With
    `zero_on_sample` the steps of a drawn key get priority 0 until new ones arrive.
    """

    def __init__(
        self,
        exponent: float = 1.0,
        initial: float = 1.0,
        zero_on_sample: bool = False,
        maxfrac: float = 0.0,
        branching: int = 16,
        seed: int = 0,
    ):
        if exponent < 0 or not initial >= 0:
            raise ValueError(
                f'exponent ({exponent}) and initial ({initial}) of priorities must be 0 or more'
            )
        if not 0 <= maxfrac <= 1:
            raise ValueError(f'maxfrac is {maxfrac}, it must be between 0 and 1')
        self.exponent = exponent
        self.initial = initial
        self.zero_on_sample = zero_on_sample
        self.maxfrac = maxfrac
        self.tree = sampletree.SampleTree(branching, seed)
        self.items = {}  # key -> ids of its steps
        self.steps = {}  # id of a step -> keys of the items it belongs to
        self.scaled = {}  # id of a step -> p^exponent, where one was set

    def __len__(self):
        return len(self.items)

    def __call__(self):
        key = self.tree.sample()
        if self.zero_on_sample:
            self._set(self.items[key], np.zeros(len(self.items[key])))
        return key

    def __setitem__(self, key, stepids):
        ids = _ids(stepids)
        self.items[key] = ids
        for step in ids:
            self.steps.setdefault(step, []).append(key)
        self.tree.insert(key, self._mass(ids))

    def __delitem__(self, key):
        self.tree.remove(key)
        for step in self.items.pop(key):
            keys = self.steps[step]
            keys.remove(key)
            if not keys:
                del self.steps[step]
                self.scaled.pop(step, None)

    def prioritize(self, stepids, priorities) -> None:
        """Set the priorities (N,) of steps (N, 20); steps that are no longer here are ignored."""
        priorities = np.asarray(priorities, np.float64).reshape(-1)
        if not (priorities >= 0).all():
            raise ValueError(f'priorities must be 0 or more, but they are {priorities}')
        self._set(_ids(stepids), priorities)

    def _set(self, ids, priorities):
        changed = {}
        for step, value in zip(ids, (priorities**self.exponent).tolist(), strict=True):
            if step in self.steps:
                self.scaled[step] = value
                changed.update(dict.fromkeys(self.steps[step]))
        if changed:
            self.tree.update_many(changed, [self._mass(self.items[key]) for key in changed])

    def _mass(self, ids):
        default = self.initial**self.exponent
        values = [self.scaled.get(step, default) for step in ids]
        mass = 0.0
        # A part without weight is left out, as 0 times infinity is not a number.
        if self.maxfrac > 0:
            mass += self.maxfrac * max(values)
        if self.maxfrac < 1:
            mass += (1 - self.maxfrac) * sum(values) / len(values)
        return mass

    def cut(self):
        """Of the random state, order of the keys, and the priorities that were set."""
        tree, steps, scaled = self.tree.cut(), list(self.scaled), list(self.scaled.values())

        def make():
            ids = steps
            if all(type(step) is bytes and len(step) == 20 for step in steps):
                ids = np.frombuffer(b''.join(steps), np.uint8).reshape(-1, 20)
            return {'tree': tree(), 'steps': ids, 'scaled': np.array(scaled, np.float64)}

        return make

    def load(self, data):
        self.scaled = {
            step: value
            for step, value in zip(_ids(data['steps']), data['scaled'].tolist(), strict=True)
            if step in self.steps
        }
        if self.items:
            self.tree.update_many(self.items, [self._mass(ids) for ids in self.items.values()])
        self.tree.load(data['tree'])


class Mixture(Selector):
    """First one of several selectors, with a probability of its fraction, then a key of it.

    `selectors` and `fractions` are dicts with the same names; a fraction of 0 leaves one out.
    """

    def __init__(self, selectors: dict, fractions: dict, seed: int = 0):
        if set(selectors) != set(fractions):
            raise ValueError(
                f'selectors {sorted(selectors)} and fractions {sorted(fractions)} must have the '
                'same names'
            )
        if min(fractions.values()) < 0 or not np.isclose(sum(fractions.values()), 1):
            raise ValueError(f'fractions must be 0 or more and sum to 1, but they are {fractions}')
        self.selectors = {name: x for name, x in selectors.items() if fractions[name]}
        self.sums = np.cumsum([fractions[name] for name in self.selectors])
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return len(next(iter(self.selectors.values())))

    def __call__(self):
        target = self.rng.random() * self.sums[-1]
        index = int(self.sums.searchsorted(target, side='right'))
        return list(self.selectors.values())[index]()

    def __setitem__(self, key, stepids):
        for selector in self.selectors.values():
            selector[key] = stepids

    def __delitem__(self, key):
        for selector in self.selectors.values():
            del selector[key]

    def prioritize(self, stepids, priorities) -> None:
        """Hand priorities to the selectors that use them."""
        for selector in self.selectors.values():
            if hasattr(selector, 'prioritize'):
                selector.prioritize(stepids, priorities)

    def cut(self):
        rng = states.save_rng(self.rng)
        parts = {name: states.cut(x) for name, x in self.selectors.items()}
        return lambda: {'rng': rng, 'selectors': {name: x() for name, x in parts.items()}}

    def load(self, data):
        states.load_rng(self.rng, data['rng'])
        for name, selector in self.selectors.items():
            # One that has come in since the save keeps its own state.
            if name in data['selectors']:
                selector.load(data['selectors'][name])


def _filled(keys):
    if not keys:
        raise ValueError('cannot draw from a selector without keys')
    return keys


def _ids(stepids):
    """Ids as hashable values: rows of bytes (N, 20) become bytes, other values stay."""
    if isinstance(stepids, np.ndarray) and stepids.ndim > 1:
        rows = np.ascontiguousarray(stepids).reshape(-1, stepids.shape[-1])
        return rows.view(f'V{rows.shape[1]}').ravel().tolist()
    return list(stepids)
