"""Watching over the processes of a run: those that died and those that do not answer."""

import time

from ...core.system import rpc
from . import role

PING_SECONDS = 2


class Watch:
    """Checks a group of processes and asks the named roles whether they are there.

    The status of the actor tells how long each environment takes for its step. Raises ProcessError
    naming the process that died or hangs, if it may not be started again.
    """

    def __init__(self, group, args, roles):
        self.group = group
        self.args = args
        self.probes = {x: Probe(args, x) for x in roles}
        self.asked = time.monotonic()
        self.told = set()  # Environments that are late, which has been said.

    def step(self) -> None:
        """One look, which takes a fifth of a second."""
        time.sleep(0.2)
        self.group.check()
        if time.monotonic() - self.asked < PING_SECONDS:
            return
        self.asked = time.monotonic()
        for name, probe in self.probes.items():
            status = probe.ask()
            local = 'agent' if name == 'actor' else name
            silent = probe.silent()
            if silent > self.args.role_timeout and local in self.group.processes:
                self.group.hangs(local, silent)
            if name == 'actor' and status:
                self._envs(status)

    def dismiss(self) -> None:
        """Tell the roles to end that only answer, once the agent is gone."""
        for name, probe in self.probes.items():
            if name != 'actor':
                probe.client.send('close')
            probe.client.close()

    def _envs(self, status):
        warn, limit = self.args.env_warn, self.args.env_timeout
        for mode, envid, seconds in status:
            name = role.env_name(envid, mode == 'eval')
            process = self.group.processes.get(name)
            if not process:
                continue
            # One that was started again meanwhile has its time too.
            seconds = min(seconds, time.monotonic() - process.began)
            if limit and seconds > limit:
                self.group.hangs(name, seconds)
            elif not warn or seconds <= warn:
                self.told.discard(name)
            elif name not in self.told:
                self.told.add(name)
                self.group.tell(f'Process {name} has not answered for {seconds:.0f} s')


class Probe:
    """Asks a role for its status again and again, and knows for how long it has not answered."""

    def __init__(self, args, name):
        self.client = rpc.Client(args[f'{name}_addr'], args.token, name)
        self.method = 'status' if name == 'actor' else 'ping'
        self.promise = None
        self.asked = 0.0

    def ask(self):
        """The status that has arrived since the last call, if any."""
        try:
            if self.promise is None:
                self.asked = time.monotonic()
                self.promise = self.client.send(self.method)
            elif self.promise.done():
                promise, self.promise = self.promise, None
                return promise()
        except rpc.Unreachable:
            self.promise = None  # A dead process is noticed as such.
        return None

    def silent(self) -> float:
        return time.monotonic() - self.asked if self.promise else 0.0
