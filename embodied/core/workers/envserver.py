"""The other side of a worker: a process that lives for its environment and answers on a pipe.

Messages are requests `(name, *arguments)` and answers `(failure, result)`, pickled; an empty one
stands for an action or an observation that is in the shared memory. The first one is the function
that makes the environment. No JAX here.
"""

import os
import pickle
import signal
import traceback
from multiprocessing import connection

import cloudpickle

from .. import wrappers
from ..system import processes
from . import memory

IN_MEMORY = b''


def save(env):
    """State of an environment, None if it cannot be saved."""
    return env.save() if hasattr(env, 'save') and hasattr(env, 'load') else None


def main(fd: int, tied: bool, shared: int) -> None:
    """Life of a worker process on the pipe with file descriptor `fd`, with memory at `shared`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent decides when to stop.
    for x in (fd, shared):  # Programs that an environment starts shall not hold the leash.
        os.set_inheritable(x, False)
    if tied:
        processes.die_with_parent()
    with connection.Connection(fd) as pipe:
        server = _Server(shared)
        try:
            while _answer(pipe, server):
                pass
        finally:
            server.close()


class _Server:
    """What a worker process does with the messages that it gets."""

    def __init__(self, shared):
        self._shared = shared
        self._env = None

    def __call__(self, message):
        """The message that answers a message."""
        if self._env is None:
            self._env = wrappers.check(cloudpickle.loads(message)())
            spaces = self._env.obs_space, self._env.act_space
            self._obs, self._act = memory.attach(self._shared, *spaces)
            return _dumps(spaces)
        if message == IN_MEMORY:
            return self._step({})
        name, *args = pickle.loads(message)
        if name == 'step':
            return self._step(*args)
        return _dumps(save(self._env) if name == 'save' else getattr(self._env, name)(*args))

    def close(self):
        if self._env is not None:
            self._env.close()

    def _step(self, others):
        # Copies, as an environment may keep what it is given.
        act = {k: v.copy() if v.ndim else v[()] for k, v in self._act.items()}
        obs = self._env.step({**act, **others})
        for key, array in self._obs.items():
            array[...] = obs[key]
        if len(self._obs) == len(obs):
            return IN_MEMORY
        return _dumps({k: v for k, v in obs.items() if k not in self._obs})


def _answer(pipe, server):
    """Answer one message. Returns whether to go on."""
    try:
        message = pipe.recv_bytes()
    except (EOFError, OSError):
        return False
    try:
        reply, ok = server(message), True
    except BaseException as e:  # Also sys.exit() in an environment is a failure with a cause.
        reply, ok = pickle.dumps((failure(e), None), pickle.HIGHEST_PROTOCOL), False
    try:
        pipe.send_bytes(reply)
    except OSError:
        return False
    return ok


def _dumps(result):
    return pickle.dumps((None, result), pickle.HIGHEST_PROTOCOL)


def failure(error: BaseException) -> tuple[str, str]:
    """What went wrong in one line, and its traceback."""
    text = ''.join(traceback.format_exception(error))
    return f'{type(error).__name__}: {error}', text
