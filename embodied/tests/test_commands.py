"""The program `embodied`: which commands there are, and mistakes in their names."""

import subprocess
import sys

import pytest

import embodied
from embodied import commands
from embodied.tests import runs


def call(capsys, *argv):
    with pytest.raises(SystemExit) as e:
        commands.main([*argv])
    return e.value.code, *capsys.readouterr()


@pytest.mark.parametrize('argv', [(), ('--help',), ('-h',)])
def test_usage_names_all_commands(capsys, argv):
    commands.main([*argv])
    out = capsys.readouterr().out
    assert all(f'  {name} ' in out for name in commands.COMMANDS)


def test_version(capsys):
    commands.main(['--version'])
    assert capsys.readouterr().out == f'embodied {embodied.__version__}\n'


def test_unknown_command_is_one_line(capsys):
    code, _, err = call(capsys, 'rums')
    assert code == 2
    (line,) = err.splitlines()
    assert line.startswith("embodied: error: unknown command 'rums', did you mean runs?, allowed")


@pytest.mark.parametrize('name', commands.COMMANDS)
def test_every_command_has_help_and_refuses_unknown_flags(name, capsys):
    code, out, _ = call(capsys, name, '--help')
    assert code == 0
    assert 'usage:' in out
    assert '--' in out
    if name != 'check_env':
        code, _, err = call(capsys, name, '--no-such-flag')
        assert code == 2
        assert len(err.splitlines()) == 1


def test_our_faults_are_not_told_as_yours(monkeypatch):
    from embodied.commands import doctor

    monkeypatch.setattr(doctor, 'run', lambda args: int('x'))
    with pytest.raises(ValueError, match='invalid literal'):
        commands.main(['doctor'])


def test_as_a_module():
    command = [sys.executable, '-m', 'embodied', '--version']
    result = subprocess.run(command, cwd=runs.ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.startswith('embodied ')
