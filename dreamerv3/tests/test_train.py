"""The program with the real agent: it trains, logs what people look at, saves and goes on."""

import importlib.util
import json
import pathlib

import jax
import numpy as np
import pytest
import safetensors.numpy
import scope

import dreamerv3
from dreamerv3 import agent, checks
from embodied import cli

pytestmark = pytest.mark.slow

CONFIGS = pathlib.Path(dreamerv3.__file__).parent / 'configs.yaml'
SMALL = '--batch_size 4 --batch_length 8 --report_length 4 --run.log_every -1 --run.save_every 0'
LOSSES = ('rew', 'con', 'dyn', 'rep', 'policy', 'value', 'repval')


@pytest.fixture(autouse=True)
def same_settings():
    """The program sets up JAX for its whole process, which here has other tests in it."""
    keys = ('jax_platforms', 'jax_disable_jit', 'jax_debug_nans')
    before = {key: getattr(jax.config, key) for key in keys}
    yield
    for key, value in before.items():
        jax.config.update(key, value)


def main(logdir, argv):
    """Run the command line; returns the agent that it made."""
    made = []

    def make_agent(*args):
        made.append(agent.make_agent(*args))
        return made[0]

    argv = f'{argv} {SMALL} --jax.cache off --logdir {logdir}'.split()
    cli.main(make_agent, CONFIGS, checks.check, argv, 'dreamerv3')
    return made[0]


def rows(logdir):
    return [json.loads(line) for line in (logdir / 'metrics.jsonl').read_text().splitlines()]


def column(logdir, key):
    return {row['step']: row[key] for row in rows(logdir) if key in row}


def saved_params(logdir):
    """Parameters in the newest checkpoint, from the file itself."""
    folder = max((logdir / 'ckpt').iterdir())
    arrays = safetensors.numpy.load_file(folder / 'agent.safetensors')
    return {k.removeprefix('agent/params/'): v for k, v in arrays.items()}


def check_same(left, right):
    assert left.keys() == right.keys()
    for key in left:
        np.testing.assert_array_equal(left[key], right[key], key)


def check_logdir(logdir):
    """Steps strictly rise, all numbers are finite, and nothing in the folder is a pickle."""
    steps = [row['step'] for row in rows(logdir)]
    assert steps == sorted(set(steps))
    nothing = [(row['step'], k) for row in rows(logdir) for k, v in row.items() if v is None]
    assert not nothing
    kinds = {x.suffix for x in (logdir / 'ckpt').rglob('*') if x.is_file()}
    assert kinds == {'.json', '.safetensors'}
    for path in (logdir / 'replay').rglob('*.npz'):
        with np.load(path, allow_pickle=False) as file:
            assert all(file[k].dtype != object for k in file)


def test_vector_task_trains_and_resumes(tmp_path):
    command = '--configs gym debug --run.train_ratio 16 --run.steps'
    first = main(tmp_path, f'{command} 100')
    check_logdir(tmp_path)
    updates = first.counters['updates']
    assert updates > 10
    for name in LOSSES:
        assert len(column(tmp_path, f'train/loss/{name}')) > 5, name
    assert column(tmp_path, 'train/opt/grad_norm') and column(tmp_path, 'episode/score')
    saved = saved_params(tmp_path)
    check_same(saved, first.save()['params'])

    # Again with nothing left to do: the agent is what was saved.
    second = main(tmp_path, f'{command} 100')
    assert second.counters == first.counters
    check_same(second.save()['params'], saved)
    check_same(saved_params(tmp_path), saved)

    third = main(tmp_path, f'{command} 140 --run.final_eval_eps 3')
    check_logdir(tmp_path)
    ratio = column(tmp_path, 'ratio/updates_per_env_step')
    assert third.counters['updates'] == updates + 20 == round(ratio[140] * 140)
    assert not np.array_equal(
        saved_params(tmp_path)['dyn/dynin0/kernel'], saved['dyn/dynin0/kernel']
    )
    results = json.loads((tmp_path / 'eval.json').read_text())
    assert results['step'] == 140 and len(results['results']) == 3
    # All the steps of both, in the windows of four workers.
    items = column(tmp_path, 'replay/items')
    assert items[140] - items[100] == 40


@pytest.mark.skipif(not importlib.util.find_spec('crafter'), reason='crafter is not installed')
def test_image_task_trains_and_reports(tmp_path):
    made = main(
        tmp_path,
        '--configs crafter debug --run.train_ratio 64 --run.report_every -1 --run.steps 80 '
        '--env.crafter.logs True',
    )
    assert made.counters['updates'] > 10
    check_logdir(tmp_path)
    for prefix in ('train', 'report'):
        for name in ('image', *LOSSES):
            assert column(tmp_path, f'{prefix}/loss/{name}'), (prefix, name)
    reader = scope.Reader(tmp_path)
    steps, files = reader['report/openloop/image']
    assert len(steps) > 1
    video = reader.load('report/openloop/image', files[-1])
    # Truth, prediction and error below each other, with frames around them.
    assert video.shape[0] > 4 and video.shape[1] > 3 * 64 and video.shape[2] > 4 * 64
    assert video.std() > 10
    check_same(saved_params(tmp_path), made.save()['params'])
