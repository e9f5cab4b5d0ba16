"""Checkpoints survive a crash at any operation, and come back exactly or not at all."""

import json
import math
import shutil

import numpy as np
import pytest

from embodied.core import checkpoint
from embodied.core.system import files
from embodied.tests import faults


class Part:
    """Holds data, and counts what is done with it."""

    def __init__(self, data=None):
        self.data = data
        self.loads = 0
        self.outcomes = []

    def save(self):
        return self.data

    def load(self, data):
        self.data = data
        self.loads += 1

    def committed(self):
        self.outcomes.append('committed')

    def abandoned(self):
        self.outcomes.append('abandoned')


class Plain:
    """A part without the hook."""

    def __init__(self, value):
        self.value = value

    def save(self):
        return self.value

    def load(self, data):
        self.value = data


def make(directory, number=None, keep=2):
    agent = Part({'params': {'w': np.full((3, 2), number or 0, np.float32)}, 'count': number})
    return checkpoint.Checkpoint(directory, keep, agent=agent, step=Plain(number))


def folders(directory):
    return sorted(x.name for x in directory.iterdir())


def state(made):
    assert made.parts['agent'].data['count'] == made.parts['step'].value
    weights = made.parts['agent'].data['params']['w']
    assert (weights == made.parts['step'].value).all()
    return made.parts['step'].value


def set_state(made, number):
    made.parts['agent'].data = {'params': {'w': np.full((3, 2), number, np.float32)}}
    made.parts['agent'].data['count'] = made.parts['step'].value = number


def test_layout_and_round_trip(tmp_path):
    made = make(tmp_path / 'ckpt', 7)
    assert not made.exists()
    assert not made.load()
    folder = made.save(7)
    assert folder.name.startswith('000000000007-')
    names = ['agent.json', 'agent.safetensors', 'manifest.json', 'step.json']
    assert folders(folder) == names
    assert set(json.loads((folder / 'manifest.json').read_text())['files']) == {
        x for x in names if x != 'manifest.json'
    }
    other = make(tmp_path / 'ckpt')
    assert other.exists()
    assert other.load()
    assert state(other) == 7


def test_load_or_save(tmp_path):
    assert make(tmp_path, 1).load_or_save(1) is False
    other = make(tmp_path)
    assert other.load_or_save() is True
    assert state(other) == 1
    assert len(folders(tmp_path)) == 1


def test_some_parts_only(tmp_path):
    make(tmp_path, 3).save(3)
    other = make(tmp_path)
    assert other.load(keys=['step'])
    assert other.parts['step'].value == 3
    assert other.parts['agent'].loads == 0
    with pytest.raises(ValueError, match=r"no parts \['nothing'\]"):
        other.load(keys=['nothing'])


def test_part_that_was_not_saved(tmp_path, capsys):
    make(tmp_path, 3).save(3)
    other = checkpoint.Checkpoint(tmp_path, agent=Part(), critic=Part())
    with pytest.raises(ValueError, match=r"no parts \['critic'\], only \['agent', 'step'\]"):
        other.load(keys=['agent', 'critic'])
    assert other.parts['agent'].loads == 0
    # Unless it was asked for, the part stays new, as with an imported checkpoint.
    assert other.load()
    assert other.parts['agent'].data['count'] == 3
    assert other.parts['critic'].loads == 0
    assert 'has no critic' in capsys.readouterr().out


def test_keeps_the_newest(tmp_path):
    made = make(tmp_path, 0, keep=2)
    for number in range(5):
        set_state(made, number)
        made.save(number)
    assert [int(x.split('-')[0]) for x in folders(tmp_path)] == [3, 4]
    assert made.parts['agent'].outcomes == ['committed'] * 5
    with pytest.raises(ValueError, match='keep is 0'):
        checkpoint.Checkpoint(tmp_path, keep=0)


def test_some_stay_for_ever(tmp_path):
    for number in range(0, 100, 7):
        # Each in a run of its own.
        made = make(tmp_path, number)
        made.keep_every = 25
        made.load()
        set_state(made, number)
        made.save(number)
    # The first after 25, 50 and 75 steps, and the newest two.
    assert [int(x.split('-')[0]) for x in folders(tmp_path)] == [28, 56, 77, 91, 98]


def test_in_the_background_the_state_is_that_of_the_beginning(tmp_path):
    made = make(tmp_path, 1)
    weights = made.parts['agent'].data['params']['w']
    write = made.cut(1)
    # Even where a part writes into its own arrays.
    weights[:] = 2
    made.parts['agent'].data['count'] = made.parts['step'].value = 2
    assert not made.exists()
    write()
    made.begin(2)
    with pytest.raises(AssertionError, match='in progress'):
        made.begin(3)
    assert made.result().name.startswith('000000000002-')
    assert made.result() is None and not made.busy
    assert [int(x.split('-')[0]) for x in folders(tmp_path)] == [1, 2]
    for folder, value in zip(sorted(tmp_path.iterdir()), (1, 2), strict=True):
        data = checkpoint.read(folder, 'agent')[2]
        assert data['count'] == value and (data['params']['w'] == value).all()


