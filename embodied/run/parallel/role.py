"""What roles share: serving until told to close, and calls whose results nobody waits for."""

import collections
import signal
import threading
import time

from ...core.system import rpc

CONNECT_SECONDS = 600  # A role on another machine may be started by hand.
GRACE = 4  # Seconds without a parent, so that the agent can save with the help of the others.
PATIENCE = 8  # The same after SIGTERM.


def env_name(envid: int, is_eval: bool) -> str:
    """Name of the process of an environment."""
    return f'{"eval_env" if is_eval else "env"}{envid}'


def listen(args, name: str) -> rpc.Server:
    """Server at `args.<name>_addr`. ValueError names the option if that cannot be."""
    address = args[f'{name}_addr']
    try:
        return rpc.Server(address, args.token)
    except ValueError as e:
        raise ValueError(f'run.{name}_addr: {e}') from None


def connect(args, name: str) -> rpc.Client:
    """Client of the role at `args.<name>_addr`, which may take a while to come up."""
    client = rpc.Client(args[f'{name}_addr'], args.token, name)
    try:
        client.connect(CONNECT_SECONDS)
    except BaseException:
        client.close()
        raise
    return client


def serve(args, name: str, methods: dict) -> None:
    """Answer calls until the method `close` is called, or some time after SIGTERM or SIGINT."""
    ends = []
    handle = lambda *_: ends.append(time.monotonic() + PATIENCE)
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, handle)
    server = listen(args, name)
    methods = {'ping': lambda: None, 'close': lambda: ends.append(0), **methods}
    try:
        rpc.serve(server, methods, lambda: ends and min(ends) < time.monotonic(), every=0.2)
    finally:
        server.close()


class Pipeline:
    """Calls that are answered later, at most `amount` of them at a time; errors surface then."""

    def __init__(self, client: rpc.Client, amount: int = 16):
        self.client = client
        self.amount = amount
        self.promises = collections.deque()

    def send(self, method: str, *args) -> None:
        self.promises.append(self.client.send(method, *args))
        while len(self.promises) > self.amount or (self.promises and self.promises[0].done()):
            self.promises.popleft()()

    def drain(self) -> None:
        """Wait for all."""
        while self.promises:
            self.promises.popleft()()
