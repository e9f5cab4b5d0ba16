"""Evaluation of a checkpoint: whose parameters, which episodes, what is written."""

import json
import shutil
import signal

import pytest

from embodied.run import evaluate
from embodied.tests import fakes, runs


@pytest.fixture
def trained(tmp_path):
    """Logdir of a training run of 20 steps."""
    return runs.Parts(tmp_path / 'trained', steps=20).train().logdir


def evaluation(logdir, trained, **changes):
    return runs.Parts(logdir, from_checkpoint=str(trained), **{'eval_eps': 3, **changes})


def result(logdir):
    return json.loads((logdir / 'eval.json').read_text())


def test_results(tmp_path, trained, capsys):
    before = {x: x.read_bytes() for x in trained.rglob('*') if x.is_file()}
    capsys.readouterr()
    made = evaluation(tmp_path / 'eval', trained).eval_only()
    content = result(tmp_path / 'eval')
    assert content['step'] == 20 and content['episodes'] == 3
    assert sorted(x['score'] for x in content['results']) == [15, 15, 21]
    assert content['score_mean'] == 17 and content['length_max'] == 7
    assert {'score_std', 'score_min', 'score_max', 'length_mean', 'length_min'} < set(content)
    row = json.loads((tmp_path / 'eval' / 'metrics.jsonl').read_text())
    assert row['step'] == 20 and row['eval/score_mean'] == 17
    assert row['eval_epstats/log/half/max'] > 0
    out = capsys.readouterr().out
    assert out.count('Evaluation episode') == 3
    assert '3 evaluation episodes: score 17 +- 2.83 (15 to 21), mean length 6.333' in out
    assert f'Read checkpoint: {trained}/ckpt/' in out
    # Nothing is learned, added or changed.
    assert set(made.agent.modes) == {'eval'} and not made.agent.batches
    assert sorted(made.envs) == [evaluate.EVAL_INDEX, evaluate.EVAL_INDEX + 1]
    assert all(env.closed for env in made.envs.values()) and made.agent.closed == 1
    assert before == {x: x.read_bytes() for x in trained.rglob('*') if x.is_file()}
    names = {x.name for x in (tmp_path / 'eval').iterdir()}
    assert names == {'eval.json', 'metrics.jsonl', 'scope'}


def test_only_the_agent_of_the_checkpoint_is_read(tmp_path, trained):
    (folder,) = (trained / 'ckpt').iterdir()
    for name in ('replay', 'learner', 'step'):
        for path in folder.glob(f'{name}.*'):
            path.unlink()
    shutil.rmtree(trained / 'replay')
    made = evaluation(tmp_path / 'eval', folder).eval_only()
    assert made.agent.loaded == ['.*']
    assert result(tmp_path / 'eval')['episodes'] == 3


def test_newest_intact_checkpoint(tmp_path, trained, capsys):
    runs.Parts(trained, steps=40).train()
    older, newer = sorted((trained / 'ckpt').iterdir())
    (newer / 'agent.json').write_text('{}')
    evaluation(tmp_path / 'eval', trained).eval_only()
    assert f'Skipped checkpoint {newer}: agent.json has 2 bytes' in capsys.readouterr().out
    assert result(tmp_path / 'eval')['step'] == 20
    (older / 'agent.json').unlink()
    with pytest.raises(ValueError, match=r'^run.from_checkpoint: .*has no checkpoint that is'):
        evaluation(tmp_path / 'eval', trained).eval_only()


def test_without_a_checkpoint(tmp_path):
    made = evaluation(tmp_path, '', eval_eps=1).eval_only()
    assert result(tmp_path)['step'] == 0
    assert len(made.envs) == 1


def test_videos(tmp_path, trained):
    evaluation(tmp_path / 'eval', trained, eval_video=2).eval_only()
    names = sorted(x.name for x in (tmp_path / 'eval' / 'videos').iterdir())
    # The first episodes of both environments.
    assert names == ['episode-1.mp4', 'episode-2.mp4']


def test_success(tmp_path, trained):
    class Env(fakes.Count):
        @property
        def obs_space(self):
            return {**super().obs_space, 'log/success': fakes.elements.Space(bool)}

        def step(self, action):
            return {**super().step(action), 'log/success': self.count in (3, 4)}

    made = evaluation(tmp_path / 'eval', trained, eval_eps=4, eval_envs=1)
    made.make_env = lambda index: Env(length=5)
    made.eval_only()
    content = result(tmp_path / 'eval')
    assert content['success_rate'] == 0.25
    assert [x['success'] for x in content['results']] == [1, 0, 0, 0]


@pytest.mark.parametrize('at, episodes', [(9, 2), (1, 0)])
def test_signal(tmp_path, trained, at, episodes, capsys):
    made = evaluation(tmp_path / 'eval', trained, eval_eps=100)
    made.agent.on_action = lambda count: count == at and signal.raise_signal(signal.SIGINT)
    made.eval_only()
    if episodes:
        assert result(tmp_path / 'eval')['episodes'] == episodes
    else:
        assert 'No episode was completed.' in capsys.readouterr().out
        assert not (tmp_path / 'eval' / 'eval.json').exists()
    assert all(env.closed for env in made.envs.values())
