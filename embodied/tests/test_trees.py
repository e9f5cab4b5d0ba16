"""Nested data come back from JSON and safetensors exactly, in value and in type."""

import collections
import json
import math

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy

from embodied.core import trees
from embodied.core.system import files


def round_trip(tree, tmp_path):
    data, arrays = trees.split(tree, 'part')
    text = json.dumps(data, allow_nan=False)
    files.put(tmp_path / 'x.safetensors', trees.tensor_file(arrays))
    return trees.join(json.loads(text), trees.read_tensors(tmp_path / 'x.safetensors'))


def same(a, b):
    assert type(a) is type(b), (a, b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, np.ndarray | np.generic):
        assert a.dtype == b.dtype
        assert a.dtype.byteorder == b.dtype.byteorder
        assert a.shape == b.shape
        assert a.tobytes() == b.tobytes()
    else:
        assert a == b or repr(a) == repr(b)
        assert math.copysign(1, a) == math.copysign(1, b) if a == 0 else True


@pytest.mark.parametrize(
    'tree',
    [
        None,
        True,
        0,
        -(2**63),
        2**200,
        -(10**5000),
        0.1,
        -0.0,
        5e-324,
        float('nan'),
        float('inf'),
        float('-inf'),
        '',
        'text "quoted"\n\ud800 \u00e9 $dict',
        [],
        (),
        {},
        [[], [()], {'a': ()}],
        (1, (2.5, [None, (True,)])),
        {'$array': 1, 'b': {'$dict': []}},
        {1: 'a', None: 'b', (2, 'x'): 'c', False: 'd', 'z': 1},
        {'a/b': np.zeros(2), 'a': {'b': np.ones(3)}},
        {'rng': np.random.default_rng(0).bit_generator.state},
        np.float32(1.5),
        np.int64(-3),
        np.bool_(True),
        ml_dtypes.bfloat16(2.5),
        np.array(3.0),
        np.zeros((0, 3), np.float32),
        np.arange(12).reshape(3, 4).T,
        np.arange(12)[::-2],
        np.arange(3, dtype='>f4'),
        np.array([1 + 2j, np.nan]),
        np.array([np.nan, np.inf, -0.0], np.float16),
        np.zeros((0, 2), ml_dtypes.bfloat16),
        np.array(1.5, ml_dtypes.bfloat16),
    ],
    ids=lambda x: type(x).__name__,
)
def test_round_trip(tree, tmp_path):
    same(round_trip(tree, tmp_path), tree)


@pytest.mark.parametrize(
    'dtype',
    ['bool', 'u1', 'u2', 'u4', 'u8', 'i1', 'i2', 'i4', 'i8', 'f2', 'f4', 'f8', 'c8', 'c16']
    + ['bfloat16', 'float8_e4m3fn'],
)
def test_types_of_arrays(dtype, tmp_path):
    array = np.random.default_rng(0).integers(0, 2, (5, 3)).astype(np.dtype(dtype))
    same(round_trip({'x': array}, tmp_path), {'x': array})


def test_arrays_can_be_changed(tmp_path):
    got = round_trip([np.zeros(3), np.zeros(3, ml_dtypes.bfloat16)], tmp_path)
    for array in got:
        array[0] = 1


@pytest.mark.parametrize(
    'value',
    [
        object(),
        b'bytes',
        {1, 2},
        collections.OrderedDict(a=1),
        np.array(['text']),
        np.array([object()]),
        np.zeros(2, [('a', np.int32)]),
        np.datetime64('2020-01-01'),
        1j,
    ],
    ids=lambda x: type(x).__name__,
)
def test_foreign_types_name_the_path(value):
    with pytest.raises(ValueError, match='part/a/1/b'):
        trees.split({'a': [0, {'b': value}]}, 'part')


def test_file_is_readable_for_others(tmp_path):
    arrays = {'a/b': np.arange(6, dtype=np.float32).reshape(2, 3), 'n': np.array(True)}
    files.put(tmp_path / 'x.safetensors', trees.tensor_file(arrays))
    got = safetensors.numpy.load_file(tmp_path / 'x.safetensors')
    assert set(got) == set(arrays)
    for key, value in arrays.items():
        same(got[key], value)


def test_type_that_is_not_registered():
    with pytest.raises(ValueError, match='type strange7 is unknown here, import ml_dtypes'):
        trees.join({'$array': 'x', 'dtype': 'strange7', 'shape': [1]}, {'x': np.zeros(1, np.uint8)})
