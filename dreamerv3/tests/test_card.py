"""Scores that a logdir tells of, and how a model card shows them."""

import json

import elements
import pytest
from ruamel.yaml import YAML

from dreamerv3 import card

STATS = {'episodes': 5, 'score_mean': 4.0, 'score_std': 1.0, 'score_min': 2.0, 'score_max': 6.0}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def checkpoint(tmp_path):
    lines = [{'step': i, 'episode/score': float(i)} for i in range(1, 151)]
    text = '\n'.join(map(json.dumps, [*lines, {'step': 150, 'other': 1}]))
    (tmp_path / 'scores.jsonl').write_text(f'{text}\n{{"step": 151, "epis')
    return tmp_path / 'ckpt' / '000000000150-20260101T000000F000000'


def test_last_training_episodes(checkpoint):
    result = card.scores(checkpoint, 150)
    assert (result['kind'], result['episodes'], result['step']) == ('training', 100, 150)
    assert (result['score_mean'], result['score_min'], result['score_max']) == (100.5, 51, 150)
    assert card.scores(checkpoint, 40)['score_mean'] == 20.5  # The checkpoint is an earlier one.
    assert card.scores(checkpoint, 0) == {}


def test_newest_evaluation(checkpoint, tmp_path):
    write(tmp_path / 'eval.json', {'step': 100, **STATS, 'results': [1, 2]})
    write(tmp_path / 'eval-1' / 'eval.json', {'step': 150, **STATS, 'score_mean': 5.0})
    (tmp_path / 'eval-2').mkdir()
    (tmp_path / 'eval-2' / 'eval.json').write_text('{"torn')
    result = card.scores(checkpoint, 150)
    assert (result['kind'], result['step'], result['score_mean']) == ('evaluation', 150, 5.0)
    assert 'results' not in result


def test_none(tmp_path):
    assert card.scores(tmp_path, 9) == {}
    assert 'without scores' in card.describe({})
    assert card.index('gym_CartPole-v1', {}) == ''


def test_steps_of_the_log():
    config = lambda task: elements.Config(task=task, env={'atari': {'repeat': 4}, 'gym': {}})
    tasks = ('atari_pong', 'gym_CartPole-v1', 'my_module:make')
    assert [card.repeat(config(x)) for x in tasks] == [4, 1, 1]


def test_table_and_index():
    result = {'kind': 'evaluation', 'step': 1200, **STATS}
    header, rule, row = card.describe(result).splitlines()
    assert header.count('|') == rule.count('|') == row.count('|')
    assert row == '| evaluation, greedy | 1,200 | 5 | 4 | 1 | 2 | 6 |'
    (model,) = YAML(typ='safe').load(card.index('gym_CartPole-v1', result))['model-index']
    assert model['results'][0]['metrics'][0]['value'] == '4 +/- 1'
