"""Nested data as JSON plus named arrays, and back, exactly.

Numbers, strings, None, lists and dicts with plain keys stay readable JSON; whatever JSON lacks is a
dict with one key that begins with `$`. Arrays go into a file in the safetensors format, which is a
header in JSON and then the bytes of all arrays.
"""

import json
import math

import numpy as np
import safetensors.numpy

# Types of the safetensors format. Others are stored as the bytes they are made of.
TYPES = {
    'bool': 'BOOL',
    'uint8': 'U8',
    'uint16': 'U16',
    'uint32': 'U32',
    'uint64': 'U64',
    'int8': 'I8',
    'int16': 'I16',
    'int32': 'I32',
    'int64': 'I64',
    'float16': 'F16',
    'float32': 'F32',
    'float64': 'F64',
}


def split(tree, path: str = '') -> tuple[object, dict]:
    """Nested data -> JSON data and arrays by name. ValueError names the path of a foreign type."""
    arrays = {}
    return _split(tree, path, arrays), arrays


def join(data, arrays: dict):
    """JSON data and arrays by name -> nested data, the inverse of `split`."""
    if isinstance(data, list):
        return [join(x, arrays) for x in data]
    if not isinstance(data, dict):
        return data
    tag = next(iter(data), '')
    if not tag.startswith('$'):
        return {k: join(v, arrays) for k, v in data.items()}
    value = data[tag]
    if tag == '$float':
        return float(value)
    if tag == '$int':
        return int(value, 16)
    if tag == '$tuple':
        return tuple(join(x, arrays) for x in value)
    if tag == '$dict':
        return {join(k, arrays): join(v, arrays) for k, v in value}
    if tag in ('$array', '$scalar'):
        array = _view(arrays[value], data['dtype'], data['shape'])
        return array[()] if tag == '$scalar' else array
    raise ValueError(f'unknown mark {tag}')


def tensor_file(arrays: dict):
    """The pieces of bytes of a safetensors file, one after the other without a copy."""
    header, offset = {}, 0
    stored = {name: _storable(array) for name, array in arrays.items()}
    for name, array in stored.items():
        header[name] = {
            'dtype': TYPES[array.dtype.name],
            'shape': list(array.shape),
            'data_offsets': [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    yield len(text).to_bytes(8, 'little') + text
    for array in stored.values():
        yield array.reshape(-1).view(np.uint8).data


def read_tensors(path) -> dict:
    """Arrays of a safetensors file by name. Raises safetensors.SafetensorError if it is none."""
    return safetensors.numpy.load_file(path)


def _split(tree, path, arrays):
    kind = type(tree)
    if tree is None or kind in (bool, str):
        return tree
    if kind is int:
        # Beyond 64 bits other readers lose digits, and Python refuses very long decimals.
        return tree if abs(tree) < 2**63 else {'$int': hex(tree)}
    if kind is float:
        return tree if math.isfinite(tree) else {'$float': repr(tree)}
    if kind is list:
        return [_split(x, f'{path}/{i}', arrays) for i, x in enumerate(tree)]
    if kind is tuple:
        return {'$tuple': [_split(x, f'{path}/{i}', arrays) for i, x in enumerate(tree)]}
    if kind is dict:
        return _split_dict(tree, path, arrays)
    if isinstance(tree, np.generic) or kind is np.ndarray:
        return _split_array(tree, path, arrays)
    raise ValueError(
        f'Cannot save {path or "the data"}: {kind.__module__}.{kind.__name__} is none of dict, '
        'list, tuple, NumPy array, int, float, str, bool and None'
    )


def _split_dict(tree, path, arrays):
    if all(type(k) is str for k in tree) and not next(iter(tree), '').startswith('$'):
        return {k: _split(v, f'{path}/{k}', arrays) for k, v in tree.items()}
    return {
        '$dict': [
            [_split(k, f'{path}/(key)', arrays), _split(v, f'{path}/{k}', arrays)]
            for k, v in tree.items()
        ]
    }


def _split_array(tree, path, arrays):
    array = np.asarray(tree)
    # Kind V without fields is how bfloat16 and its like come; they are plain bits.
    if array.dtype.kind not in 'biufcV' or array.dtype.hasobject or array.dtype.names:
        raise ValueError(f'Cannot save {path or "the data"}: an array of type {array.dtype}')
    name = path.strip('/') or 'data'
    while name in arrays:
        name += '_'
    arrays[name] = array
    dtype = array.dtype.name if array.dtype.kind == 'V' else array.dtype.str
    mark = '$array' if type(tree) is np.ndarray else '$scalar'
    return {mark: name, 'dtype': dtype, 'shape': list(array.shape)}


def _storable(array):
    """The array as contiguous little-endian numbers of a type in TYPES."""
    if array.dtype.name not in TYPES:
        return np.frombuffer(array.tobytes(), np.uint8)
    # Not ascontiguousarray, which gives arrays without axes one.
    return np.asarray(array, array.dtype.newbyteorder('<'), order='C')


def _view(array, dtype, shape):
    try:
        wanted = np.dtype(dtype)
    except TypeError as e:
        raise ValueError(f'type {dtype} is unknown here, import ml_dtypes first') from e
    if wanted.name not in TYPES:
        return np.frombuffer(array.tobytes(), wanted).reshape(shape).copy()
    return array.astype(wanted, copy=False)
