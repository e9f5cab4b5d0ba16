"""The page about metrics explains what runs write."""

import json
import pathlib
import re

import pytest

import dreamerv3
from dreamerv3 import main

ROOT = pathlib.Path(dreamerv3.__file__).parent.parent
ROW = re.compile(r'^\| (`.+?`) \| ', re.M)


def names():
    """Names in the first column of the tables, as regular expressions."""
    text = (ROOT / 'docs' / 'metrics.md').read_text().partition('## Verdicts')[0]
    found = [name for cell in ROW.findall(text) for name in re.findall('`(.+?)`', cell)]
    pattern = lambda name: re.sub('<part>', '(train|report|eval_report)', name)
    return [re.sub('<[a-z]+>', '.+', pattern(x)) for x in found]


def keys(logdir):
    rows = (logdir / 'metrics.jsonl').read_text().splitlines()
    return {key for x in rows for key in json.loads(x)}


def test_names_are_explained_once():
    patterns = names()
    assert len(patterns) == len(set(patterns)) > 50
    plain = [x for x in patterns if '.+' not in x and '(' not in x]
    assert 'episode/score' in plain


def check(logdir):
    patterns = names()
    missing = [k for k in keys(logdir) if not any(re.fullmatch(x, k) for x in patterns)]
    assert not missing, f'docs/metrics.md does not explain {sorted(missing)}'


@pytest.mark.slow
def test_metrics_of_a_run_are_explained(tmp_path):
    flags = '--run.steps 200 --run.envs 2 --run.log_every -1 --run.report_every -1 '
    flags += '--run.final_eval_eps 1 --jax.debug False'
    main.main(['--configs', 'gym', 'debug', '--logdir', str(tmp_path), *flags.split()])
    check(tmp_path)
    found = keys(tmp_path)
    for name in ('train/opt/grad_norm', 'report/loss/dyn', 'eval/score_mean', 'episode/score'):
        assert name in found


def test_metrics_without_learning_are_explained(tmp_path):
    flags = '--random_agent True --task dummy_disc --run.log_every -1 --run.steps 120 --run.envs 2 '
    flags += '--script train_eval --run.eval_every -1 --env.dummy.length 50'
    main.main(['--configs', 'debug', '--logdir', str(tmp_path), *flags.split()])
    check(tmp_path)
    assert {'eval_epstats/reward_rate', 'epstats/log/step/any', 'step'} <= keys(tmp_path)
