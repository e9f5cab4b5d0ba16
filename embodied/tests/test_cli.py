"""The command line up to the call of the run: arguments, mistakes, help, the saved config."""

import re
import shutil
import sys
import types

import pytest

import embodied
from embodied import cli, config
from embodied.core import checkpoint
from embodied.core.system import runlock
from embodied.core.workers import worker
from embodied.envs import registry

TEXT = r"""
defaults:
  task: dummy_disc  # environment
  logdir: ~/logdir/{timestamp}  # folder of the run
  script: train  # [train|eval_only] what to do
  random_agent: False  # act at random
  seed: 0  # [>=0] start of random generators
  batch_size: 2  # [>0] sequences
  batch_length: 4  # [>0] steps
  report_length: 4  # [>0] steps
  consec_train: 1  # [>0] batches
  consec_report: 1  # [>0] batches
  replay_context: 1  # [>=0] steps
  agent:
    units: 8  # [>0] width
    lr: 0.1  # [>0] speed
  env:
    dummy:
      size: [8, 8]  # [>0] height and width
      length: 9  # [>0] steps
    crafter:
      size: [8, 8]  # [>0] height and width
  logger:  # metrics
    outputs: [jsonl]  # [jsonl|scope] where to
    filter: score  # shown on the terminal
  replay:
    size: 100  # [>0] capacity
    eval_size: 100  # [>0] capacity
    fracs:
      uniform: 1.0  # [0..1] share
  run:  # the loop
    envs: 2  # [>0] environments
    steps: 100  # [>=0] steps
    from_checkpoint: ''  # path
    from_checkpoint_regex: .*  # parameters
    public: False  # listen to other machines
    token_file: ''  # secret
    remote_envs: False  # environments elsewhere
    remote_replay: False  # replay elsewhere
    actor_batch: -1  # [>=-1] environments to act for
  jax:
    platform: auto  # [auto|cpu|cuda] where to run
    policy_devices: [0]  # [>=0] devices that act
    train_devices: [0]  # [>=0] devices that learn
    mock_devices: 0  # [>=0] number
    cache: auto  # folder

many:
  run.envs: 8

long:
  run.steps: 1e6
"""


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Runs the command line; returns config and agent function that the run was given."""
    path = tmp_path / 'configs.yaml'
    path.write_text(TEXT)
    calls = []
    build = types.ModuleType('embodied.build')
    build.run = lambda *args: calls.append(args)
    monkeypatch.setitem(sys.modules, 'embodied.build', build)
    monkeypatch.setattr(embodied, 'build', build, raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))

    def run(*argv, make_agent=dict, **kwargs):
        calls.clear()
        cli.main(make_agent, path, argv=list(argv), name='prog', **kwargs)
        return calls[0][:2] if calls else None

    run.build = build
    return run


def contents(folder):
    """Files of a logdir, without the mark of who writes to it."""
    files = [x for x in folder.rglob('*') if x.is_file() and x.name != runlock.FILE]
    return {x: x.read_bytes() for x in files}


def test_defaults_run(call, tmp_path, capsys):
    options, make_agent = call()
    assert make_agent is dict
    assert options.task == 'dummy_disc'
    folder = tmp_path / 'logdir'
    (folder,) = folder.iterdir()
    assert options.logdir == str(folder)
    assert re.fullmatch(r'\d{8}T\d{6}', folder.name)
    assert config.load(folder / 'config.yaml') == options.flat
    assert capsys.readouterr().out == f'Logdir: {folder}\n'


def test_blocks_and_flags(call, tmp_path):
    logdir = str(tmp_path / 'run')
    argv = ('--configs', 'many', 'long', '--run.steps=5', '--seed', '3', '--logdir', logdir)
    options, _ = call(*argv)
    assert (options.run.envs, options.run.steps, options.seed) == (8, 5, 3)
    options, _ = call('--configs', 'many', '--configs=long', '--logdir', logdir)
    assert (options.run.envs, options.run.steps) == (8, 1000000)
    options, _ = call('--configs', 'many,long', '--logdir', logdir)
    assert (options.run.envs, options.run.steps) == (8, 1000000)
    options, _ = call('--run.steps', '1', '--run.steps', '2', '--logdir', logdir)
    assert options.run.steps == 2
    options, _ = call(r'--run\.(envs|steps)', '3', '--logdir', logdir)
    assert (options.run.envs, options.run.steps) == (3, 3)


def test_lists(call, tmp_path):
    flags = ('--logdir', str(tmp_path / 'run'), '--jax.train_devices')
    flags = ('--jax.mock_devices', '4', *flags)
    assert call(*flags, '1', '2')[0].jax.train_devices == (1, 2)
    assert call(*flags, '1,2')[0].jax.train_devices == (1, 2)
    assert call(*flags, '3')[0].jax.train_devices == (3,)


@pytest.mark.parametrize(
    'argv, match',
    [
        ('--run.env 3', r'run.env: unknown option, did you mean run.envs\?'),
        ('--steps 3', r'steps: unknown option, did you mean run.steps\?'),
        ('--configs manny', r"unknown block 'manny', did you mean many\?"),
        ('--run.envs many', r"run.envs: got 'many', allowed is a whole number >0"),
        ('--run.envs 0', r"run.envs: got '0', allowed is a whole number >0"),
        ('--batch_size -1', r"batch_size: got '-1', allowed is a whole number >0"),
        ('--run.envs', r'run.envs: needs a value'),
        ('--run.envs --seed 1', r'run.envs: needs a value'),
        ('--run.envs 1 2', r'run.envs: got .* a whole number'),
        ('run.envs 3', r'run.envs: unexpected argument'),
        ('--', r': needs a value'),
        ('-x', r'-x: unexpected argument'),
        ('--replay.size 9', r'replay.size: got 9, allowed is at least 10, one batch'),
        ('--task nosuch_thing', r'task'),
        ('--task dummy_nosuch', r'task'),
        ('--jax.platform gpu', r"jax.platform: got 'gpu', allowed is auto\|cpu\|cuda"),
        ('--jax.platform cuda', r"jax.platform: got 'cuda', .*--jax.platform cpu"),
        ('--logdir /proc/nothing', r'logdir: got .*can be written'),
        ('--help nosuch', r"help: got 'nosuch', allowed is a part of an option"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(call, capsys, monkeypatch, argv, match):
    monkeypatch.setattr(cli.checks.hardware, 'has_gpu', lambda: False)
    with pytest.raises(SystemExit) as e:
        call(*argv.split())
    assert e.value.code == 2
    out, err = capsys.readouterr()
    assert out == ''
    assert err.count('\n') == 1 and err.endswith('\n')
    assert err.startswith('prog: error: ')
    assert re.search(match, err), err


def test_unwritable_logdir(call, tmp_path, capsys):
    (tmp_path / 'file').touch()
    with pytest.raises(SystemExit) as e:
        call('--logdir', str(tmp_path / 'file' / 'run'))
    assert e.value.code == 2
    assert 'logdir: got' in capsys.readouterr().err


def test_mistake_leaves_no_logdir(call, tmp_path):
    with pytest.raises(SystemExit):
        call('--logdir', str(tmp_path / 'run'), '--task', 'nosuch_thing')
    assert not (tmp_path / 'run').exists()


def test_agent_has_its_own_checks(call, capsys):
    def check(options):
        raise ValueError('seed: got 0, allowed is luck')

    with pytest.raises(SystemExit) as e:
        call(check=check)
    assert e.value.code == 2
    assert capsys.readouterr().err == 'prog: error: seed: got 0, allowed is luck\n'


def test_changes_on_resume_are_told(call, tmp_path, capsys):
    logdir = str(tmp_path / 'run')
    call('--logdir', logdir)
    call('--logdir', logdir)
    capsys.readouterr()
    call('--logdir', logdir, '--run.envs', '3')
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == 'Changed run.envs: 2 -> 3'
    assert {x.name for x in contents(tmp_path / 'run')} == {'config-1.yaml', 'config.yaml'}


def test_message_of_the_runtime_is_one_line(call, capsys):
    # Raised by a `raise` of the package.
    call.build.run = lambda *args: registry.check('nosuch_thing')
    with pytest.raises(SystemExit) as e:
        call()
    assert e.value.code == 2
    assert capsys.readouterr().err.count('\n') == 1


def test_failure_of_an_environment_is_one_line_with_details_below(call, capsys):
    def fail(*args):
        raise worker.EnvError('Environment 3 (maze) failed at its step 7: x\n\nTraceback:\n  y')

    call.build.run = fail
    with pytest.raises(SystemExit) as e:
        call()
    assert e.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == 'prog: error: Environment 3 (maze) failed at its step 7: x'
    assert lines[-2:] == ['Traceback:', '  y']


def test_message_of_the_agent_is_one_line(call, capsys, tmp_path, monkeypatch):
    (tmp_path / 'someagent').mkdir()
    (tmp_path / 'someagent' / '__init__.py').write_text('')
    text = 'def make():\n    raise ValueError(\n        "act: got it"\n    )\n'
    (tmp_path / 'someagent' / 'agent.py').write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    call.build.run = lambda options, make_agent, entries: make_agent()
    with pytest.raises(SystemExit) as e:
        call(make_agent='someagent.agent:make')
    assert e.value.code == 2
    assert capsys.readouterr().err == 'prog: error: act: got it\n'


def test_error_of_a_library_keeps_its_traceback(call, capsys):
    call.build.run = lambda *args: int('x')
    with pytest.raises(ValueError, match='invalid literal'):
        call()
    call.build.run = lambda *args: {}['x']
    with pytest.raises(KeyError):
        call()
    assert capsys.readouterr().err == ''


def test_agent_by_name_is_imported_late(call):
    _, make_agent = call(make_agent='fractions:Fraction')
    assert make_agent(1, 2) == make_agent(numerator=1, denominator=2)
    _, make_agent = call(make_agent='no_such_module:make')
    with pytest.raises(ModuleNotFoundError):
        make_agent()


def test_help_shows_all(call, capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    assert call('--help') is None
    text = capsys.readouterr().out
    for key in ('seed 0  [>=0] ', 'run.envs 2  [>0] ', 'jax.platform auto  [auto|cpu|cuda]'):
        assert f'\n  --{key}' in text
    assert '\nrun: the loop\n' in text
    assert 'many, long' in text
    assert max(map(len, text.splitlines())) <= 100
    call('-h', 'run.')
    text = capsys.readouterr().out
    assert '--run.steps' in text and '--seed' not in text and 'Usage' not in text
    call('--seed', '3', '--help', 'run.')
    assert capsys.readouterr().out == text


class Part:
    def __init__(self, data):
        self.save = lambda: data


@pytest.fixture
def trained(call, tmp_path):
    """Logdir of a run that has saved."""
    folder = tmp_path / 'trained'
    call('--logdir', str(folder), '--task', 'dummy_cont', '--seed', '7', '--run.envs', '5')
    checkpoint.Checkpoint(folder / 'ckpt', agent=Part({'params': {}})).save(10)
    return folder


def units_matter(key, old, new):
    assert key.startswith('agent.') and old != new
    return key == 'agent.units'


@pytest.mark.parametrize(
    'change, refused',
    [
        ('--task dummy_disc', ['task: got dummy_disc, allowed is dummy_cont as in']),
        ('--random_agent True', ['random_agent: got True, allowed is False as in']),
        ('--replay_context 0', ['replay_context: got 0, allowed is 1 as in']),
        ('--env.dummy.size 16 8', ['env.dummy.size: got 16 8, allowed is 8 8 as in']),
        ('--agent.units 16', ['agent.units: got 16, allowed is 8 as in']),
        (
            '--agent.units 16 --agent.lr 0.2 --task dummy_disc --seed 1',
            ['task: got dummy_disc', 'agent.units: got 16'],
        ),
        ('--agent.lr 0.2', []),
        ('--seed 8', []),
        ('--run.envs 3', []),
        ('--batch_size 4', []),
        ('--batch_length 5', []),
        ('--replay_context 2', []),
        ('--run.steps 9', []),
        ('--env.dummy.length 7', []),
        ('--env.crafter.size 16 16', []),
        ('--logger.filter x', []),
        ('--jax.platform cpu', []),
    ],
)
def test_changes_that_do_not_fit_a_checkpoint_are_refused(call, trained, capsys, change, refused):
    before = contents(trained)
    capsys.readouterr()
    argv = ('--logdir', str(trained), '--task', 'dummy_cont', '--seed', '7', '--run.envs', '5')
    if not refused:
        assert call(*argv, *change.split(), structural=units_matter)
        out = capsys.readouterr().out
        assert out.startswith(f'Changed {change.split()[0][2:]}: ')
        assert 'The old config is kept as config-1.yaml.' in out
        return
    with pytest.raises(SystemExit) as e:
        call(*argv, *change.split(), structural=units_matter)
    out, err = capsys.readouterr()
    assert (e.value.code, out) == (2, '')
    assert len(err.splitlines()) == len(refused)
    for line, text in zip(err.splitlines(), refused, strict=True):
        assert line.startswith(f'prog: error: {text}')
        key = text.partition(':')[0]
        assert re.search(rf'give --{key} .* to go on with it, or another --logdir', line)
    assert contents(trained) == before


def test_without_a_checkpoint_everything_fits(call, trained, capsys):
    shutil.rmtree(trained / 'ckpt')
    argv = ('--logdir', str(trained), '--agent.units', '16', '--seed', '8')
    options, _ = call(*argv, structural=units_matter)
    assert (options.task, options.agent.units) == ('dummy_disc', 16)
    # Nothing goes on, so nothing is said about that.
    assert 'Changed seed: 7 -> 8\n' in capsys.readouterr().out


def test_what_a_change_means_to_a_resumed_run_is_told(call, trained, capsys):
    capsys.readouterr()
    argv = ('--logdir', str(trained), '--task', 'dummy_cont', '--batch_length', '5')
    call(*argv)
    lines = capsys.readouterr().out.splitlines()
    for key, values in (('seed', '7 -> 0'), ('run.envs', '5 -> 2'), ('batch_length', '4 -> 5')):
        assert f'Changed {key}: {values} ({cli.checks.resumed(key)})' in lines
        assert cli.checks.resumed(key)


def test_damaged_old_config_stops_nothing(call, trained):
    (trained / 'config.yaml').write_text('a: [')
    assert call('--logdir', str(trained), '--task', 'dummy_disc')


def test_random_agent_has_no_options(call, trained):
    argv = ('--logdir', str(trained), '--task', 'dummy_cont')
    path = trained / 'config.yaml'
    path.write_text(path.read_text().replace('random_agent: false', 'random_agent: true'))
    assert call(*argv, '--random_agent=True', '--agent.units=16', structural=units_matter)


def test_evaluation_takes_task_and_agent_from_the_run(call, trained, tmp_path):
    before = (trained / 'config.yaml').read_bytes()
    ckpt = next((trained / 'ckpt').iterdir())
    for path in (trained, trained / 'ckpt', ckpt):
        argv = ('--script', 'eval_only', '--run.from_checkpoint', str(path))
        options, _ = call(*argv, '--logdir', str(tmp_path / 'eval'))
        assert options.task == 'dummy_cont'
        assert options.run.from_checkpoint == str(path)
        assert options.logdir == str(tmp_path / 'eval')
        # Of the rest nothing.
        assert (options.seed, options.run.envs) == (0, 2)
        assert call(*argv)[0].logdir.startswith(str(tmp_path / 'logdir'))
        # The user has the last word.
        assert call(*argv, '--task', 'dummy_disc')[0].task == 'dummy_disc'
        assert call(*argv, '--configs', 'many')[0].task == 'dummy_disc'
    assert (trained / 'config.yaml').read_bytes() == before


def test_evaluation_in_the_logdir_leaves_it_alone(call, trained):
    before = {x: x.read_bytes() for x in trained.rglob('*') if x.is_file()}
    options, _ = call('--script=eval_only', '--logdir', str(trained))
    assert options.task == 'dummy_cont'
    assert options.run.from_checkpoint == str(trained)
    assert re.fullmatch(f'{trained}/eval-\\d{{8}}T\\d{{6}}', options.logdir)
    assert all(x.read_bytes() == data for x, data in before.items())
    new = {x.name for x in trained.iterdir()} - {x.name for x in before}
    assert new - {'ckpt'} == {options.logdir.rpartition('/')[2]}


def test_evaluation_imports_nothing_that_only_the_logdir_names(call, trained, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr(registry, 'check', lambda task: seen.append(task))
    argv = ('--script', 'eval_only', '--run.from_checkpoint', str(trained))
    text = (trained / 'config.yaml').read_text()
    for task in ('gym_evil_module:Env-v0', 'nosuch_thing'):
        (trained / 'config.yaml').write_text(text.replace('dummy_cont', task))
        with pytest.raises(SystemExit) as e:
            call(*argv)
        assert e.value.code == 2 and not seen
        assert f'It is only imported if you say so: --task {task}' in capsys.readouterr().err
    call(*argv, '--task', 'gym_evil_module:Env-v0')
    assert seen == ['gym_evil_module:Env-v0']


@pytest.mark.parametrize(
    'argv, match',
    [
        ('--script eval_only', r"run.from_checkpoint: got '', allowed for eval_only is a logdir"),
        ('--script eval_only --logdir nosuch', r"run.from_checkpoint: got 'nosuch', .*: nosuch do"),
        ('--script eval_only --run.from_checkpoint nosuch', r'nosuch does not exist'),
        ('--script eval_only --run.from_checkpoint empty', r'empty holds no checkpoint'),
        ('--script eval_only --run.from_checkpoint bare', r'bare has no config.yaml; --configs'),
        (
            '--script eval_only --run.from_checkpoint old',
            r'agent.gone: unknown option.* .in config.yaml of old',
        ),
        ('--run.from_checkpoint nosuch', r"run.from_checkpoint: got 'nosuch', allowed is a logdir"),
        ('--run.from_checkpoint empty', r"run.from_checkpoint: got 'empty', .*no checkpoint"),
        ('--run.from_checkpoint cut', r"run.from_checkpoint: got 'cut', .*intact, .*is missing"),
        ('--run.from_checkpoint trained --run.from_checkpoint_regex a(', r'a regular expression'),
    ],
)
def test_wrong_checkpoints(call, trained, tmp_path, monkeypatch, capsys, argv, match):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    shutil.copytree(trained / 'ckpt', tmp_path / 'bare' / 'ckpt')
    shutil.copytree(trained, tmp_path / 'old')
    (tmp_path / 'old' / 'config.yaml').write_text('task: dummy_disc\nagent:\n  gone: 1\n')
    shutil.copytree(trained, tmp_path / 'cut')
    next((tmp_path / 'cut').rglob('agent.json')).unlink()
    capsys.readouterr()
    with pytest.raises(SystemExit) as e:
        call(*argv.split())
    out, err = capsys.readouterr()
    assert (e.value.code, out, err.count('\n')) == (2, '', 1)
    assert re.search(match, err), err
    assert not (tmp_path / 'nosuch').exists() and not (tmp_path / 'logdir').exists()


def test_run_that_goes_on_needs_no_other_checkpoint(call, trained):
    argv = ('--logdir', str(trained), '--task', 'dummy_cont')
    argv += ('--run.from_checkpoint', '/long/gone')
    assert call(*argv)[0].run.from_checkpoint == '/long/gone'


def test_random_agent_is_evaluated_without_a_checkpoint(call, trained):
    argv = ('--script', 'eval_only', '--random_agent', 'True')
    options, _ = call(*argv, '--task', 'dummy_cont')
    assert (options.random_agent, options.run.from_checkpoint) == (True, '')
    options, _ = call(*argv, '--run.from_checkpoint', str(trained))
    assert (options.random_agent, options.task) == (True, 'dummy_cont')


def test_version(call, capsys):
    call('--version')
    assert capsys.readouterr().out == f'prog {embodied.__version__}\n'
