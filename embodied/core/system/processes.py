"""Processes of our own: bare Python interpreters on a leash, and a watch over several of them.

Not those of `multiprocessing`, which would run the user's main script again in every process, and
import there what only the learner needs. The leash is a pipe: whoever closes it, by intent or by
dying, ends the process. No JAX here.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing import connection

import cloudpickle

UNREACHABLE = 69  # Exit code of a process that lost what it is connected to, as in sysexits.h.


class ProcessError(RuntimeError):
    """A part of the run has failed for good; the first line of the message names it."""


def popen(module: str, *args, fds=()) -> tuple[subprocess.Popen, connection.Connection]:
    """Start an interpreter that calls `main(fd, *args)` of a module; returns it and its pipe.

    File descriptors in `fds` are the same ones there.
    """
    pipe, theirs = connection.Pipe()
    values = ', '.join(repr(x) for x in (theirs.fileno(), *args))
    code = f'import sys; sys.path[:] = {sys.path!r}; from {module} import main; main({values})'
    with theirs:
        process = subprocess.Popen(
            [sys.executable, '-c', code],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno(), *fds],
            process_group=0,  # Ctrl-C in a terminal reaches the parent only.
        )
    return process, pipe


def fate(code: int) -> str:
    """What became of a process, by its exit code."""
    if code == UNREACHABLE:
        return 'lost its connection'
    if code < 0:
        return f'was killed by {signal.Signals(-code).name}'
    return f'exited with code {code}'


class Process:
    """Runs `fn()` in a process of its own.

    When the leash is gone, the process gets SIGTERM and is ended `grace` seconds later.
    """

    def __init__(self, name: str, fn: Callable, grace: float = 0):
        self.name = name
        self.fn = fn
        self.grace = grace
        self.began = time.monotonic()
        # The system ties a child to the life of the thread that made it, so only to the main one.
        tied = not grace and threading.current_thread() is threading.main_thread()
        self.process, self.leash = popen(__name__, grace, tied)
        # It may be dead already; that is noticed later, as with all others.
        with contextlib.suppress(OSError):
            self.leash.send_bytes(cloudpickle.dumps(fn))

    @property
    def code(self) -> int | None:
        """Exit code, None while it runs."""
        return self.process.poll()

    def terminate(self) -> None:
        if self.code is None:
            self.process.terminate()

    def kill(self) -> None:
        if self.code is None:
            self.process.kill()
        self.process.wait()

    def release(self) -> None:
        self.leash.close()

    def join(self, timeout: float) -> None:
        """Wait for it to end; after `timeout` seconds it is killed."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()


class Group:
    """Processes that are watched together.

    group = Group()
    group.start('replay', replay_role)
    group.start('env0', functools.partial(env_role, 0), restarts=10)
    while True:
        group.check()      # ProcessError names one that died; environments are started again
    group.close(timeout=5)
    """

    def __init__(self, tell: Callable = print):
        self.tell = tell
        self.processes = {}
        self.restarts = {}

    def start(self, name: str, fn: Callable, grace: float = 0, restarts: int = 0) -> None:
        self.processes[name] = Process(name, fn, grace)
        self.restarts[name] = restarts

    def running(self, name: str) -> bool:
        return self.processes[name].code is None

    def check(self) -> None:
        """Start those again that may, ProcessError for another that failed.

        One that ended by itself with code 0 had nothing left to do.
        """
        for name, process in list(self.processes.items()):
            if process.code == UNREACHABLE:
                self.restarts[name] = 0  # It would meet the same again.
            if process.code:
                self._failed(name, fate(process.code))

    def hangs(self, name: str, seconds: float) -> None:
        """Kill a process that does not answer; it is started again if it may."""
        self.processes[name].kill()
        self._failed(name, f'did not answer for {seconds:.0f} s and was killed')

    def close(self, timeout: float) -> None:
        """Wait for all to end by themselves, then end them."""
        deadline = time.monotonic() + timeout
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.process.wait(max(0, deadline - time.monotonic()))
        for process in self.processes.values():
            process.release()
        for process in self.processes.values():
            process.join(process.grace + 1)

    def _failed(self, name, how):
        process = self.processes[name]
        if not self.restarts[name]:
            del self.processes[name]
            process.release()
            raise ProcessError(f'process {name} {how}')
        self.restarts[name] -= 1
        self.tell(f'Process {name} {how}, starting it again ({self.restarts[name]} restarts left)')
        process.release()
        self.processes[name] = Process(name, process.fn, process.grace)


def main(fd: int, grace: float, tied: bool) -> None:
    """Life of a process on the leash with file descriptor `fd`."""
    if tied:
        die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent decides when to stop.
    os.set_inheritable(fd, False)  # Programs that it starts shall not hold the leash.
    leash = connection.Connection(fd)
    try:
        fn = cloudpickle.loads(leash.recv_bytes())
    except (EOFError, OSError):
        return
    threading.Thread(target=_follow, args=(leash, grace), name='leash', daemon=True).start()
    try:
        fn()
    # Expected errors are one line, others a traceback.
    except ConnectionError as e:
        print(f'{type(e).__name__}: {e}', file=sys.stderr)
        sys.exit(UNREACHABLE)
    except (ValueError, ProcessError) as e:
        sys.exit(f'{type(e).__name__}: {e}')
    except Exception:
        traceback.print_exc()
        sys.exit(1)


def die_with_parent() -> None:
    """Let the system kill this process with its parent, where it can; even one that hangs."""
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG, on Linux.


def _follow(leash, grace):
    with contextlib.suppress(EOFError, OSError):
        leash.recv_bytes()
    if grace:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace)
    os._exit(1)
