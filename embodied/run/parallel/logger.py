"""The logger in a process of its own: it writes what the agent sends, and shows the progress."""

import contextlib
import pathlib
import threading
import time

import elements

from ...core.logs import outputs, progress
from ...core.system import rpc
from . import role


def parallel_logger(make_logger, args) -> None:
    """Serve as the logger at `args.logger_addr` until told to close."""
    logger = make_logger()
    logdir = pathlib.Path(args.logdir)
    display = progress.Progress(args.steps, args.duration, max(0, args.log_every))

    def add(step, metrics, prefix):
        logger.step.load(step)
        logger.add(metrics, prefix=prefix)

    def set_aside():
        folder = outputs.set_aside(logdir)
        return folder and str(folder)

    def update(step, values):
        display.update(step, **values)

    methods = {
        'multiplier': lambda: logger.multiplier,
        'add': add,
        'write': logger.write,
        'truncate': lambda step: outputs.truncate(logdir, step),
        'set_aside': set_aside,
        'update': update,
        'log': display.log,
    }
    try:
        role.serve(args, 'logger', methods)
    finally:
        logger.close()
        display.close()


class RemoteLogger:
    """The logger role, in the place of an elements.Logger. Any thread may use it."""

    def __init__(self, client):
        self.step = elements.Counter()
        self.client = client
        self.calls = role.Pipeline(client, amount=64)
        self.multiplier = client.call('multiplier')
        self.lock = threading.Lock()

    def add(self, metrics, prefix=None):
        self.send('add', int(self.step), dict(metrics), prefix)

    def write(self):
        self.send('write')

    def send(self, method, *args):
        with self.lock:
            self.calls.send(method, *args)

    def call(self, method, *args):
        with self.lock:
            self.calls.drain()
            return self.client.call(method, *args)

    def close(self):
        """End the role, once it has written everything."""
        with contextlib.suppress(rpc.Unreachable):
            self.call('close')
        self.client.close()


class RemoteProgress:
    """The display of the logger role, in the place of a Progress."""

    def __init__(self, logger, every=0.5):
        self.logger = logger
        self.every = every
        self.values = {}
        self.told = -float('inf')

    def update(self, step, **values):
        self.values.update(values)
        if time.monotonic() - self.told > self.every:
            self.told = time.monotonic()
            self.logger.send('update', step, dict(self.values))

    def log(self, text):
        self.logger.send('log', text)

    def close(self):
        """The display closes with the logger."""
        with contextlib.suppress(rpc.Unreachable):
            self.logger.send('update', int(self.logger.step), dict(self.values))
