"""The mark of a process that writes to a logdir. It is gone with the process, however that ends."""

import contextlib
import fcntl
import os
import pathlib
import socket
import time

FILE = 'run.lock'
PATIENCE = 1.0  # Seconds, as whoever looks at the mark takes hold of it for a moment.


@contextlib.contextmanager
def hold(logdir: pathlib.Path):
    """Mark a logdir as being written to; ValueError of one line if another process does that."""
    path = pathlib.Path(logdir) / FILE
    with path.open('a+') as f:
        if not _take(f, fcntl.LOCK_EX, PATIENCE):
            f.seek(0)
            raise ValueError(
                f'logdir: got {str(logdir)!r}, allowed is a folder that no other run writes to: '
                f'{f.read().strip() or "another process"} does'
            )
        f.truncate(0)
        f.write(f'process {os.getpid()} on {socket.gethostname()}\n')
        f.flush()
        yield
        # The file stays: who waits for it would else hold one that nobody finds any more.
        f.truncate(0)


def held(logdir: pathlib.Path) -> bool:
    """Whether a process writes to a logdir."""
    try:
        with (pathlib.Path(logdir) / FILE).open() as f:
            return not _take(f, fcntl.LOCK_SH, 0)
    except OSError:
        return False


def _take(file, kind, patience):
    """Whether the lock could be had; also true where the disk has no locks."""
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        except OSError:
            return True
