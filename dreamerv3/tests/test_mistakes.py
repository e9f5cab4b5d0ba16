"""Malformed command lines: one line with key, value and what is allowed, exit code 2, no JAX.

All of them run one after the other in a fresh interpreter, which tells of each how it ended and
whether JAX had been imported by then.
"""

import json
import pathlib
import shlex
import subprocess
import sys

import pytest

import dreamerv3
from dreamerv3.tests import small

ROOT = pathlib.Path(dreamerv3.__file__).parent.parent
WHOLE = 'allowed is a whole number'
BLOCKS = f'allowed are {", ".join(small.SCHEMA.blocks)} or the path of a config.yaml'

# Command lines, which are split as a shell does it or are lists, and how the line begins.
MISTAKES = [
    # Names.
    ('--run.env 3', 'run.env: unknown option, did you mean run.envs?'),
    ('--batchsize 4', 'batchsize: unknown option, did you mean batch_size?'),
    ('--SEED=3', 'SEED: unknown option, did you mean seed?'),
    ('--lr 1', 'lr: unknown option, did you mean agent.opt.lr?'),
    ('--run..envs 3', 'run..envs: unknown option, did you mean run.envs?'),
    ('---seed 3', '-seed: unknown option, did you mean seed?'),
    ('--agent.loss_scales.reward 1', 'agent.loss_scales.reward: unknown option, did you mean'),
    ('--run 3', 'run: is a section, allowed are run.steps, '),
    ('--env.nosuch.size 64 64', 'env.nosuch.size: unknown option, did you mean env.'),
    ('--größe 3', 'größe: matches no option'),
    (['--seed\n', '3'], 'seed : matches no option'),
    (r"--'.*\.width' 3", r'.*\.width: matches no option'),
    (r"--'.*\.units' 0", f"agent.enc.simple.units: got '0', {WHOLE} >0"),
    ("--'(' 3", '(: not a regular expression'),
    # Shapes of the line.
    ('--seed', 'seed: needs a value, as in --seed VALUE'),
    ('--seed --seed 2', 'seed: needs a value, as in --seed VALUE'),
    ('--seed 1 --run.envs', 'run.envs: needs a value, as in --run.envs VALUE'),
    ('--', ': needs a value'),
    ('--=3', ': unknown option'),
    ('train', 'train: unexpected argument, options begin with --'),
    ('-s 3', '-s: unexpected argument, options begin with --'),
    ('seed=3', 'seed=3: unexpected argument, options begin with --'),
    # Blocks.
    ('--configs', 'configs: needs a value, as in --configs VALUE'),
    ("--configs ''", "configs: got '', allowed are names of blocks"),
    ('--configs ,', "configs: got ',', allowed are names of blocks"),
    ('--configs size1', f"configs: unknown block 'size1', did you mean size1m?, {BLOCKS}"),
    ('--configs debug defaults', f"configs: unknown block 'defaults', {BLOCKS}"),
    (['--configs', 'a\0.yaml'], r"configs: unknown block 'a\x00.yaml', allowed are"),
    ('--configs nosuch.yaml', 'nosuch.yaml: cannot be read, No such file or directory'),
    ('--configs ~nobody_/x.yaml', '~nobody_/x.yaml: cannot be read, Could not determine home'),
    ('--configs cut.yaml', 'cut.yaml: is not YAML, while parsing'),
    ('--configs twice.yaml', 'twice.yaml: is not YAML, while constructing a mapping'),
    ('--configs binary.yaml', "binary.yaml: is not YAML, 'utf-8' codec"),
    ('--configs list.yaml', 'list.yaml: is not a mapping of keys to values'),
    ('--configs hostile.yaml', 'hostile.yaml: is not YAML, could not determine a constructor'),
    ('--configs endless.yaml', 'endless.yaml: cannot be read, maximum recursion depth'),
    ('--configs nothing.yaml', f'run.envs: got None, {WHOLE}'),
    ('--configs old.yaml', 'agent.gone: unknown option'),
    # Whole numbers.
    ('--run.envs four', f"run.envs: got 'four', {WHOLE} >0 <=1e4"),
    ('--run.envs 0', f"run.envs: got '0', {WHOLE} >0 <=1e4"),
    ('--run.envs 1.5', f"run.envs: got '1.5', {WHOLE}"),
    ('--run.envs 1e9', f"run.envs: got '1e9', {WHOLE}"),
    ('--run.envs 1 2', f"run.envs: got ['1', '2'], {WHOLE}"),
    ("--run.envs ''", f"run.envs: got '', {WHOLE}"),
    ('--run.envs True', f"run.envs: got 'True', {WHOLE}"),
    ('--run.envs 0x10', f"run.envs: got '0x10', {WHOLE}"),
    ('--run.envs 1_6', f"run.envs: got '1_6', {WHOLE}"),
    ('--run.envs ٤', f"run.envs: got '٤', {WHOLE}"),
    (['--run.envs', '4\n'], rf"run.envs: got '4\n', {WHOLE}"),
    ('--seed -1', f"seed: got '-1', {WHOLE} 0..4294967295"),
    ('--seed 4294967296', f"seed: got '4294967296', {WHOLE} 0..4294967295"),
    ('--run.steps 1M', f"run.steps: got '1M', {WHOLE} >=0"),
    ('--run.steps 1e30', f"run.steps: got '1e30', {WHOLE} >=0 of at most 9.2e+18"),
    ('--run.steps inf', f"run.steps: got 'inf', {WHOLE} >=0"),
    ('--run.log_every nan', f"run.log_every: got 'nan', {WHOLE}"),
    # Numbers.
    ('--agent.opt.lr 0', "agent.opt.lr: got '0', allowed is a number >0"),
    ('--agent.opt.lr nan', "agent.opt.lr: got 'nan', allowed is a number >0"),
    ('--agent.opt.lr inf', "agent.opt.lr: got 'inf', allowed is a number >0"),
    ('--agent.opt.lr 1e39', "agent.opt.lr: got '1e39', allowed is a number >0 of at most 3.4e+38"),
    ('--agent.opt.lr 1,5', "agent.opt.lr: got '1,5', allowed is a number >0"),
    ('--agent.opt.beta1 1', "agent.opt.beta1: got '1', allowed is a number >=0 <1"),
    ('--run.train_ratio -1', "run.train_ratio: got '-1', allowed is a number >=0"),
    ('--replay.prio.maxfrac 2', "replay.prio.maxfrac: got '2', allowed is a number 0..1"),
    # Texts, switches and choices.
    ('--jax.jit 0', "jax.jit: got '0', allowed is True or False"),
    ('--run.parallel_envs yes', "run.parallel_envs: got 'yes', allowed is True or False"),
    ('--random_agent None', "random_agent: got 'None', allowed is True or False"),
    ('--script Train', "script: got 'Train', allowed is train|train_eval|eval_only|parallel"),
    ('--agent.opt.schedule exp', "agent.opt.schedule: got 'exp', allowed is const|linear|cosine"),
    ('--agent.value.norm rms0em1', "agent.value.norm: got 'rms0em1', allowed is none|(rms|layer)"),
    ('--logger.filter (', "logger.filter: got '(', allowed is a regular expression"),
    # Lists.
    ('--env.crafter.size 64', 'env.crafter.size: got [64], allowed are height and width'),
    ('--env.dummy.size 64 64 3', 'env.dummy.size: got [64, 64, 3], allowed are height and width'),
    ('--env.dummy.size 64,0', "env.dummy.size: got '64,0', allowed is a list, each a whole"),
    ('--env.dummy.size [64,64]', "env.dummy.size: got '[64,64]', allowed is a list, each a whole"),
    ("--agent.enc.simple.mults ''", "agent.enc.simple.mults: got '', allowed is a list, each a"),
    ('--logger.outputs nosuch', "logger.outputs: got 'nosuch', allowed is a list, each"),
    (
        '--logger.outputs jsonl,jsonl',
        "logger.outputs: got ['jsonl', 'jsonl'], allowed is each once",
    ),
    # Options that do not go together.
    ('--replay.size 1039', 'replay.size: got 1039, allowed is at least 1040, one batch'),
    ('--replay.eval_size 64', 'replay.eval_size: got 64, allowed is at least 65'),
    ('--replay_context 65', 'replay_context: got 65, allowed is at most batch_length 64'),
    ('--report_length 65', 'report_length: got 65, allowed is at most 64'),
    ('--batch_size 1e9', 'replay.size: got 5000000, allowed is at least 65000000000, one batch'),
    ('--replay.fracs.uniform 0.5', "replay.fracs: got {'uniform': 0.5"),
    ('--agent.imag_last 65', 'agent.imag_last: got 65, allowed is at most batch_length 64'),
    ('--agent.dyn.rssm.blocks 3', 'agent.dyn.rssm.deter: got 8192, allowed are multiples of'),
    (
        '--env.dummy.size 64 4',
        'env.dummy.size: got [64, 4], allowed are heights and widths from 5 to 256 for '
        'agent.enc.simple.mults [2, 3, 4, 4]',
    ),
    (
        '--task dummy_cont --env.dummy.size 1024 1024',
        'env.dummy.size: got [1024, 1024], allowed are heights and widths from 5 to 256',
    ),
    (
        '--agent.dec.simple.mults 1',
        'env.dummy.size: got [64, 64], allowed are heights and widths from 5 to 32 for '
        'agent.dec.simple.mults [1]',
    ),
    (
        "--agent.enc.simple.include '('",
        "agent.enc.simple.include: got '(', allowed is a regular expr",
    ),
    ('--agent.dec.simple.bspace 7', 'agent.dec.simple.bspace: got 7, allowed are divisors of'),
    # Devices.
    ('--jax.platform gpu', "jax.platform: got 'gpu', allowed is auto|cpu|cuda|tpu"),
    ('--jax.platform tpu', "jax.platform: got 'tpu', but there is no TPU here, use"),
    (
        '--jax.platform cpu --jax.train_devices 1',
        'jax.train_devices: got [1], allowed is 0 to 0, the devices of cpu',
    ),
    (
        '--configs multicpu --jax.policy_devices 8 9',
        'jax.policy_devices: got [8, 9], allowed is 0 to 7, the devices of cpu as of jax.mock_dev',
    ),
    ('--jax.train_devices 0 0', 'jax.train_devices: got [0, 0], allowed is each device once'),
    ('--jax.train_devices -1', "jax.train_devices: got '-1', allowed is a list, each a whole"),
    (
        '--configs multicpu --batch_size 16',
        'batch_size: got 16, allowed are multiples of the 6 train_devices',
    ),
    ('--jax.mock_devices 1e6', f"jax.mock_devices: got '1e6', {WHOLE} 0..1024"),
    ('--jax.cache file', "jax.cache: got 'file', allowed is auto, off or a folder"),
    # Tasks.
    ('--task nosuch_thing', "task: unknown suite 'nosuch' in 'nosuch_thing'"),
    ('--task dummy', "task: got 'dummy', allowed is dummy_TASK"),
    ('--task dummy_nosuch', "task: unknown dummy task 'nosuch', allowed are disc, cont, hybrid"),
    ('--task gym_CartPole', "task: gymnasium has no environment 'CartPole', did you mean"),
    ("--task ''", "task: unknown suite '' in ''"),
    ('--task dummy_disc dummy_cont', "task: got ['dummy_disc', 'dummy_cont'], allowed is a"),
    # Folders.
    ('--logdir file', "logdir: got 'FOLDER/file', allowed is a folder that can be written"),
    ('--logdir file/run', "logdir: got 'FOLDER/file/run', allowed is a folder that can be written"),
    ('--logdir /proc/nothing', "logdir: got '/proc/nothing', allowed is a folder that can be"),
    ("--logdir ''", "logdir: got '', allowed is a folder"),
    ('--logdir gs://bucket/run', "logdir: got 'gs://bucket/run', allowed is a folder of this"),
    ('--logdir ~nobody_/run', "logdir: got '~nobody_/run', allowed is a folder, no such home"),
    ('--logdir {timestmap}', "logdir: got '{timestmap}', allowed in braces is {timestamp}"),
    (['--logdir', 'a\0b'], r"logdir: got 'a\x00b', allowed is a printable text"),
    (['--logdir', 'a\udcff'], r"logdir: got 'a\udcff', allowed is a printable text"),
    # Checkpoints.
    ('--run.from_checkpoint nosuch', "run.from_checkpoint: got 'nosuch', allowed is a logdir or"),
    ('--run.from_checkpoint file', "run.from_checkpoint: got 'file', allowed is a logdir or a"),
    ('--run.from_checkpoint ~nobody_/x', "run.from_checkpoint: got '~nobody_/x', allowed is a"),
    (['--run.from_checkpoint', 'x' * 300], "run.from_checkpoint: got 'xxx"),
    ('--run.from_checkpoint_regex *', "run.from_checkpoint_regex: got '*', allowed is a regular"),
    ('--script eval_only --logdir nosuch', "run.from_checkpoint: got 'nosuch', allowed is a log"),
    # Processes.
    (
        '--script parallel --run.actor_addr here',
        "run.actor_addr: got 'here', allowed is host:port such as 127.0.0.1:5551",
    ),
    (
        '--script parallel --run.logger_addr 0.0.0.0:1',
        "run.logger_addr: got '0.0.0.0:1', allowed are addresses of this machine",
    ),
    (
        '--script parallel --run.actor_addr 127.0.0.1:1 --run.replay_addr 127.0.0.1:1',
        "run.replay_addr: got '127.0.0.1:1', allowed is another one than run.actor_addr",
    ),
    ('--script parallel_env', "run.actor_addr: got 'auto', allowed is host:port"),
    ('--run.actor_batch 0', 'run.actor_batch: got 0, allowed is 1 or more, or -1 for all'),
    ('--run.token_file nosuch', "run.token_file: got 'nosuch', allowed is a file with a secret"),
    # Help.
    ('--help nosuch', "help: got 'nosuch', allowed is a part of an option"),
]

