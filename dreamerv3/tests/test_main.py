"""The program from the outside: as a script, as a module, fast and without JAX for mistakes."""

import os
import pathlib
import runpy
import subprocess
import sys
import types

import pytest

import dreamerv3
from embodied import config
from embodied.core import checkpoint

FOLDER = pathlib.Path(dreamerv3.__file__).parent
SCRIPT = [str(FOLDER / 'main.py')]


def call(*argv, cwd):
    env = {k: v for k, v in os.environ.items() if k != 'PYTHONPATH'}
    return subprocess.run(
        [sys.executable, *argv], cwd=cwd, env=env, capture_output=True, text=True, timeout=60
    )


def test_script_from_anywhere(tmp_path):
    result = call(*SCRIPT, '--run.env', '3', cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr == ('dreamerv3: error: run.env: unknown option, did you mean run.envs?\n')
    assert result.stdout == ''
    assert list(tmp_path.iterdir()) == []


def test_another_size_on_an_old_logdir_is_refused_without_jax(tmp_path):
    schema = config.Schema(FOLDER / 'configs.yaml')
    config.save(schema.resolve(['size12m', 'debug']), tmp_path / 'config.yaml')
    part = types.SimpleNamespace(save=lambda: {'params': {}})
    checkpoint.Checkpoint(tmp_path / 'ckpt', agent=part).save(10)
    before = (tmp_path / 'config.yaml').read_bytes()
    argv = [SCRIPT[0], '--configs', 'debug', '--logdir', str(tmp_path)]
    argv += ['--agent.dyn.rssm.deter', '16', '--agent.opt.lr', '1e-3', '--agent.policy.units', '9']
    code = (
        'import runpy, sys\n'
        f'sys.argv = {argv!r}\n'
        'try:\n'
        f'    runpy.run_path({SCRIPT[0]!r}, run_name="__main__")\n'
        'except SystemExit as e:\n'
        '    print(e.code, "jax" in sys.modules)\n'
    )
    result = call('-c', code, cwd=FOLDER.parent)
    assert result.stdout == '2 False\n', result.stderr
    first, second = result.stderr.splitlines()
    assert first.startswith('dreamerv3: error: agent.dyn.rssm.deter: got 16, allowed is 8 as in')
    assert second.startswith('dreamerv3: error: agent.policy.units: got 9, allowed is 8 as in')
    assert (tmp_path / 'config.yaml').read_bytes() == before


def test_module():
    result = call('-m', 'dreamerv3.main', '--help', 'seed', cwd=FOLDER.parent)
    assert result.returncode == 0
    assert '--seed 0' in result.stdout


def test_mistake_does_not_import_jax(tmp_path):
    code = (
        'import runpy, sys\n'
        f'sys.argv = [{SCRIPT[0]!r}, "--task", "nosuch_thing"]\n'
        'try:\n'
        f'    runpy.run_path({SCRIPT[0]!r}, run_name="__main__")\n'
        'except SystemExit as e:\n'
        '    print(e.code, "jax" in sys.modules)\n'
    )
    result = call('-c', code, cwd=FOLDER.parent)
    assert result.stdout == '2 False\n'
    assert result.stderr.count('\n') == 1


def test_import_of_the_script_by_a_child_does_nothing(monkeypatch):
    monkeypatch.setattr(sys, 'path', [str(FOLDER), *sys.path])
    names = runpy.run_path(SCRIPT[0], run_name='__mp_main__')
    assert callable(names['main'])
    # The folder of the script would shadow other modules with its agent.py.
    assert sys.path[0] == str(FOLDER.parent)


def test_main_takes_arguments(capsys):
    from dreamerv3 import main

    with pytest.raises(SystemExit) as e:
        main.main(['--configs', 'size1'])
    assert e.value.code == 2
    assert 'did you mean size1m?' in capsys.readouterr().err
