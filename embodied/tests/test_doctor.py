"""The command `doctor`: what it finds here, and what it says where something is wrong."""

import json
import shutil
import types

import pytest

from embodied import commands
from embodied.commands import doctor

PROJECT = {'requires-python': '>=3.11', 'dependencies': [], 'optional-dependencies': {}}
CPU = {'platform': 'cpu', 'kinds': ['cpu', 'cpu'], 'limit': None, 'seconds': 0.1}


def call(capsys, *argv):
    with pytest.raises(SystemExit) as e:
        commands.main(['doctor', *map(str, argv)])
    return e.value.code, *capsys.readouterr()


def levels(findings):
    return [(x.level, x.topic) for x in findings]


@pytest.mark.slow
def test_this_machine(capsys, tmp_path):
    code, out, _ = call(capsys, '--logdir', tmp_path)
    assert code == ('FIX' in out)
    for topic in ('python', 'packages', 'jax', 'cache', 'memory', 'rendering', 'videos', 'disk'):
        assert any(x.split()[1:2] == [topic] for x in out.splitlines()), topic
    assert 'dummy' in out
    assert 'cpu' in out or 'NVIDIA' in out


def test_something_to_fix(monkeypatch, capsys):
    for name in ('packages', 'devices', 'rendering', 'memory'):
        monkeypatch.setattr(doctor, name, lambda: [])
    code, out, _ = call(capsys, '--logdir', '/dev/null/x')
    assert code == 1
    assert 'FIX   disk' in out
    assert out.splitlines()[-1] == 'Something has to be fixed, see above.'


def test_packages(monkeypatch):
    wanted = ['numpy>=2,<3', 'absent>=1', 'pytest<1']
    extras = {'x': ['absent2>=1', 'ruff<0.0.1', 'elements>=3']}
    changed = {'dependencies': wanted, 'optional-dependencies': extras}
    monkeypatch.setattr(doctor, 'project', lambda: {**PROJECT, **changed})
    monkeypatch.setattr(
        doctor, 'version', lambda x: {'numpy': '2.1', 'pytest': '9', 'ruff': '1'}.get(x)
    )
    *bad, good = doctor.packages()
    assert [(x.text, x.remedy) for x in bad] == [
        ('absent is not installed, allowed is >=1', "pip install 'absent>=1'"),
        ('pytest 9, allowed is <1', "pip install 'pytest<1'"),
        ('ruff 1, allowed is <0.0.1', "pip install 'ruff<0.0.1'"),
    ]
    assert good.text == 'numpy 2.1'


def test_old_python(monkeypatch):
    monkeypatch.setattr(doctor, 'project', lambda: {**PROJECT, 'requires-python': '>=9'})
    assert list(doctor.python())[1].remedy == 'use Python >=9'


def test_devices(monkeypatch, tmp_path):
    answer = {**CPU, 'cache': str(tmp_path)}
    monkeypatch.setattr(doctor, 'ask', lambda code: (answer, None))
    monkeypatch.setattr(doctor.hardware, 'has_gpu', lambda: False)
    found = list(doctor.devices())
    assert levels(found) == [('ok', 'jax'), ('note', 'jax'), ('ok', 'cache')]
    assert found[0].text.startswith('2 cpu (cpu), compiles')
    monkeypatch.setattr(doctor.hardware, 'has_gpu', lambda: True)
    monkeypatch.setattr(doctor.hardware, 'has_plugin', lambda name: False)
    monkeypatch.setattr(doctor.shutil, 'which', lambda name: None)
    found = list(doctor.devices())
    assert levels(found)[1] == ('fix', 'jax')
    assert '[cuda]' in found[1].remedy
    monkeypatch.setattr(doctor, 'ask', lambda code: (None, 'RuntimeError: no driver'))
    (found,) = doctor.devices()
    assert (found.level, found.text) == ('fix', 'RuntimeError: no driver')


def test_cards(monkeypatch):
    text = 'NVIDIA H200, 580.1, 143771, 10\nNVIDIA H200, 580.1, 143771, 90000\n'
    monkeypatch.setattr(doctor.shutil, 'which', lambda name: name)
    monkeypatch.setattr(doctor.hardware, 'has_gpu', lambda: True)
    run = lambda *args, **kwargs: types.SimpleNamespace(stdout=text)
    monkeypatch.setattr(doctor.subprocess, 'run', run)
    free, busy = doctor.gpus()
    assert (free.level, busy.level) == ('ok', 'note')
    assert busy.text == 'NVIDIA H200, driver 580.1, 90000 of 143771 MiB in use'
    text = 'nonsense'
    assert levels(doctor.gpus()) == [('fix', 'gpu')]