def test_failed_in_the_background(tmp_path):
    made = make(tmp_path, 1)
    made.save(1)
    with pytest.MonkeyPatch.context() as patch:
        faults.Disk(patch, 4, 'full')
        made.begin(2)
        with pytest.raises(OSError, match='No space left') as error:
            made.result()
    assert error.value.filename.startswith(str(tmp_path))
    assert made.parts['agent'].outcomes == ['committed', 'abandoned']
    made.begin(3)
    made.result()
    assert [int(x.split('-')[0]) for x in folders(tmp_path)] == [1, 3]


def test_resumed_runs_delete_what_the_run_before_knew(tmp_path):
    for number in range(6):
        made = make(tmp_path, number)
        made.load()
        assert made.parts['step'].value == max(0, number - 1)
        set_state(made, number)
        made.save(number)
    assert [int(x.split('-')[0]) for x in folders(tmp_path)] == [4, 5]


def test_newest_by_time_not_by_step(tmp_path):
    make(tmp_path, 9).save(9)
    # A run that began anew.
    make(tmp_path, 2).save(2)
    other = make(tmp_path)
    other.load()
    assert state(other) == 2


def test_clock_that_went_back(tmp_path):
    folder = make(tmp_path, 1).save(1)
    future = folder.with_name('000000000001-29991231T235959F999999')
    folder.rename(future)
    make(tmp_path, 2).save(2)
    other = make(tmp_path)
    other.load()
    assert state(other) == 2


