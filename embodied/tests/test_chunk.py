"""Chunks: columns of steps, and files that are either right or refused."""

import elements
import ml_dtypes
import numpy as np
import pytest

from embodied.core.buffer import chunk
from embodied.core.system import npz
from embodied.tests import faults


def step(t):
    return {'image': np.full((2, 3), t, np.uint8), 'reward': np.float32(t), 'dyn/deter': [t, t]}


def make(steps=4, size=6):
    made = chunk.Chunk(size)
    for t in range(steps):
        made.append(step(t))
    return made


def test_columns_and_step_ids():
    made = make()
    assert made.length == 4
    part = made.slice(1, 2)
    assert part['reward'].tolist() == [1, 2]
    assert part['image'].shape == (2, 2, 3)
    assert part['stepid'].dtype == np.uint8
    assert part['stepid'][0].tobytes() == made.id.value + (1).to_bytes(4, 'big')
    assert made.spec['image'] == (np.uint8, (2, 3))
    assert 'stepid' not in made.spec
    with pytest.raises(AssertionError):
        made.slice(3, 2)


def test_close_frees_the_room_that_is_left():
    made = make(steps=2, size=1000)
    before = made.nbytes
    made.close()
    made.trim()
    assert made.nbytes == before // 500
    assert made.slice(0, 2)['reward'].tolist() == [0, 1]


def test_types_numpy_lacks_are_kept_as_float32():
    made = chunk.Chunk(2)
    made.append({'x': np.array([0.1, 3], ml_dtypes.bfloat16)})
    assert made.columns['x'].dtype == np.float32
    assert made.columns['x'][0].tolist() == np.array([0.1, 3], ml_dtypes.bfloat16).tolist()


def test_save_and_load(tmp_path, capsys):
    made = make()
    made.successor = elements.UUID()
    path = made.save(tmp_path, log=True)
    assert path.name in capsys.readouterr().out
    assert [x.name for x in tmp_path.iterdir()] == [made.filename]
    time, id, successor, length = path.stem.split('-')
    assert (len(id), len(successor), length) == (22, 22, '4')
    assert time == made.time
    other = chunk.Chunk.load(path)
    assert (other.id, other.successor, other.length) == (made.id, made.successor, 4)
    assert other.filename == made.filename
    assert other.spec == made.spec
    for key, value in made.slice(0, 4).items():
        np.testing.assert_array_equal(other.columns[key], value)
    with np.load(path) as file:
        assert set(file) == {'image', 'reward', 'dyn/deter', 'stepid'}
    # What was loaded can be updated.
    other.update(1, 2, {'reward': np.array([7, 8], np.float32)})
    assert other.columns['reward'].tolist() == [0, 7, 8, 3]


def test_crash_while_saving_leaves_no_torn_file(tmp_path, monkeypatch):
    faults.Disk(monkeypatch, at=3, mode='torn')
    made = make()
    with pytest.raises(faults.Crash):
        made.save(tmp_path)
    assert not (tmp_path / made.filename).exists()


def test_load_of_a_bad_file(tmp_path):
    path = make().save(tmp_path)
    path.write_bytes(path.read_bytes()[:50])
    assert chunk.Chunk.load(path, error='none') is None
    assert chunk.Chunk.load(tmp_path / 'missing.npz', error='none') is None
    with pytest.raises(ValueError, match=path.name):
        chunk.Chunk.load(path)
    with pytest.raises(ValueError, match='is not that of a chunk file'):
        chunk.Chunk.load(tmp_path / 'missing.npz')


def test_no_flipped_bit_gets_through(tmp_path):
    """Either the file is refused, or nothing that matters has changed."""
    path = make().save(tmp_path)
    intact = path.read_bytes()
    want = npz.read(path)
    refused = 0
    for index in range(len(intact)):
        flipped = intact[index] ^ 1 << index % 8
        path.write_bytes(intact[:index] + bytes([flipped]) + intact[index + 1 :])
        try:
            got = chunk.Chunk.load(path).columns
        except ValueError:
            refused += 1
            continue
        assert got.keys() == want.keys(), index
        for key in want:
            np.testing.assert_array_equal(got[key], want[key])
    assert refused > len(intact) // 3


@pytest.mark.parametrize('length', [0, 20, 100, 1000])
def test_cut_anywhere_is_refused(tmp_path, length):
    path = make().save(tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=path.name):
        chunk.Chunk.load(path)


@pytest.mark.parametrize(
    'name, message',
    [
        ('20261120T180949F670815-a-b.npz', 'not that of a chunk'),
        ('20261120T180949F670815-a-b-0.npz', 'empty'),
        ('20261120T180949F670815-zzzzzzzzzzzzzzzzzzzzzz-b-5.npz', 'out of range'),
        ('x20261120T180949F670815-a-b-5.npz', 'not that of a chunk'),
    ],
)
def test_odd_names(name, message):
    with pytest.raises(ValueError, match=message):
        chunk.parse(name)
