"""The program as others see it: started, watched, stopped and killed from outside."""

import atexit
import contextlib
import itertools
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATIENCE = 1200  # Seconds for anything to happen, compiling on a busy machine included.
ORPHANS = 5  # Seconds after which nothing may be left of a killed run.


class Program:
    """The program on a logdir, in a session of its own, with what it prints in a file."""

    def __init__(self, logdir, flags):
        self.began = time.monotonic()
        self.output = logdir.with_suffix('.txt')
        values = [[f'--{k}', *v.split()] for k, v in {**flags, 'logdir': str(logdir)}.items()]
        command = [sys.executable, 'dreamerv3/main.py', '--configs', 'debug']
        with self.output.open('wb') as f:
            self.process = subprocess.Popen(
                [*command, *itertools.chain(*values)],
                cwd=ROOT,
                env={**os.environ, 'PYTHONPATH': str(ROOT), 'PYTHONUNBUFFERED': '1'},
                stdout=f,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        atexit.register(self.process.kill)

    @property
    def text(self):
        return self.output.read_text(errors='replace')

    @property
    def runs(self):
        return self.process.poll() is None

    def wait(self, condition, seconds=PATIENCE):
        """Whether a condition comes true before the program ends and before the time is over."""
        deadline = time.monotonic() + seconds
        while self.runs and time.monotonic() < deadline:
            if condition():
                return True
            time.sleep(0.002)
        return bool(condition())

    def saved(self):
        """Steps of the saves that it has reported."""
        return [int(x) for x in re.findall(r'Saved checkpoint: .*/(\d+)-', self.text)]

    def kill(self):
        """End it at once. Returns how many of its processes were left after some seconds."""
        self.process.kill()
        self.process.wait()
        deadline = time.monotonic() + ORPHANS
        while (left := session(self.process.pid)) and time.monotonic() < deadline:
            time.sleep(0.01)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(left)

    def stop(self):
        """End it as Ctrl-C does, and return its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


def session(number):
    """Processes of a session that are not over."""
    found = []
    for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
        with contextlib.suppress(OSError):
            state, _, _, theirs = path.read_text().rpartition(')')[2].split()[:4]
            if int(theirs) == number and state not in 'ZX':
                found.append(int(path.parent.name))
    return found
