"""Commands of the README's table of scripts, at debug size, each to its end."""

import contextlib
import json
import os
import pathlib
import re
import shlex
import socket
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


def start(folder, name, addresses, *more, prefix=(), token='', **kwargs):
    """Start the command of a role, with other addresses."""
    command = COMMANDS[name].replace('LOGDIR', str(folder / 'run'))
    for port, address in zip(('5551', '5552', '5553'), addresses, strict=True):
        command = command.replace(f'127.0.0.1:{port}', address)
    argv = shlex.split(command)
    argv.insert(argv.index('--configs') + 2, 'debug')
    return subprocess.Popen(
        [*prefix, sys.executable, *argv, *more, '--jax.platform', 'cpu', '--jax.cache', 'off'],
        cwd=ROOT,
        env={**os.environ, 'HOME': str(folder), 'EMBODIED_TOKEN': token},
        **kwargs,
    )


def ended(roles):
    """Exit codes of processes, none of which is left."""
    try:
        return [x.wait(timeout=300) for x in roles]
    finally:
        for role in roles:
            role.kill()
            role.wait()


def written(folder):
    """What a run left there, besides the mark that one writes to it."""
    return {x.name for x in folder.iterdir()} - {'run.lock'}


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


def test_parallel(tmp_path):
    flags = ('--run.eval_every', '-1', '--run.final_eval_eps', '4')
    out = run(tmp_path, 'parallel', '--run.steps', '200', *flags)
    assert '4 evaluation episodes: score ' in out
    assert written(tmp_path / 'run') >= TRAINING | {'eval.json', 'eval_replay'}
    out = run(tmp_path, 'parallel', '--run.steps', '300', '--run.agent_process', 'True')
    assert 'Loaded checkpoint' in out


def test_parallel_with_random_agent(tmp_path):
    run(tmp_path, 'parallel', '--run.steps', '200', '--random_agent', 'True')
    assert written(tmp_path / 'run') >= TRAINING


def test_train_goes_on_in_parallel_and_back(tmp_path):
    run(tmp_path, 'train', '--run.steps', '200')
    for name, steps in (('parallel', '300'), ('train', '400')):
        assert 'Loaded checkpoint' in run(tmp_path, name, '--run.steps', steps)
    lines = (tmp_path / 'run' / 'metrics.jsonl').read_text().splitlines()
    steps = [json.loads(x)['step'] for x in lines]
    assert steps == sorted(steps) and steps[-1] >= 400


def test_roles_apart(tmp_path):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(('127.0.0.1', 0))) for _ in range(3)]
        addresses = [f'127.0.0.1:{x.getsockname()[1]}' for x in sockets]
    names = ('replay', 'logger', 'envs', 'env', 'agent')
    flags = ('--run.steps', '200', '--run.envs', '4')
    assert ended([start(tmp_path, f'parallel_{x}', addresses, *flags) for x in names]) == [0] * 5
    assert written(tmp_path / 'run') >= TRAINING


@pytest.fixture
def hosts():
    """Prefixes for commands on two hosts, which are network namespaces with a wire in between."""
    names = [f'embodied{os.getpid()}{x}' for x in 'ab']
    wires = [f'wire{os.getpid() % 10000}{x}' for x in 'ab']
    ip = lambda text: subprocess.run(['ip', *text.split()], check=True, capture_output=True)
    try:
        ip(f'netns add {names[0]}')
        ip(f'netns add {names[1]}')
        ip(f'link add {wires[0]} type veth peer name {wires[1]}')
        for i, (name, wire) in enumerate(zip(names, wires, strict=True)):
            ip(f'link set {wire} netns {name}')
            ip(f'-n {name} address add 10.77.0.{i + 1}/24 dev {wire}')
            ip(f'-n {name} link set {wire} up')
            ip(f'-n {name} link set lo up')
    except (OSError, subprocess.CalledProcessError):
        pytest.skip('network namespaces cannot be made here')
    else:
        yield [('ip', 'netns', 'exec', x) for x in names]
    finally:
        for name in names:
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                ip(f'netns delete {name}')


def test_roles_on_two_hosts(tmp_path, hosts):
    addresses = [f'10.77.0.1:{5551 + i}' for i in range(3)]
    learning = {'prefix': hosts[0], 'token': 'secret'}
    flags = ('--run.steps', '200', '--run.envs', '2')
    names = ('replay', 'logger', 'agent')
    roles = [
        start(tmp_path, f'parallel_{x}', addresses, *flags, '--run.public', 'True', **learning)
        for x in names
    ]
    acting = {'prefix': hosts[1]}
    pipe = {'stderr': subprocess.PIPE, 'text': True}
    spy = start(tmp_path, 'parallel_env', addresses, token='wrong', **acting, **pipe)
    _, text = spy.communicate(timeout=120)
    assert spy.returncode == 1
    (line,) = text.strip().splitlines()
    assert line.startswith('dreamerv3: error: actor at 10.77.0.1:5551: refused, the tokens differ')
    roles.append(start(tmp_path, 'parallel_envs', addresses, *flags, token='secret', **acting))
    assert ended(roles) == [0] * 4
    assert written(tmp_path / 'run') >= TRAINING
