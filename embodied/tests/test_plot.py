"""The command `plot` on small runs and files."""

import json
import xml.etree.ElementTree

import numpy as np
import PIL.Image
import pytest

from embodied import commands

pytest.importorskip('matplotlib')


def call(capsys, *argv):
    with pytest.raises(SystemExit) as e:
        commands.main(['plot', *map(str, argv)])
    return e.value.code, *capsys.readouterr()


def released(path, tasks, methods=('a', 'b'), seeds=3):
    rng = np.random.default_rng(0)
    runs = [
        {
            'task': task,
            'method': method,
            'seed': seed,
            'xs': list(range(0, 1001, 50)),
            'ys': rng.normal(100, 10, 21).tolist(),
        }
        for task in tasks
        for method in methods
        for seed in range(seeds)
    ]
    path.write_text(json.dumps(runs))
    return path


def table(text):
    return [x.split() for x in text.splitlines()]


def test_small_runs(small_runs, tmp_path, capsys):
    code, out, _ = call(capsys, f'random={small_runs}', '--out', tmp_path / 'x.y', '--bins', 4)
    assert code == 0
    assert [x[:2] for x in table(out)[1:3]] == [['dummy_disc', 'random']] * 2
    with PIL.Image.open(tmp_path / 'x.y.png') as image:
        assert image.width > 500
        colors = {x for _, x in image.convert('RGB').getcolors(1 << 20)}
        assert len(colors) > 100  # There are curves on it.
    assert 'svg' in xml.etree.ElementTree.parse(tmp_path / 'x.y.svg').getroot().tag


def test_seeds_and_scores_over_tasks(tmp_path, capsys):
    path = released(tmp_path / 'a.json', ['atari_pong', 'atari_boxing'])
    code, out, _ = call(capsys, path, '--out', tmp_path / 'plot', '--resamples', 50)
    assert code == 0
    aggregates, tasks = (table(x) for x in out.split('\n\n'))
    assert [x[0] for x in aggregates[1::4]] == ['IQM', 'IQM']
    # Normalised 100: (100 + 20.7) / 35.3 and (100 - 0.1) / 12.
    mean = next(x for x in aggregates if x[:2] == ['mean', 'a'])
    assert float(mean[2]) == pytest.approx((3.42 + 8.33) / 2, rel=0.1)
    row = next(x for x in tasks if x[:2] == ['atari_pong', 'b'])
    assert row[2:4] == ['3', '1,000']
    assert float(row[5]) < float(row[4]) < float(row[7])


def test_tasks_without_bounds(tmp_path, capsys):
    path = released(tmp_path / 'a.json', ['gym_A', 'gym_B', 'other'])
    argv = (path, '--out', tmp_path / 'plot', '--resamples', 10, '--tasks', '^gym')
    _, out, _ = call(capsys, *argv)
    assert out.startswith('No scores over all tasks: gym_A has no agreed lowest and highest')
    assert 'other' not in out
    _, out, _ = call(capsys, *argv, '--normalize', 0, 100)
    mean = next(x for x in table(out) if x[:2] == ['mean', 'a'])
    assert float(mean[2]) == pytest.approx(1, rel=0.1)


def test_methods_that_lack_a_task(tmp_path, capsys):
    released(tmp_path / 'a.json', ['atari_pong', 'atari_boxing'], 'a')
    released(tmp_path / 'b.json', ['atari_pong'], 'b')
    files = tmp_path / 'a.json', tmp_path / 'b.json'
    _, out, _ = call(capsys, *files, '--out', tmp_path / 'plot', '--resamples', 10)
    assert 'No scores over all tasks of b, which has not done all of them' in out
    assert 'IQM             a' in out


def test_crafter_score_is_told(tmp_path, capsys):
    for i in range(2):
        folder = tmp_path / 'runs' / str(i)
        folder.mkdir(parents=True)
        (folder / 'config.yaml').write_text(f'task: crafter_reward\nseed: {i}\n')
        (folder / 'scores.jsonl').write_text('{"step": 5, "episode/score": 1.0}\n')
        row = {'step': 9, 'epstats/log/achievement_a/any': 1.0}
        (folder / 'metrics.jsonl').write_text(json.dumps(row) + '\n')
    _, out, _ = call(capsys, tmp_path / 'runs', '--out', tmp_path / 'plot', '--resamples', 10)
    assert 'Crafter score of runs: 100.0%, 2 runs, 95% interval 100.0 to 100.0' in out


@pytest.mark.parametrize(
    'argv, text',
    [
        (['/absent'], "source: got '/absent', allowed are"),
        (['RUNS', '--bins', '0'], 'bins: got 0, allowed is 1 or more'),
        (['RUNS', '--bins', 'x'], 'argument --bins: invalid int value'),
        (['RUNS', '--steps', '-1'], 'steps: got -1.0, allowed is more than 0'),
        (['RUNS', '--tasks', '('], "tasks: got '(', allowed is a regular expression"),
        (['RUNS', '--tasks', 'zzz'], "tasks: got 'zzz', allowed is a part of a task"),
        (['RUNS', '--metric', 'zzz'], "with the metric 'zzz'"),
        (['RUNS', '--normalize', '2', '1'], 'normalize: got [2.0, 1.0], allowed is LOW below'),
        (['RUNS', '--out', '/absent/x'], "out: got '/absent/x', allowed is a name in a folder"),
        ([], 'the following arguments are required: source'),
    ],
)
def test_mistakes_are_one_line(small_runs, capsys, argv, text):
    code, _, err = call(capsys, *(small_runs if x == 'RUNS' else x for x in argv))
    (line,) = err.splitlines()
    assert code == 2
    assert text in line


def test_without_matplotlib(small_runs, capsys, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    code, _, err = call(capsys, small_runs)
    assert code == 2
    assert "needs matplotlib, pip install 'dreamerv3-embodied[plot]'" in err
