"""What the folder of a run tells about it."""

import json

import pytest

from embodied.commands import records
from embodied.core.system import runlock


def test_of_a_run(small_runs):
    first, second = records.find(small_runs)
    assert (first.name, first.task, first.step, first.state) == (
        'first',
        'dummy_disc',
        400,
        'finished',
    )
    rows = [json.loads(x) for x in (first.folder / 'scores.jsonl').read_text().splitlines()]
    scores = [x['episode/score'] for x in rows][-records.EPISODES :]
    assert first.score == pytest.approx(sum(scores) / len(scores))
    assert first.fps > 0
    assert first.evaluation is None
    assert records.differences([first, second], ('logdir', 'task')) in (
        [{}, {'seed': 1, 'run.envs': 3}],
        [{'seed': 0, 'run.envs': 2}, {}],
    )
    (alone,) = records.find(first.folder)
    assert alone.name == 'first'


def write(folder, config='task: dummy_disc\nscript: train\nrun: {steps: 100}\n', step=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'config.yaml').write_text(config)
    if step is not None:
        (folder / 'metrics.jsonl').write_text(f'{{"step": {step}}}\n')
    return records.Record(folder)


def test_states(tmp_path):
    assert write(tmp_path / 'new').state == 'stopped'
    assert write(tmp_path / 'some', step=50).state == 'stopped'
    assert write(tmp_path / 'all', step=100).state == 'finished'
    with runlock.hold(tmp_path / 'all'):
        assert write(tmp_path / 'all', step=100).state == 'running'
    # Logs count what the environment repeats an action for.
    text = 'task: dmc_walk\nenv: {dmc: {repeat: 2}}\nrun: {steps: 100}\n'
    assert write(tmp_path / 'half', text, step=100).state == 'stopped'
    assert write(tmp_path / 'twice', text, step=200).state == 'finished'
    evaluation = write(tmp_path / 'eval', 'script: eval_only\ntask: dummy_disc\n')
    assert evaluation.state == 'stopped'
    (tmp_path / 'eval' / 'eval.json').write_text('{"score_mean": 3.5}')
    evaluation = records.Record(tmp_path / 'eval')
    assert (evaluation.state, evaluation.evaluation) == ('finished', 3.5)


def test_damaged_files_are_as_absent(tmp_path):
    folder = tmp_path / 'run'
    folder.mkdir()
    for name in ('config.yaml', 'eval.json', 'metrics.jsonl', 'scores.jsonl'):
        (folder / name).write_text('{"step": 3, torn')
    (run,) = records.find(tmp_path)
    assert (run.task, run.step, run.score, run.evaluation) == ('', None, None, None)
    assert run.state == 'stopped'


def test_find(tmp_path):
    for name in ('a', 'b/c', 'b/c/eval-1', 'b/c/replay/deep', '.hidden/d', '1/2/3/4/5/6'):
        write(tmp_path / name)
    assert [x.name for x in records.find(tmp_path)] == ['a', 'b/c', 'b/c/eval-1']
    for folder in (tmp_path / 'absent', tmp_path / 'a' / 'config.yaml'):
        with pytest.raises(ValueError, match='allowed is a logdir'):
            records.find(folder)


def test_differences_are_to_the_majority(tmp_path):
    text = 'task: {}\nagent: {{lr: {}, units: 8}}\nenv: {{size: [64, 64]}}\n'
    runs = [
        write(tmp_path / str(i), text.format('a', lr)) for i, lr in enumerate((0.1, 0.1, 0.2, 0.1))
    ]
    assert records.differences(runs) == [{}, {}, {'agent.lr': 0.2}, {}]


def test_label():
    changes = {'a.units': 8, 'b.units': 8, 'c.units': 9, 'size': (1, 2), 'lr': 0.1, 'x': True}
    assert records.label({}) == ''
    assert records.label(changes, 2) == 'units=8 units=9 and 3 more'
    assert records.label(changes, None) == 'units=8 units=9 size=1,2 lr=0.1 x=True'
