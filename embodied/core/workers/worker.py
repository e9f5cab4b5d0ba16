"""Where environments live: in this process or in one of their own.

A worker takes actions and answers with promises, so that all environments can be told to step
before the first observation is waited for. Between processes, numbers and images go through shared
memory; the pipe wakes up who waits, and carries what has no fixed size. No JAX here.
"""

import contextlib
import os
import pickle
import select
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import cloudpickle
import numpy as np

from .. import wrappers
from ..system import processes
from . import envserver, memory

Promise = Callable[[], object]  # Waits for the result, or raises EnvError. To be called once.


class EnvError(processes.ProcessError):
    """An environment could not be made, failed in a step, or its process died.

    The first line names the environment's index, its task, the step, and what went wrong: the
    original type and message, or the key that does not fit its space. The original traceback
    follows.
    """


class Worker:
    """An environment at a distance. What it answers fits its spaces, else it is an EnvError.

    An observation may be overwritten by the next step.

    make_env   makes the environment
    index      of the environment, and `task` its name, for messages
    steps      that it has taken, those of one that it replaces included
    """

    lead = ()  # Axes that values have in front of those of their spaces.

    def __init__(self, make_env: Callable, index: int, task: str = '', steps: int = 0):
        self.name = f'Environment {index} ({task})' if task else f'Environment {index}'
        self.steps = steps
        self.since = time.monotonic()  # When it was given what it works on.
        self._make_env = make_env
        self._made = False

    def reset_action(self, act_space: dict) -> dict:
        """The action that begins a new episode."""
        acts = {k: np.zeros((*self.lead, *v.shape), v.dtype) for k, v in act_space.items()}
        return {**acts, 'reset': np.ones(self.lead, bool)[()]}

    def error(self, cause: str, kind: type = EnvError, text: str = '') -> EnvError:
        """An error that names environment and step, with the text of a traceback behind it."""
        when = f'failed at its step {self.steps}' if self._made else 'could not be made'
        details = f'\n\nTraceback in the environment:\n{text}' if text else ''
        return kind(f'{self.name} {when}: {cause}{details}')


class LocalWorker(Worker):
    """An environment in this process; a step is done when `step` returns."""

    def __init__(self, *args):
        super().__init__(*args)
        self._env = None

    def start(self) -> Promise:
        """Make the environment. Promises (obs_space, act_space)."""
        try:
            self._env = self._make_env()
            self._env = wrappers.check(self._env)
            spaces = self._env.obs_space, self._env.act_space
        except (Exception, SystemExit) as e:
            cause, text = envserver.failure(e)
            raise self.error(cause, text=text) from e
        self._made = True
        return lambda: spaces

    def step(self, action: dict) -> Promise:
        """Promises the observation for an action."""
        self.steps += 1
        try:
            obs = self._env.step(action)
        except (Exception, SystemExit) as e:
            cause, text = envserver.failure(e)
            return _raiser(self.error(cause, text=text), e)
        return lambda: obs

    def save(self) -> Promise:
        """Promises the state of the environment, None if it cannot be saved."""
        state = envserver.save(self._env)
        return lambda: state

    def load(self, state) -> Promise:
        """Take over a state of `save`. Promises nothing but to have done so."""
        self._env.load(state)
        return lambda: None

    def ready(self, timeout: float) -> bool:
        """Whether there is an answer."""
        return True

    def close(self) -> None:
        """Close the environment. May be called more than once."""
        env, self._env = self._env, None
        if env is not None:
            env.close()

    def join(self, timeout: float) -> None:
        """Nothing to wait for: `close` has done it all."""


class BatchWorker(LocalWorker):
    """A batch of environments in this process; values have a leading axis for them."""

    def __init__(self, *args):
        super().__init__(*args)
        self.name = self.name.replace('Environment 0', 'The batch of environments')

    def start(self):
        promise = super().start()
        self.lead = (len(self._env),)
        return promise


class ProcessWorker(Worker):
    """An environment in a process of its own, with one message each way per step.

    The pipe is the leash: whoever closes it, by intent or by dying, ends the process. Where the
    system can do it, a parent that is killed takes along even a process that hangs in a step.
    """

    def __init__(self, *args):
        super().__init__(*args)
        self._process = None
        self._pipe = None
        self._poll = select.poll()
        self._memory = None
        self._act, self._obs = {}, {}

    def start(self) -> Promise:
        """Start the process and make the environment. Promises (obs_space, act_space)."""
        # The system ties a child to the life of the thread that made it, so only the main thread,
        # which lives as long as the process, may ask for that.
        tied = threading.current_thread() is threading.main_thread()
        self._memory = memory.create()
        self._process, self._pipe = processes.popen(
            envserver.__name__, tied, self._memory, fds=[self._memory]
        )
        self._poll.register(self._pipe, select.POLLIN)
        self._send(cloudpickle.dumps(self._make_env))
        return self._spaces

    def step(self, action: dict) -> Promise:
        """Send an action. Promises the observation."""
        self.steps += 1
        for key, array in self._act.items():
            array[...] = action[key]
        if len(self._act) == len(action):
            self._send(envserver.IN_MEMORY)
        else:
            self._ask('step', {k: v for k, v in action.items() if k not in self._act})
        return self._observe

    def save(self) -> Promise:
        """Promises the state of the environment, None if it cannot be saved."""
        return self._ask('save')

    def load(self, state) -> Promise:
        """Take over a state of `save`. Promises nothing but to have done so."""
        return self._ask('load', state)

    def ready(self, timeout: float) -> bool:
        """Whether there is an answer, or word of the process's end, within some seconds."""
        return bool(self._poll.poll(1000 * timeout))

    def close(self) -> None:
        """Tell the process to close its environment and end. May be called more than once."""
        if self._pipe is not None:
            self._pipe.close()
        if self._memory is not None:
            os.close(self._memory)
            self._memory = None
        self._act, self._obs = {}, {}  # The memory goes when nobody holds its arrays.

    def join(self, timeout: float) -> None:
        """Wait for the process to end; after `timeout` seconds it is killed."""
        if self._process is None:
            return
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            # With what it has started itself, as a game that hangs.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _ask(self, *request):
        self._send(pickle.dumps(request, pickle.HIGHEST_PROTOCOL))
        return self._receive

    def _send(self, message):
        self.since = time.monotonic()
        # A process that is gone is reported by the promise, which knows what it said last.
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(message)

    def _spaces(self):
        spaces = self._receive()
        self._made = True
        fd, self._memory = self._memory, None
        self._obs, self._act = memory.attach(fd, *spaces)
        return spaces

    def _observe(self):
        return {**self._obs, **self._receive()}

    def _receive(self):
        try:
            message = self._pipe.recv_bytes()
        except (EOFError, OSError):
            raise self.error(f'its process {self._fate()}') from None
        if message == envserver.IN_MEMORY:
            return {}
        failure, result = pickle.loads(message)
        if failure:
            cause, text = failure
            raise self.error(cause, text=text)
        return result

    def _fate(self):
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return 'hung up'
        return processes.fate(code)


def _raiser(error, cause):
    def promise():
        raise error from cause

    return promise
