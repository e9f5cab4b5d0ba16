"""Logdirs from elsewhere: no file in them is code that runs, whatever it holds."""

import io
import pathlib
import pickle
import zipfile

import numpy as np
import pytest

from embodied import config
from embodied.core import checkpoint
from embodied.core.system import npz
from embodied.tests import runs


class Payload:
    """Unpickling it leaves a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return pathlib.Path.touch, (self.mark,)


def arrays(mark, compressed=False):
    """An archive of NumPy whose only array holds objects."""
    file = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(file, count=np.array([Payload(mark)] * 16, object))
    return file.getvalue()


def array(mark):
    file = io.BytesIO()
    np.save(file, np.array([Payload(mark)], object))
    return file.getvalue()


def renamed(mark):
    """A pickle in the place of an array in an archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w') as archive:
        archive.writestr('count.npy', pickle.dumps(Payload(mark)))
        archive.writestr('stepid.npy', pickle.dumps(Payload(mark)))
    return file.getvalue()


HOSTILE = {
    'pickle': lambda mark: pickle.dumps(Payload(mark)),
    'old pickle': lambda mark: pickle.dumps(Payload(mark), 0),
    'object array': array,
    'object arrays': arrays,
    'compressed': lambda mark: arrays(mark, compressed=True),
    'renamed': renamed,
    'yaml': lambda mark: f'!!python/object/apply:pathlib.Path.touch [{mark}]'.encode(),
}


@pytest.fixture(scope='module')
def logdir(tmp_path_factory):
    """A run that has trained and saved."""
    folder = tmp_path_factory.mktemp('run')
    runs.Parts(folder, steps=40, report_every=-1).train()
    return folder


def copies(logdir, folder):
    """A file of every kind in the run, each in a copy of its own of the whole run."""
    files = [x for x in sorted(logdir.rglob('*')) if x.is_file()]
    parts = {(x.parent, x.name if x.suffix == '.json' else x.suffix): x for x in files}
    kinds = [x for k, x in parts.items() if 'scope' not in x.parts or x.parent.name == 'scope']
    assert {'.json', '.jsonl', '.npz', '.safetensors'} <= {x.suffix for x in kinds}
    assert {'replay', 'values'} <= {x.parent.name for x in kinds}
    for number, path in enumerate(kinds):
        copy = folder / str(number)
        for other in files:
            target = copy / other.relative_to(logdir)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(other.read_bytes())
        yield copy, copy / path.relative_to(logdir)


@pytest.mark.parametrize('kind', ['pickle', 'object arrays'])
def test_no_file_of_a_logdir_is_run(logdir, tmp_path, kind):
    mark = tmp_path / 'mark'
    outcomes = set()
    for copy, path in copies(logdir, tmp_path):
        path.write_bytes(HOSTILE[kind](mark))
        try:
            runs.Parts(copy, steps=44).train()
            outcomes.add('went on')
        except ValueError as e:
            assert 'can be read' in str(e), path
            outcomes.add('refused')
        assert not mark.exists(), path
    assert outcomes == {'went on', 'refused'}


@pytest.mark.parametrize('kind', HOSTILE)
def test_everything_at_once(logdir, tmp_path, kind):
    mark = tmp_path / 'mark'
    for path in logdir.rglob('*'):
        if path.is_file():
            target = tmp_path / 'run' / path.relative_to(logdir)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(HOSTILE[kind](mark))
    with pytest.raises(ValueError, match='can be read'):
        runs.Parts(tmp_path / 'run', steps=44).train()
    with pytest.raises(ValueError, match='no checkpoint that is intact'):
        checkpoint.read(tmp_path / 'run', 'agent')
    made = runs.Parts(tmp_path / 'run').make_replay()
    made.load()
    assert not len(made)
    assert not mark.exists()


@pytest.mark.parametrize('kind', HOSTILE)
def test_single_files(tmp_path, kind):
    mark, path = tmp_path / 'mark', tmp_path / 'file'
    path.write_bytes(HOSTILE[kind](mark))
    with pytest.raises(ValueError):
        npz.read(path)
    with pytest.raises(ValueError):
        config.load(path)
    assert not mark.exists()


def test_the_payloads_work(tmp_path):
    """Else the tests above would show nothing."""
    pickle.loads(HOSTILE['pickle'](tmp_path / 'first'))
    assert (tmp_path / 'first').exists()
    path = tmp_path / 'x.npz'
    path.write_bytes(arrays(tmp_path / 'second'))
    assert len(np.load(path, allow_pickle=True)['count']) == 16
    assert (tmp_path / 'second').exists()
