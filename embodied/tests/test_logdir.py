"""The folder of a run and the config.yaml in it."""

import pathlib
import re

import elements
import pytest

from embodied import config, logdir


def test_resolve(monkeypatch, tmp_path):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert logdir.resolve('~/runs') == tmp_path / 'runs'
    assert re.fullmatch(r'\d{8}T\d{6}', logdir.resolve('/a/{timestamp}').name)
    assert logdir.resolve('b{').is_absolute()


@pytest.mark.parametrize('name', ['gs://bucket/run', '', '~nobody-of-that-name/x'])
def test_resolve_refuses(name):
    with pytest.raises(ValueError, match=r'^logdir: got .*, allowed is a folder'):
        logdir.resolve(name)


def test_create(tmp_path):
    logdir.create(tmp_path / 'a' / 'b')
    logdir.create(tmp_path / 'a' / 'b')
    assert list((tmp_path / 'a' / 'b').iterdir()) == []


def test_unwritable(tmp_path):
    (tmp_path / 'file').touch()
    for name in ('file', 'file/run', 'x' * 300):
        with pytest.raises(ValueError, match=r'^logdir: got .* folder that can be written'):
            logdir.create(tmp_path / name)
    with pytest.raises(ValueError, match=r'^logdir: got'):
        logdir.create(pathlib.Path('/proc/nothing'))


def test_config_is_kept_and_changes_are_told(tmp_path):
    first = elements.Config({'seed': 0, 'run': {'envs': 4}, 'size': (8, 8)})
    assert logdir.keep_config(tmp_path, first) == []
    assert logdir.keep_config(tmp_path, first) == []
    assert [x.name for x in tmp_path.iterdir()] == ['config.yaml']
    second = first.update({'run.envs': 8})
    assert logdir.keep_config(tmp_path, second) == [
        'Changed run.envs: 4 -> 8',
        'The old config is kept as config-1.yaml.',
    ]
    lines = logdir.keep_config(tmp_path, elements.Config({'seed': 0, 'size': (9, 8), 'new': 1}))
    assert lines == [
        'Changed run.envs: 8 -> absent',
        'Changed size: (8, 8) -> (9, 8)',
        'Changed new: absent -> 1',
        'The old config is kept as config-2.yaml.',
    ]
    assert config.load(tmp_path / 'config-1.yaml') == first.flat
    assert config.load(tmp_path / 'config-2.yaml') == second.flat


def test_damaged_config_is_replaced_but_kept(tmp_path):
    (tmp_path / 'config.yaml').write_text('a: [')
    lines = logdir.keep_config(tmp_path, elements.Config({'seed': 0}))
    assert 'is not YAML' in lines[0]
    assert (tmp_path / 'config-1.yaml').read_text() == 'a: ['
    assert config.load(tmp_path / 'config.yaml') == {'seed': 0}
