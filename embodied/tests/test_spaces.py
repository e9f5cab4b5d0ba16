"""Spaces come back from JSON as they were."""

import json

import elements
import numpy as np
import pytest

from embodied.core import spaces

SPACES = {
    'image': elements.Space(np.uint8, (4, 4, 3)),
    'vector': elements.Space(np.float32, (3,)),
    'mixed': elements.Space(np.float32, (2,), np.array([-1, -np.inf]), np.array([1, 5.0])),
    'matrix': elements.Space(np.float32, (2, 2), -1, np.array([[1, 2], [3, np.inf]])),
    'keys': elements.Space(np.int32, (3,), 0, np.array([2, 3, 4])),
    'choice': elements.Space(np.int32, (), -1, 5),
    'flag': elements.Space(bool),
    'flags': elements.Space(bool, (4,)),
    'small': elements.Space(np.uint16),
}


@pytest.mark.parametrize('key', SPACES)
def test_round_trip(key):
    want = SPACES[key]
    got = spaces.load(json.loads(json.dumps(spaces.save({key: want}), allow_nan=False)))[key]
    assert (got.dtype, got.shape, got.discrete) == (want.dtype, want.shape, want.discrete)
    np.testing.assert_array_equal(got.low, want.low)
    np.testing.assert_array_equal(got.high, want.high)
    if want.discrete:
        np.testing.assert_array_equal(got.classes, want.classes)


def test_equal_bounds_are_one_number():
    assert spaces.save({'image': SPACES['image']})['image']['high'] == 255
    assert spaces.save({'vector': SPACES['vector']})['vector']['high'] is None


GOOD = {'dtype': 'float32', 'shape': [2], 'low': 0, 'high': 1}


@pytest.mark.parametrize(
    'data',
    [
        None,
        [],
        {'a': 3},
        {'a': {}},
        {'a': {**GOOD, 'more': 1}},
        {'a': {**GOOD, 'dtype': 'O'}},
        {'a': {**GOOD, 'dtype': 'nonsense'}},
        {'a': {**GOOD, 'shape': 'xy'}},
        {'a': {**GOOD, 'shape': [-1]}},
        {'a': {**GOOD, 'low': [0, 1, 2]}},
        {'a': {**GOOD, 'low': 'x'}},
    ],
)
def test_other_data_is_told(data):
    with pytest.raises(ValueError, match='These are not spaces: '):
        spaces.load(data)
