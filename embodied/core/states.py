"""Random states and orders of keys as plain data, for everything here that is saved."""

import numpy as np


def save_rng(rng: np.random.Generator) -> dict:
    return rng.bit_generator.state


def load_rng(rng: np.random.Generator, state: dict) -> None:
    rng.bit_generator.state = state


def cut(part):
    """A function that returns what `part.save()` would return now, or None if it cannot save.

    Parts with much to save have a quick `cut()` that does this.
    """
    if hasattr(part, 'cut'):
        return part.cut()
    data = part.save() if hasattr(part, 'save') else None
    return lambda: data


def cut_keys(keys):
    """The same for keys in their order, see `save_keys`."""
    keys = list(keys)
    return lambda: save_keys(keys)


def save_keys(keys):
    """The keys in order: an int64 array if all are integers, which is small on disk."""
    keys = list(keys)
    # In parts, as other threads wait while one is made.
    parts = [np.asarray(keys[i : i + 10_000]) for i in range(0, len(keys), 10_000)]
    whole = parts and all(x.dtype == np.int64 for x in parts)
    return np.concatenate(parts) if whole else keys


def load_keys(present, saved) -> list:
    """The keys of `present` in their saved order; those that were not saved come last."""
    saved = saved.tolist() if isinstance(saved, np.ndarray) else saved
    order = [key for key in saved if key in present]
    known = set(order)
    return order + [key for key in present if key not in known]
