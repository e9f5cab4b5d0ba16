"""Spaces as plain data, which is JSON, so that what was trained on them knows them again."""

import elements
import numpy as np

KINDS = 'biuf'


def save(spaces: dict[str, elements.Space]) -> dict:
    """Type, shape and bounds by name.

    A bound is a number where it is the same everywhere, else a list; an infinite one is None.
    """
    return {
        key: {
            'dtype': space.dtype.name,
            'shape': list(space.shape),
            'low': _bound(space.low),
            'high': _bound(space.high),
        }
        for key, space in spaces.items()
    }


def load(data: dict) -> dict[str, elements.Space]:
    """The inverse of `save`. ValueError of one line for anything else."""
    try:
        return {str(key): _load(**value) for key, value in data.items()}
    except (TypeError, ValueError, AttributeError, AssertionError, OverflowError) as e:
        text = ' '.join(str(e).split()) or type(e).__name__
        raise ValueError(f'These are not spaces: {text}') from None


def _bound(values):
    values = np.asarray(values)
    same = (values == values.flat[0]).all()
    return _finite(values.flat[0].item() if same else values.tolist())


def _finite(value):
    if isinstance(value, list):
        return [_finite(x) for x in value]
    return value if np.isfinite(value) else None


def _load(dtype, shape, low, high):
    dtype = np.dtype(dtype)
    if dtype.kind not in KINDS:
        raise ValueError(f'type {dtype}')
    low, high = _fill(low, -np.inf), _fill(high, np.inf)
    return elements.Space(dtype, tuple(map(int, shape)), low, high)


def _fill(bound, missing):
    """The bound with numbers for None."""
    values = np.asarray(bound)
    if values.dtype.kind in KINDS:
        return values
    return np.where(np.equal(values, None), missing, values).astype(np.float64)
