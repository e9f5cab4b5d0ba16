"""Learning curves from logdirs, tables and released files."""

import gzip
import json

import numpy as np
import pytest

from embodied.commands import curves, norms


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(json.dumps(x) + '\n' for x in rows))


def test_of_runs(small_runs):
    first, second = curves.load([str(small_runs)])
    assert (first.task, first.seed, second.seed) == ('dummy_disc', '0', '1')
    # They differ in an option besides the seed, so they are no seeds of each other.
    assert {first.method, second.method} in (
        {small_runs.name, f'{small_runs.name} envs=3'},
        {small_runs.name, f'{small_runs.name} envs=2'},
    )
    rows = [json.loads(x) for x in (small_runs / 'first/scores.jsonl').read_text().splitlines()]
    assert first.xs.tolist() == [x['step'] for x in rows]
    assert first.ys.tolist() == [x['episode/score'] for x in rows]
    assert first.crafter is None


def test_other_metrics_and_names(small_runs):
    (curve,) = curves.load([f'mine={small_runs}/first'], 'fps/policy')
    assert curve.method == 'mine'
    assert (curve.ys > 0).all()
    with pytest.raises(ValueError, match="with the metric 'absent'"):
        curves.load([str(small_runs)], 'absent')


def test_of_tables(tmp_path):
    rows = [{'step': 1, 'episode/score': 2.0}, {'step': 3, 'episode/score': None}, {'step': 4}]
    write(tmp_path / 'gym_CartPole-v1-ours-seed3.jsonl', rows)
    write(tmp_path / 'plain.jsonl', rows)
    (curve,) = curves.load([str(tmp_path)])
    assert curve[:3] == ('gym_CartPole-v1', 'ours', 'seed3')
    assert (curve.xs.tolist(), curve.ys.tolist()) == ([1], [2])
    (curve,) = curves.load([str(tmp_path / 'plain.jsonl')])
    assert curve[:3] == ('task', 'plain', '0')


def test_of_released_files(tmp_path):
    run = {'task': 'atari_pong', 'method': 'x', 'seed': 1, 'xs': [1, 2], 'ys': [3, None]}
    path = tmp_path / 'scores.json.gz'
    path.write_bytes(gzip.compress(json.dumps([run]).encode()))
    (curve,) = curves.load([str(path)])
    assert curve[:3] == ('atari_pong', 'x', '1')
    np.testing.assert_equal(curve.ys, [3, np.nan])
    (tmp_path / 'plain.json').write_text(json.dumps([run]))
    assert curves.load([f'y={tmp_path}/plain.json'])[0].method == 'y'


@pytest.mark.parametrize('text', ['', '{', '[1]', '[{"task": "a"}]', '{"a": 1}'])
def test_damaged_files_are_named(tmp_path, text):
    path = tmp_path / 'scores.json'
    path.write_text(text)
    with pytest.raises(ValueError, match=r'allowed is a list of task, method, seed, xs and ys'):
        curves.load([str(path)])


@pytest.mark.parametrize('name', ['absent', 'empty', 'notes.txt'])
def test_wrong_sources_are_named(tmp_path, name):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'notes.txt').touch()
    with pytest.raises(ValueError, match=f'source: got .*{name}'):
        curves.load([str(tmp_path / name)])


def test_crafter_score_weighs_by_episodes(tmp_path):
    write(tmp_path / 'scores.jsonl', [{'step': x, 'episode/score': 1.0} for x in (1, 2, 3, 14)])
    key = 'epstats/log/achievement_{}/any'.format
    rows = [
        {'step': 10, key('drink'): 1.0, key('sleep'): 0.0},
        {'step': 12, 'loss': 1.0},
        {'step': 20, key('drink'): 0.0, key('sleep'): 0.0},
    ]
    write(tmp_path / 'metrics.jsonl', rows)
    # Three of four episodes, and none.
    assert curves.crafter(tmp_path) == pytest.approx(norms.crafter(np.array([75.0, 0.0])))