@pytest.mark.parametrize(
    'answer, error, level',
    [
        ({'backend': 'egl', 'mujoco': True, 'drawn': 99}, None, 'ok'),
        ({'backend': 'osmesa', 'mujoco': False, 'drawn': None}, None, 'ok'),
        ({'backend': 'egl', 'mujoco': True, 'drawn': 0}, None, 'fix'),
        ({'backend': 'disable', 'mujoco': True, 'drawn': None}, None, 'fix'),
        ({'backend': 'disable', 'mujoco': False, 'drawn': None}, None, 'note'),
        (None, 'was killed', 'fix'),
    ],
)
def test_rendering(monkeypatch, answer, error, level):
    monkeypatch.setattr(doctor, 'ask', lambda code: (answer, error))
    (found,) = doctor.rendering()
    assert found.level == level
    assert ('libosmesa6' in found.remedy) == (level != 'ok')


@pytest.mark.parametrize('limit, level', [('max', 'ok'), ('2000000000', 'note')])
def test_memory_counts_the_container(monkeypatch, limit, level):
    files = {
        '/proc/meminfo': 'MemTotal: 20000000 kB\nMemAvailable: 10000000 kB\n',
        '/sys/fs/cgroup/memory.max': limit + '\n',
        '/sys/fs/cgroup/memory.current': '500000000\n',
    }
    monkeypatch.setattr(doctor, 'read', files.get)
    (found,) = doctor.memory()
    assert found.level == level
    assert found.text.startswith('1.5 of 2.0 GB' if level == 'note' else '10.2 of 20.5 GB')


def test_memory_that_nobody_tells(monkeypatch):
    monkeypatch.setattr(doctor, 'read', lambda path: '')
    assert levels(doctor.memory()) == [('note', 'memory')]


@pytest.mark.parametrize('free, level', [(0.5e9, 'fix'), (5e9, 'note'), (5e11, 'ok')])
def test_disk(monkeypatch, tmp_path, free, level):
    usage = shutil.disk_usage(tmp_path)._replace(free=int(free))
    monkeypatch.setattr(doctor.shutil, 'disk_usage', lambda path: usage)
    assert levels(doctor.disk(str(tmp_path / 'new' / 'folder'))) == [(level, 'disk')]


def test_cache_that_cannot_be_written(tmp_path):
    assert levels(doctor.cache(tmp_path / 'a' / 'b')) == [('ok', 'cache')]
    (tmp_path / 'file').touch()
    assert levels(doctor.cache(tmp_path / 'file' / 'b')) == [('fix', 'cache')]


def test_missing_parts_are_notes(monkeypatch):
    monkeypatch.setattr(doctor.importlib.util, 'find_spec', lambda name: None)
    assert {x.level for x in doctor.trackers()} == {'note'}
    found = list(doctor.suites())
    assert levels(found)[0] == ('ok', 'suite')  # The dummy needs nothing.
    assert any(x.remedy.startswith('pip install') and 'gym' in x.text for x in found)


def test_videos_that_cannot_be_written(monkeypatch):
    assert levels(doctor.videos()) == [('ok', 'videos')]
    monkeypatch.setattr(doctor.scopes, 'write_video', lambda path, frames: 1 / 0)
    assert levels(doctor.videos()) == [('fix', 'videos')]


def test_ask(monkeypatch):
    assert doctor.ask('import embodied; print("noise"); print(1)') == (1, None)
    assert doctor.ask('raise ValueError("bad")') == (None, 'ValueError: bad')
    assert doctor.ask('import os; os._exit(3)') == (None, 'exit code 3')
    assert doctor.ask('pass')[0] is None
    monkeypatch.setattr(doctor, 'TIMEOUT', 0.01)
    assert doctor.ask('import time; time.sleep(60)')[1] == 'no answer within 0.01 seconds'


def test_project_without_its_source(monkeypatch, tmp_path):
    """As it is where the package is installed."""
    lines = ['numpy<3,>=2', 'crafter>=1; extra == "crafter"']
    info = {'Requires-Python': '>=3.11', 'Requires-Dist': lines}
    info = type('Metadata', (dict,), {'get_all': lambda self, key, default: self[key]})(info)
    monkeypatch.setattr(doctor, '__file__', str(tmp_path / 'a' / 'b' / 'doctor.py'))
    meta = doctor.importlib.metadata
    monkeypatch.setattr(meta, 'packages_distributions', lambda: {'embodied': ['dreamer']})
    monkeypatch.setattr(meta, 'metadata', lambda name: info)
    assert json.loads(json.dumps(doctor.project())) == {
        'requires-python': '>=3.11',
        'dependencies': ['numpy<3,>=2'],
        'optional-dependencies': {'': ['crafter>=1']},
    }
