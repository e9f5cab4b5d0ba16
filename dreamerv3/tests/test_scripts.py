"""Commands of the README's table of scripts, at debug size, each to its end."""

import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

import dreamerv3

pytestmark = pytest.mark.slow

ROOT = pathlib.Path(dreamerv3.__file__).parent.parent
ROW = re.compile(r'\| `(\w+)` \| .* \| `python (dreamerv3/main.py .*)` \| .* \|')
COMMANDS = dict(ROW.findall((ROOT / 'README.md').read_text()))


def run(folder, name, *more):
    """Run the command of a script with its LOGDIR in a folder. Returns what it printed."""
    argv = shlex.split(COMMANDS[name].replace('LOGDIR', str(folder / 'run')))
    if '--configs' in argv:
        argv.insert(argv.index('--configs') + 2, 'debug')
    result = subprocess.run(
        [sys.executable, *argv, *more, '--jax.platform', 'cpu', '--jax.cache', 'off'],
        cwd=ROOT,
        env={**os.environ, 'HOME': str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def written(folder):
    return {x.name for x in folder.iterdir()}


TRAINING = {'config.yaml', 'metrics.jsonl', 'scores.jsonl', 'scope', 'ckpt', 'replay'}
EVALUATION = {'eval.json', 'eval_scores.jsonl', 'eval_replay'}


def test_train(tmp_path):
    out = run(tmp_path, 'train', '--run.steps', '200')
    assert 'Saved checkpoint' in out
    assert written(tmp_path / 'run') == TRAINING


def test_train_eval_then_eval_only(tmp_path):
    flags = ('--run.eval_every', '-1', '--run.report_every', '-1')
    run(tmp_path, 'train_eval', '--run.steps', '160', *flags)
    assert written(tmp_path / 'run') >= TRAINING | EVALUATION
    out = run(tmp_path, 'train_eval', '--run.steps', '200', *flags)
    assert 'Loaded checkpoint' in out
    before = {x: x.read_bytes() for x in (tmp_path / 'run').rglob('*') if x.is_file()}
    out = run(tmp_path, 'eval_only')
    assert '10 evaluation episodes: score ' in out
    (logdir,) = (tmp_path / 'logdir').iterdir()
    assert written(logdir) == {'config.yaml', 'eval.json', 'metrics.jsonl', 'scope'}
    content = json.loads((logdir / 'eval.json').read_text())
    assert content['step'] == 200 and content['episodes'] == 10
    assert before == {x: x.read_bytes() for x in (tmp_path / 'run').rglob('*') if x.is_file()}


def test_random_agent(tmp_path):
    flags = ('--random_agent', 'True', '--run.steps', '200')
    run(tmp_path, 'train', *flags)
    run(tmp_path, 'train_eval', *flags, '--run.steps', '300', '--run.eval_every', '-1')
    assert written(tmp_path / 'run') >= TRAINING | EVALUATION
    out = run(tmp_path, 'eval_only', '--random_agent', 'True', '--run.eval_video', '1')
    assert '10 evaluation episodes: score ' in out and 'there is no video' in out
