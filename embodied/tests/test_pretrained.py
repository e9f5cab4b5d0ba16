"""Runs that begin with the parameters of another one, and with nothing else of it."""

import json
import shutil

import pytest

from embodied.run import pretrained
from embodied.tests import runs


@pytest.fixture
def trained(tmp_path):
    return runs.Parts(tmp_path / 'trained', steps=40).train().logdir


@pytest.mark.parametrize('script', ['train', 'train_eval'])
def test_new_run_takes_parameters_only(tmp_path, trained, script):
    changes = {'from_checkpoint': str(trained), 'from_checkpoint_regex': '^enc/', 'steps': 20}
    made = getattr(runs.Parts(tmp_path / 'new', **changes), script)()
    assert made.agent.loaded == ['^enc/']
    lines = (tmp_path / 'new' / 'metrics.jsonl').read_text().splitlines()
    rows = [json.loads(x) for x in lines]
    assert rows[0]['step'] == 2 and rows[-1]['step'] == 20
    assert len(made.replay) == 20 - 2 * 4
    # The run that goes on does not load them again, nor does it need them.
    shutil.rmtree(trained)
    again = getattr(runs.Parts(tmp_path / 'new', **{**changes, 'steps': 30}), script)()
    assert again.agent.loaded == [None]
    assert again.agent.counters['actions'] == 15


@pytest.mark.parametrize('path', ['', 'ckpt', 'ckpt/*'])
def test_path_of_a_logdir_its_checkpoints_or_one(tmp_path, trained, path):
    (path,) = trained.glob(path) if path else [trained]
    args = runs.make_args(tmp_path, from_checkpoint=str(path))
    agent = runs.CountAgent()
    assert pretrained.load(agent, args) == 40
    assert agent.loaded == ['.*']


def test_mistakes_are_one_line(tmp_path, trained):
    args = runs.make_args(tmp_path, from_checkpoint=str(tmp_path / 'nothing'))
    with pytest.raises(ValueError, match=r'^run.from_checkpoint: .*nothing does not exist$'):
        pretrained.load(runs.CountAgent(), args)

    class Other(runs.CountAgent):
        def load(self, data, regex=None):
            raise ValueError('Parameters do not fit.')

    args = runs.make_args(tmp_path, from_checkpoint=str(trained))
    with pytest.raises(ValueError, match=r'^run.from_checkpoint: .*ckpt/.*: Parameters do not fit'):
        pretrained.load(Other(), args)
