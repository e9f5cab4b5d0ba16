"""Where environments live: in this process or in one of their own.

A worker takes actions and answers with promises, so that all environments can be told to step
before the first observation is waited for. No JAX here.
"""

import contextlib
import os
import pickle
import signal
import subprocess
import threading
import traceback
from collections.abc import Callable
from multiprocessing import connection

import cloudpickle

from . import processes

Promise = Callable[[], object]  # Waits for the result, or raises EnvError. To be called once.


class EnvError(RuntimeError):
    """An environment could not be made, failed in a step, or its process died.

    The first line names the environment's index, the step and the original type and message; the
    original traceback follows.
    """


class LocalWorker:
    """An environment in this process; a step is done when `step` returns."""

    def __init__(self, make_env: Callable, index: int):
        self._make_env = make_env
        self._index = index
        self._env = None
        self._steps = 0

    def start(self) -> Promise:
        """Make the environment. Promises (obs_space, act_space)."""
        try:
            self._env = self._make_env()
            spaces = self._env.obs_space, self._env.act_space
        except Exception as e:
            raise EnvError(_describe(self._index, 0, *_failure(e))) from e
        return lambda: spaces

    def step(self, action: dict) -> Promise:
        """Promises the observation for an action."""
        self._steps += 1
        try:
            obs = self._env.step(action)
        except Exception as e:
            message = _describe(self._index, self._steps, *_failure(e))
            return _raiser(EnvError(message), e)
        return lambda: obs

    def close(self) -> None:
        """Close the environment. May be called more than once."""
        env, self._env = self._env, None
        if env is not None:
            env.close()

    def join(self, timeout: float) -> None:
        """Nothing to wait for: `close` has done it all."""


class ProcessWorker:
    """An environment in a process of its own, with one message each way per step.

    The pipe is the leash: whoever closes it, by intent or by dying, ends the process. Where the
    system can do it, a parent that is killed takes along even a process that hangs in a step.
    """

    def __init__(self, make_env: Callable, index: int):
        self._make_env = make_env
        self._index = index
        self._process = None
        self._pipe = None
        self._steps = 0

    def start(self) -> Promise:
        """Start the process and make the environment. Promises (obs_space, act_space)."""
        # The system ties a child to the life of the thread that made it, so only the main thread,
        # which lives as long as the process, may ask for that.
        tied = threading.current_thread() is threading.main_thread()
        self._process, self._pipe = processes.popen(__name__, tied)
        self._send(cloudpickle.dumps(self._make_env))
        return self._receive

    def step(self, action: dict) -> Promise:
        """Send an action. Promises the observation."""
        self._steps += 1
        self._send(pickle.dumps(action, pickle.HIGHEST_PROTOCOL))
        return self._receive

    def close(self) -> None:
        """Tell the process to close its environment and end. May be called more than once."""
        if self._pipe is not None:
            self._pipe.close()

    def join(self, timeout: float) -> None:
        """Wait for the process to end; after `timeout` seconds it is killed."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message):
        # A process that is gone is reported by the promise, which knows what it said last.
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(message)

    def _receive(self):
        try:
            message = self._pipe.recv_bytes()
        except (EOFError, OSError):
            message = _describe(self._index, self._steps, f'its process {self._fate()}', '')
            raise EnvError(message) from None
        failure, result = pickle.loads(message)
        if failure:
            raise EnvError(_describe(self._index, self._steps, *failure))
        return result

    def _fate(self):
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return 'hung up'
        return processes.fate(code)


def main(fd: int, tied: bool) -> None:
    """Life of a worker process on the pipe with file descriptor `fd`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent decides when to stop.
    os.set_inheritable(fd, False)  # Programs that an environment starts shall not hold the leash.
    if tied:
        processes.die_with_parent()
    with connection.Connection(fd) as pipe:
        _serve(pipe)


def _serve(pipe):
    env = None

    def make(message):
        nonlocal env
        env = cloudpickle.loads(message)()
        return env.obs_space, env.act_space

    try:
        ok = _answer(pipe, make)
        while ok:
            ok = _answer(pipe, lambda message: env.step(pickle.loads(message)))
    finally:
        if env is not None:
            env.close()


def _answer(pipe, fn):
    """Answer one message by (failure, result). Returns whether to go on."""
    try:
        message = pipe.recv_bytes()
    except (EOFError, OSError):
        return False
    try:
        reply, ok = pickle.dumps((None, fn(message)), pickle.HIGHEST_PROTOCOL), True
    except BaseException as e:  # Also sys.exit() in an environment is a failure with a cause.
        reply, ok = pickle.dumps((_failure(e), None)), False
    try:
        pipe.send_bytes(reply)
    except OSError:
        return False
    return ok


def _failure(error):
    text = ''.join(traceback.format_exception(error))
    return f'{type(error).__name__}: {error}', text


def _describe(index, steps, cause, text):
    when = f'failed at its step {steps}' if steps else 'could not be made'
    details = f'\n\nTraceback in the environment:\n{text}' if text else ''
    return f'Environment {index} {when}: {cause}{details}'


def _raiser(error, cause):
    def promise():
        raise error from cause

    return promise
