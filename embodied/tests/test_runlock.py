"""Who writes to a logdir: one process at a time, known as long as it lives."""

import os
import signal
import subprocess
import sys

import pytest

from embodied.core.system import runlock
from embodied.tests import runs


def test_held_while_it_is_held(tmp_path):
    assert not runlock.held(tmp_path)
    with runlock.hold(tmp_path):
        assert runlock.held(tmp_path)
        assert runlock.held(tmp_path)  # Looking does not take it away.
    assert not runlock.held(tmp_path)
    with runlock.hold(tmp_path):
        pass


def test_another_run_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(runlock, 'PATIENCE', 0)
    text = f'allowed is a folder that no other run writes to: process {os.getpid()} on .* does'
    with runlock.hold(tmp_path), pytest.raises(ValueError, match=text), runlock.hold(tmp_path):
        pass


def test_gone_with_its_process(tmp_path):
    code = (
        'import sys, time; from embodied.core.system import runlock\n'
        'with runlock.hold(sys.argv[1]): print("held", flush=True); time.sleep(600)'
    )
    command = [sys.executable, '-c', code, str(tmp_path)]
    with subprocess.Popen(command, cwd=runs.ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == 'held\n'
        assert runlock.held(tmp_path)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not runlock.held(tmp_path)