DAMAGE = {
    'cut': lambda x: x.write_bytes(x.read_bytes()[: x.stat().st_size // 2]),
    'empty': lambda x: x.write_bytes(b''),
    'missing': lambda x: x.unlink(),
    'flipped': lambda x: x.write_bytes(bytes([x.read_bytes()[0] ^ 1]) + x.read_bytes()[1:]),
    'folder': lambda x: (x.unlink(), x.mkdir()),
    'foreign': lambda x: x.write_bytes(b'[1, 2]'),
}


@pytest.mark.parametrize('name', ['agent.json', 'agent.safetensors', 'step.json', 'manifest.json'])
@pytest.mark.parametrize('kind', DAMAGE)
def test_damaged_one_is_skipped_and_stays(tmp_path, kind, name, capsys):
    made = make(tmp_path, 1)
    made.save(1)
    set_state(made, 2)
    newest = made.save(2)
    DAMAGE[kind](newest / name)
    other = make(tmp_path)
    assert other.load()
    assert state(other) == 1
    lines = [x for x in capsys.readouterr().out.splitlines() if 'Skipped' in x]
    assert len(lines) == 1
    assert newest.name in lines[0]
    for number in range(3, 7):
        set_state(other, number)
        other.save(number)
    assert newest.exists()
    assert len(folders(tmp_path)) == 3


def test_every_flipped_bit_is_noticed(tmp_path):
    folder = make(tmp_path, 1).save(1)
    for path in (folder / 'agent.json', folder / 'agent.safetensors'):
        intact = path.read_bytes()
        for index in range(0, len(intact), 3):
            path.write_bytes(intact[:index] + bytes([intact[index] ^ 16]) + intact[index + 1 :])
            assert not make(tmp_path).load()
        path.write_bytes(intact)
    assert make(tmp_path).load()


def test_nothing_loadable_deletes_nothing(tmp_path):
    made = make(tmp_path, 1)
    made.save(1)
    made.save(2)
    for folder in tmp_path.iterdir():
        (folder / 'manifest.json').unlink()
    other = make(tmp_path, 5)
    assert not other.load_or_save(5)
    other.save(6)
    other.save(7)
    assert len(folders(tmp_path)) == 4


def test_error_of_a_part_is_not_damage(tmp_path):
    make(tmp_path, 1).save(1)

    class Picky(Plain):
        def load(self, data):
            raise ValueError('shape differs')

    with pytest.raises(ValueError, match='shape differs'):
        checkpoint.Checkpoint(tmp_path, step=Picky(0)).load()


def operations(tmp_path):
    """The operations of a save after a first one, in order."""
    made = make(tmp_path / 'count', 1, keep=1)
    made.save(1)
    with pytest.MonkeyPatch.context() as patch:
        disk = faults.Disk(patch)
        made.save(2)
        return disk.log


@pytest.mark.parametrize('mode', ['before', 'torn', 'after'])
def test_crash_at_every_operation(tmp_path, mode):
    total = len(operations(tmp_path))
    assert total > 15
    seen = set()
    for at in range(1, total + 1):
        directory = tmp_path / str(at)
        made = make(directory, 1, keep=1)
        made.save(1)
        with pytest.MonkeyPatch.context() as patch:
            disk = faults.Disk(patch, at, mode)
            set_state(made, 2)
            with pytest.raises(faults.Crash):
                made.save(2)
            renamed = 'rename' in (disk.log if mode == 'after' else disk.log[:-1])
        other = make(directory)
        assert other.load()
        assert state(other) == (2 if renamed else 1), at
        seen.add(state(other))
        # The next run saves and leaves nothing of the dead one behind.
        set_state(other, 3)
        other.keep = 1
        other.save(3)
        assert len(folders(directory)) == 1
        again = make(directory)
        assert again.load()
        assert state(again) == 3
        shutil.rmtree(directory)
    assert seen == {1, 2}


def test_full_disk_at_every_operation(tmp_path):
    log = operations(tmp_path)
    for at in range(1, len(log) + 1):
        directory = tmp_path / str(at)
        made = make(directory, 1, keep=1)
        first = made.save(1)
        set_state(made, 2)
        with pytest.MonkeyPatch.context() as patch:
            disk = faults.Disk(patch, at, 'full')
            if 'rename' not in log[:at]:
                with pytest.raises(OSError, match='No space left') as error:
                    made.save(2)
                assert error.value.filename.startswith(str(directory))
                assert disk.count >= at
                assert folders(directory) == [first.name]
            else:
                # The new one is in its place already.
                try:
                    made.save(2)
                except OSError as e:
                    assert e.filename == str(directory)
        other = make(directory)
        assert other.load()
        made.save(2)
        assert make(directory).load()
        shutil.rmtree(directory)


def test_write_that_takes_a_part_only(tmp_path, monkeypatch):
    write = files.write
    monkeypatch.setattr(files, 'write', lambda file, data: write(file, data[:5]))
    make(tmp_path, 4).save(4)
    other = make(tmp_path)
    assert other.load()
    assert state(other) == 4


def test_data_that_cannot_be_saved(tmp_path):
    made = make(tmp_path, 1)
    made.save(1)
    made.parts['agent'].data = {'a': [1, {'b': object()}]}
    with pytest.raises(ValueError, match=r'agent/a/1/b: builtins\.object'):
        made.save(2)
    other = make(tmp_path)
    assert other.load()
    assert state(other) == 1
    assert len(folders(tmp_path)) == 1
    assert math.isfinite(state(other))


def test_a_path_stands_for_the_newest_checkpoint(tmp_path, capsys):
    directory = tmp_path / 'run' / 'ckpt'
    made = make(directory, 1, keep=3)
    first = made.save(10)
    set_state(made, 2)
    second = made.save(20)
    for path in (tmp_path / 'run', directory, second, str(directory)):
        assert checkpoint.find(path)[0] == second
        checkpoint.check(path, 'agent')
        folder, step, data = checkpoint.read(path, 'agent')
        assert (folder, step, data['count']) == (second, 20, 2)
    assert checkpoint.find(first) == [first]
    assert checkpoint.read(first, 'agent')[2]['count'] == 1
    assert capsys.readouterr().out == ''


def test_one_part_of_a_damaged_checkpoint(tmp_path, capsys):
    made = make(tmp_path, 1, keep=3)
    first = made.save(10)
    second = made.save(20)
    # What is not read does not matter.
    (second / 'step.json').write_text('broken')
    assert checkpoint.read(tmp_path, 'agent')[0] == second
    data = bytearray((second / 'agent.safetensors').read_bytes())
    data[-1] ^= 1
    (second / 'agent.safetensors').write_bytes(data)
    checkpoint.check(tmp_path, 'agent')  # Which does not read what is in the files.
    capsys.readouterr()
    assert checkpoint.read(tmp_path, 'agent')[0] == first
    out = capsys.readouterr().out
    assert out.count('\n') == 1 and f'Skipped checkpoint {second}' in out and 'changed' in out
    for folder in (first, second):
        (folder / 'agent.safetensors').unlink()
    for function in (checkpoint.check, checkpoint.read):
        with pytest.raises(ValueError, match=f'{tmp_path} has no checkpoint that is intact'):
            function(tmp_path, 'agent')


def test_paths_without_a_checkpoint(tmp_path):
    with pytest.raises(ValueError, match='nothing does not exist'):
        checkpoint.find(tmp_path / 'nothing')
    (tmp_path / 'ckpt').mkdir()
    with pytest.raises(ValueError, match='holds no checkpoint'):
        checkpoint.find(tmp_path)
    (tmp_path / 'file').touch()
    with pytest.raises(ValueError, match='holds no checkpoint'):
        checkpoint.find(tmp_path / 'file')
    make(tmp_path / 'ckpt', 1).save()
    with pytest.raises(ValueError, match='it has no replay, only agent, step'):
        checkpoint.check(tmp_path, 'replay')