FILES = {
    'cut.yaml': b'run: {envs: [',
    'twice.yaml': b'seed: 1\nseed: 2\n',
    'binary.yaml': b'\xff\xfe\x00',
    'list.yaml': b'- seed: 1\n',
    'hostile.yaml': b'seed: !!python/object/apply:os.mkdir ["hit"]\n',
    'endless.yaml': b'run: &a\n  envs: *a\n',
    'nothing.yaml': b'run: {envs: }\n',
    'old.yaml': b'agent: {gone: 1}\n',
    'file': b'',
}
CODE = """
import contextlib, io, json, sys
from dreamerv3 import main

sys.modules['embodied.build'] = None  # What is no mistake ends here instead of running.

def call(argv):
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main.main(argv)
        except SystemExit as e:
            code = e.code
        except Exception as e:
            code = repr(e)
    return code, out.getvalue(), err.getvalue(), 'jax' in sys.modules

print(json.dumps([call(argv) for argv in json.load(sys.stdin)]))
"""


def split(line):
    return shlex.split(line) if isinstance(line, str) else line


@pytest.fixture(scope='module')
def results(tmp_path_factory):
    """How each of the command lines ended, and the folder in which that was."""
    folder = tmp_path_factory.mktemp('mistakes')
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    process = subprocess.run(
        [sys.executable, '-c', CODE],
        input=json.dumps([split(line) for line, _ in MISTAKES]),
        cwd=folder,
        env={'HOME': str(folder), 'PYTHONPATH': str(ROOT), 'PATH': ''},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert process.returncode == 0, process.stderr
    return folder, json.loads(process.stdout)


@pytest.mark.parametrize('index', range(len(MISTAKES)), ids=[str(x) for x, _ in MISTAKES])
def test_mistake_is_one_line_without_jax(results, index):
    folder, ends = results
    code, out, err, jax = ends[index]
    start = 'dreamerv3: error: ' + MISTAKES[index][1].replace('FOLDER', str(folder))
    assert (code, out) == (2, '')
    assert err.startswith(start), err
    assert err.endswith('\n') and err[:-1].isprintable()
    assert not jax


def test_mistakes_leave_nothing_behind(results):
    folder, _ = results
    assert {x.name for x in folder.iterdir()} == set(FILES)  # Least of all `hit`.
