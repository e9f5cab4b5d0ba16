"""The program with the real agent: it trains, logs what people look at, saves and goes on."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest
import safetensors.numpy
import scope
from scope import formats

import dreamerv3
from dreamerv3 import agent, checks
from embodied import cli
from embodied.envs import custom

pytestmark = pytest.mark.slow

CONFIGS = pathlib.Path(dreamerv3.__file__).parent / 'configs.yaml'
SMALL = '--batch_size 4 --batch_length 8 --report_length 4 --run.log_every -1 --run.save_every 0'
LOSSES = ('rew', 'con', 'dyn', 'rep', 'policy', 'value', 'repval')


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
    prefix = 'agent/params/'
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


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


def video_of_dreams(logdir):
    """Truth and dream side by side, first in a green and then in a red frame."""
    flags = f'--script eval_only --run.from_checkpoint {logdir} --run.eval_video 1'
    main(logdir / 'eval', f'{flags} --jax.platform cpu --random_agent False')
    (path,) = (logdir / 'eval' / 'videos').iterdir()
    frames = formats.Video().decode(path.read_bytes()).astype(int)
    assert frames.shape[1:] == (256 + 4, 2 * 256 + 4, 3)
    red, green = frames[:, 0, :, 0].mean(1), frames[:, 0, :, 1].mean(1)
    seen = np.arange(len(frames)) % 4 < 2
    np.testing.assert_array_equal(green > red, seen)


def test_vector_task_trains_and_resumes(tmp_path):
    command = '--configs gym debug --run.train_ratio 16 --run.steps'
    first = main(tmp_path, f'{command} 100')
    check_logdir(tmp_path)
    updates = first.counters['updates']
    assert updates > 10
    for name in LOSSES:
        assert len(column(tmp_path, f'train/loss/{name}')) > 5, name
    assert column(tmp_path, 'train/opt/grad_norm')
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
    assert column(tmp_path, 'episode/score')
    results = json.loads((tmp_path / 'eval.json').read_text())
    assert results['step'] == 140 and len(results['results']) == 3
    # All the steps of both, in the windows of four workers.
    items = column(tmp_path, 'replay/items')
    assert items[140] - items[100] == 40


def test_the_same_again_and_stopped_and_resumed(tmp_path):
    # Four environments in processes of their own.
    command = '--configs gym debug --run.train_ratio 16 --run.parallel_envs True'
    straight = main(tmp_path / 'straight', f'{command} --run.steps 120')
    for steps in (72, 120):
        resumed = main(tmp_path / 'resumed', f'{command} --run.steps {steps}')
    again = main(tmp_path / 'again', f'{command} --run.steps 120')
    check_same(again.save()['params'], straight.save()['params'])
    for name in (*(f'train/loss/{x}' for x in LOSSES), 'train/opt/grad_norm', 'episode/score'):
        left, right = (column(tmp_path / x, name) for x in ('straight', 'again'))
        assert left == right and left
    assert resumed.counters == straight.counters
    check_same(resumed.save()['params'], straight.save()['params'])
    check_same(resumed.save()['acting'], straight.save()['acting'])
    for name in ('episode/score', 'episode/length'):
        left, right = (column(tmp_path / x, name) for x in ('straight', 'resumed'))
        assert left == right and left


def test_training_with_evaluations_is_the_same_training(tmp_path):
    command = '--configs gym debug --run.train_ratio 16 --run.steps 80'
    plain = main(tmp_path / 'plain', command)
    evals = '--script train_eval --run.eval_every -1 --run.eval_eps 2 --run.report_every -1'
    # Reports on training data draw from its replay.
    evals = main(tmp_path / 'evals', f'{command} {evals}'.replace('--run.report_every -1', ''))
    check_same(evals.save()['params'], plain.save()['params'])
    assert evals.counters['evals'] > 0
    check_logdir(tmp_path / 'evals')
    scores = column(tmp_path / 'evals', 'eval_episode/score')
    assert list(scores) == list(range(4, 81, 4))
    resumed = '--script train_eval --run.eval_every -1 --run.report_every -1 --run.steps 100'
    main(tmp_path / 'evals', f'{command} {resumed}')
    check_logdir(tmp_path / 'evals')
    for name in LOSSES:
        assert column(tmp_path / 'evals', f'eval_report/loss/{name}'), name
    assert list((tmp_path / 'evals' / 'eval_replay').glob('*.npz'))


def test_parameters_for_another_run_and_for_evaluation(tmp_path, capsys):
    command = '--configs gym debug --run.train_ratio 16 --run.steps'
    first = main(tmp_path / 'first', f'{command} 60')
    begin = f'--run.from_checkpoint {tmp_path}/first --run.from_checkpoint_regex'
    second = main(tmp_path / 'second', f'{command} 8 --seed 5 {begin} ^(enc|dyn|dec|rew|con)/')
    assert second.counters['updates'] == 0
    old, new = first.save()['params'], second.save()['params']
    world = [k for k in old if k.split('/')[0] in ('enc', 'dyn', 'dec', 'rew', 'con')]
    for key in world:
        np.testing.assert_array_equal(new[key], old[key], key)
    assert not np.array_equal(new['pol/mlp/linear0/kernel'], old['pol/mlp/linear0/kernel'])
    assert f'Loaded {len(world)} of {len(old)} parameters: ' in capsys.readouterr().out

    # Neither --configs nor --task has to be said again.
    script = '--script eval_only --run.eval_eps 3 --env.gym.render True --run.eval_video 1'
    for folder, flags in (('greedy', ''), ('sample', '--agent.eval_mode sample')):
        argv = f'{script} {begin} .* --jax.platform cpu {flags}'
        made = main(tmp_path / folder, argv)
        check_same(made.save()['params'], old)
        content = json.loads((tmp_path / folder / 'eval.json').read_text())
        assert content['step'] == 60 and len(content['results']) == 3
        (video,) = (tmp_path / folder / 'videos').iterdir()
        assert video.stat().st_size > 1000


@pytest.mark.parametrize('script', ['train', 'train_eval', 'eval_only'])
def test_misfit_is_one_line(tmp_path, capsys, script):
    main(tmp_path / 'first', '--configs gym debug --run.steps 8')
    capsys.readouterr()
    with pytest.raises(SystemExit) as e:
        flags = f'--script {script} --run.from_checkpoint {tmp_path}/first'
        main(tmp_path / 'second', f'--configs gym debug --task gym_Acrobot-v1 {flags}')
    assert e.value.code == 2
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and 'Parameters do not fit this agent' in err
    assert 'run.from_checkpoint' in err


@pytest.mark.skipif(not importlib.util.find_spec('crafter'), reason='crafter is not installed')
def test_image_task_trains_and_reports(tmp_path):
    made = main(
        tmp_path,
        '--configs crafter debug --run.train_ratio 64 --run.report_every -1 --run.steps 80 '
        '--env.crafter.logs True',
    )
    video_of_dreams(tmp_path)
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


# Of the block debug, with a world model that is just large enough to remember whose turn it is.
LEARNING = r"""
--configs debug --task embodied.tests.masked:MaskedCartPole --env.custom.mask True
--run.steps 500 --run.train_ratio 32 --run.envs 2 --run.report_every 0 --jax.debug False
--agent.report False --agent.opt.lr 1e-3 --agent.opt.warmup 50 --agent.dyn.rssm.deter 64
--agent.dyn.rssm.hidden 32 --agent.dyn.rssm.stoch 4 --agent\..*\.units 32 --agent.imag_length 5
--agent.imag_last 4
"""


def test_cartpole_whose_buttons_work_in_turns(tmp_path):
    """What may be taken follows from the number of the step, which the agent is not told."""
    main(tmp_path, LEARNING)
    loaded = dreamerv3.load(tmp_path)
    env = custom.make('embodied.tests.masked:MaskedCartPole', mask=True, seed=0)
    lengths, imagined = [], 0
    for _ in range(10):
        loaded.reset()
        obs, length = env.step({'action': 0, 'reset': True}), 0
        while not obs['is_last']:
            # In imagination, as long as the episode is likely to go on.
            dream = loaded.imagine(obs, 'sample', 6)
            going_on = np.cumprod(np.append(1, dream.cont[:-1])) > 0.5
            turns = (length + np.arange(6)) % 2
            np.testing.assert_array_equal((dream.action['action'] // 2)[going_on], turns[going_on])
            imagined += going_on.sum()
            # And in the environment.
            act = loaded.act(obs, 'sample')
            assert act['action'] // 2 == length % 2
            obs = env.step({**act, 'reset': False})
            length += 1
        assert obs['reward'] == 1  # It fell.
        lengths.append(length)
    assert min(lengths) > 5 and imagined > 100
