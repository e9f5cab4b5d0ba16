"""The command `compare` on two logdirs."""

import json

import pytest

from embodied import commands
from embodied.commands import compare


def call(capsys, *argv):
    with pytest.raises(SystemExit) as e:
        commands.main(['compare', *map(str, argv)])
    return e.value.code, *capsys.readouterr()


def test_runs_that_differ(small_runs, capsys):
    code, out, _ = call(capsys, small_runs / 'first', f'{small_runs}/second/')
    options, metrics = (x.splitlines() for x in out.split('\n\n'))
    assert code == 0
    assert [x.split() for x in options] == [
        ['option', 'first', 'second'],
        ['seed', '0', '1'],
        ['run.envs', '2', '3'],
    ]
    assert metrics[0].startswith('Metrics at steps 360 to 40')
    assert {'fps/policy', 'fps/train'} <= {x.split()[0] for x in metrics[2:]}


def test_same_run(small_runs, capsys):
    folder = small_runs / 'first'
    code, out, _ = call(capsys, folder, folder, '--metrics', '^nothing')
    assert code == 0
    assert out.splitlines()[0] == 'All options are the same.'
    assert out.splitlines()[-1] == 'None has such a name.'


def test_metrics_are_at_the_same_steps(tmp_path, capsys):
    for name, stop in (('a', 100), ('b', 200)):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'config.yaml').write_text(f'task: x\ntoken: {"" if stop == 100 else 1}')
        rows = [{'step': i, 'score': i + stop, 'loss': None} for i in range(0, stop + 1, 10)]
        text = '\n'.join(map(json.dumps, rows)) + '\n'
        (tmp_path / name / 'metrics.jsonl').write_text(text)
    _, out, _ = call(capsys, tmp_path / 'a', tmp_path / 'b')
    # Steps 90 and 100 of both.
    assert out.splitlines()[-1].split() == ['score', '195', '295', '+51.3%']


def test_metric_of_one_run_only():
    assert compare.metric('x', None, 2.0)['change'] == '-'
    assert compare.metric('x', 0.0, 2.0)['change'] == '-'
    assert compare.metric('x', 2.0, None)['second'] == '-'


@pytest.mark.parametrize('argv', [('FIRST', '/absent'), ('FOLDER', 'FIRST'), ('FIRST',)])
def test_wrong_folder_is_one_line(argv, small_runs, capsys):
    names = {'FIRST': small_runs / 'first', 'FOLDER': small_runs}
    code, _, err = call(capsys, *(names.get(x, x) for x in argv))
    assert code == 2
    assert len(err.splitlines()) == 1


def test_wrong_expression_is_one_line(small_runs, capsys):
    folder = small_runs / 'first'
    code, _, err = call(capsys, folder, folder, '--metrics', '(')
    assert code == 2
    assert "metrics: got '(', allowed is a regular expression" in err
