"""Random states and orders of keys as plain data, for everything here that is saved."""

import numpy as np


def save_rng(rng: np.random.Generator) -> dict:
    return rng.bit_generator.state


def load_rng(rng: np.random.Generator, state: dict) -> None:
    rng.bit_generator.state = state


def save_keys(keys):
    """The keys in order: an int64 array if all are integers, which is small on disk."""
    keys = list(keys)
    array = np.asarray(keys) if keys and all(type(x) is int for x in keys[:100]) else None
    return array if array is not None and array.dtype == np.int64 else keys


def load_keys(present, saved) -> list:
    """The keys of `present` in their saved order; those that were not saved come last."""
    saved = saved.tolist() if isinstance(saved, np.ndarray) else saved
    order = [key for key in saved if key in present]
    known = set(order)
    return order + [key for key in present if key not in known]
