"""The command `runs` on the logdirs of small runs."""

import json

import pytest

from embodied import commands


def call(capsys, *argv):
    with pytest.raises(SystemExit) as e:
        commands.main([*map(str, argv)])
    return e.value.code, *capsys.readouterr()


def test_table(small_runs, capsys):
    code, out, _ = call(capsys, 'runs', small_runs)
    head, first, second = (x.split() for x in out.splitlines())
    assert code == 0
    assert head == ['run', 'state', 'task', 'step', 'score', 'eval', 'fps', 'options']
    assert first[:4] == ['first', 'finished', 'dummy_disc', '400']
    assert second[:3] == ['second', 'finished', 'dummy_disc']
    options = first[7:] or second[7:]
    assert options in (['seed=0', 'envs=2'], ['seed=1', 'envs=3'])
    assert len(head) == 8


def test_json(small_runs, capsys):
    code, out, _ = call(capsys, 'runs', small_runs, '--json')
    rows = [json.loads(x) for x in out.splitlines()]
    assert code == 0
    assert [x['run'] for x in rows] == ['first', 'second']
    assert rows[0]['step'] == 400


def test_wrong_folder_is_one_line(capsys, tmp_path):
    for folder in (tmp_path, tmp_path / 'absent'):
        code, _, err = call(capsys, 'runs', folder)
        (line,) = err.splitlines()
        assert code == 2
        assert line.startswith('embodied runs: error: folder: got ')
