"""Every command and every line of Python about trained agents, in the docs and the README."""

import contextlib
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys

import elements
import numpy as np
import pytest

import dreamerv3
from dreamerv3 import card
from dreamerv3.tests import small

ROOT = pathlib.Path(dreamerv3.__file__).parent.parent
DOCS = (ROOT / 'docs' / 'trained-agent.md').read_text()
README = (ROOT / 'README.md').read_text().partition('## Use a trained agent')[2].split('\n## ')[0]
SPACES = {'vector': elements.Space(np.float32, (4,)), **small.REWARD}
ACTIONS = {'action': elements.Space(np.int32, (), 0, 2)}

pytestmark = pytest.mark.slow


def blocks(text, language):
    return re.findall(f'```{language}\n(.*?)```', text, re.DOTALL)


@pytest.fixture(scope='module')
def logdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp('page') / 'run'
    small.write(folder, SPACES, ACTIONS, task='gym_CartPole-v1')
    return folder


@contextlib.contextmanager
def run(*argv, folder):
    """A process that does not outlive the test."""
    env = {**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}
    with subprocess.Popen(
        [sys.executable, *argv], cwd=folder, env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize('text', [DOCS, README], ids=['docs', 'readme'])
def test_python(text, logdir, tmp_path):
    script = tmp_path / 'script.py'
    parts = blocks(text, 'python')
    assert parts
    script.write_text('\n'.join(parts).replace('LOGDIR', str(logdir)))
    with run(script, folder=tmp_path) as process:
        out, _ = process.communicate(timeout=900)
    assert process.returncode == 0 and out


@pytest.mark.parametrize('text', [DOCS, README], ids=['docs', 'readme'])
def test_commands(text, logdir, tmp_path):
    commands = [shlex.split(x, comments=True) for x in '\n'.join(blocks(text, 'sh')).splitlines()]
    commands = [x for x in commands if x]
    assert {x[2] for x in commands} == {'dreamerv3.play', 'dreamerv3.export'}
    for program, *argv in commands:
        assert program == 'python'
        argv = [x.replace('LOGDIR', str(logdir)) for x in argv]
        check = check_play if argv[1] == 'dreamerv3.play' else check_export
        check(argv, tmp_path)


def check_play(argv, folder):
    with run(*argv, '--port', '0', folder=folder) as process:
        assert process.stdout.readline() == 'Compiling ...\n'
        assert process.stdout.readline().startswith('Open http://127.0.0.1:')
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=900) == 0


def check_export(argv, folder):
    with run(*argv, folder=folder) as process:
        out, _ = process.communicate(timeout=900)
    assert process.returncode == 0
    assert 'over 100 observations' in out
    assert (folder / 'OUT' / 'README.md').is_file()


def test_files_are_those_of_an_export():
    rows = set(re.findall(r'^\| `([\w.]+)` \|', DOCS, re.MULTILINE))
    assert rows == {*card.FILES, 'README.md'}
