"""Acting for environments in other processes: their observations come as calls, actions go back.

environment -> act(envid, mode, obs) -> batch of those that are ready -> policy -> actions
                                                 |
                                                 +-> on_steps(transitions, envids, mode)
"""

import dataclasses
import time

import elements
import numpy as np

from ...core.system import rpc


@dataclasses.dataclass
class Caller:
    """One environment: what it waits for, or since when we wait for it."""

    envid: int
    mode: str
    request: rpc.Request | None = None
    obs: dict | None = None
    carry: object = None
    since: float = 0.0  # When it was given its last action.


class Actor:
    """Answers `act` calls in batches of a fixed size. For one thread.

    Environments that are late do not hold up the others: a batch is full after `args.actor_batch`
    observations or `args.actor_wait` seconds, and unused rows repeat another one. Callers of
    which `allowed(mode, envid, obs)` is false wait until it is true.

    server     takes the calls of all environments
    on_steps   called with transitions (a list of dicts), the ids of their environments and the mode
    allowed    called with mode, id and observation of an environment that waits
    """

    def __init__(self, server, args, on_steps, allowed):
        self.server = server
        self.args = args
        self.on_steps = on_steps
        self.allowed = allowed
        self.agent = None
        self.callers = {}  # (mode, envid) -> caller
        self.ending = False
        self.methods = {'ping': lambda: None, 'status': self.status}

    def start(self, agent):
        """Act with this agent from now on; until then, callers wait."""
        for caller in self.callers.values():
            if caller.request:
                self._check(caller.envid, caller.obs, agent.obs_space)
        self.agent = agent

    def status(self) -> list:
        """Mode, id and seconds for which it owes us an observation, for each environment."""
        now = time.monotonic()
        callers = [x for x in self.callers.values() if x.mode]
        return [[x.mode, x.envid, 0.0 if x.request else now - x.since] for x in callers]

    def end(self):
        """Tell all environments to end, now and whenever they call."""
        self.ending = True
        for caller in self.callers.values():
            self._dismiss(caller)

    @property
    def deserted(self) -> bool:
        """Whether all environments have been told to end."""
        return self.ending and not any(x.mode for x in self.callers.values())

    def receive(self) -> None:
        """Take calls until a batch is full, or late, or none has come for a moment."""
        held = any(x.request for x in self.callers.values())
        deadline = time.monotonic() + (0.005 if held else 0.1)
        while request := self.server.receive(max(0, deadline - time.monotonic())):
            if request.method != 'act':
                rpc.answer(request, self.methods)
                continue
            try:
                self._take(request, *request.args)
            except Exception as e:
                request.fail(e)
                continue
            count = sum(x.request is not None for x in self.callers.values())
            full = count >= min(len(self.callers), self._rows('train'))
            deadline = 0 if full else min(deadline, time.monotonic() + self.args.actor_wait)

    def act(self) -> None:
        """Act for those that may."""
        if self.agent is None or self.ending:
            return
        for mode in ('train', 'eval'):
            while batch := self._batch(mode):
                self._act(batch, mode)

    def _take(self, request, envid, mode, obs):
        if not isinstance(envid, int) or mode not in ('train', 'eval'):
            raise ValueError(f'act: got {envid!r} and {mode!r}, allowed are an index and a mode')
        obs = {k: np.asarray(v) for k, v in obs.items()}
        caller = self.callers.setdefault((mode, envid), Caller(envid, mode))
        if self.agent is not None:
            self._check(envid, obs, self.agent.obs_space)
        caller.request, caller.obs = request, obs
        if self.ending:
            self._dismiss(caller)

    def _check(self, envid, obs, spaces):
        if not spaces:
            return
        for key, space in spaces.items():
            value = obs.get(key)
            if value is None or value.shape != space.shape or value.dtype != space.dtype:
                found = 'nothing' if value is None else f'{value.dtype} {value.shape}'
                raise ValueError(
                    f'Environment {envid} sent {found} as {key!r}, its space is {space}'
                )
        unknown = [k for k in obs if k not in spaces and not k.startswith('log/')]
        if unknown:
            raise ValueError(f'Environment {envid} sent {unknown}, allowed are {sorted(spaces)}')

    def _batch(self, mode):
        ready = [
            x
            for x in self.callers.values()
            if x.mode == mode and x.request and self.allowed(mode, x.envid, x.obs)
        ]
        return ready[: self._rows(mode)]

    def _rows(self, mode):
        if mode == 'eval':
            return max(1, self.args.eval_envs)
        return self.args.envs if self.args.actor_batch < 0 else self.args.actor_batch

    def _act(self, batch, mode):
        rows = self._rows(mode)
        padded = batch + [batch[0]] * (rows - len(batch))
        keys = [k for k in batch[0].obs if not k.startswith('log/')]
        obs = {k: np.stack([x.obs[k] for x in padded]) for k in keys}
        carry = stack([self._carry(x) for x in padded])
        carry, acts, outs = self.agent.policy(carry, obs, mode=mode)
        carry = elements.tree.map(np.asarray, carry)
        trans = []
        for i, caller in enumerate(batch):
            # Copies, as a row would keep the whole batch alive.
            pick = lambda v, i=i: np.array(v[i])
            caller.carry = elements.tree.map(pick, carry)
            act, out = {k: pick(v) for k, v in acts.items()}, {k: pick(v) for k, v in outs.items()}
            if caller.obs['is_last']:
                act = {k: np.zeros_like(v) for k, v in act.items()}
            trans.append({**caller.obs, **act, **out})
            caller.request.reply(act)
            caller.request, caller.obs, caller.since = None, None, time.monotonic()
        self.on_steps(trans, [x.envid for x in batch], mode)

    def _carry(self, caller):
        if caller.carry is None:
            first = elements.tree.map(np.asarray, self.agent.init_policy(1))
            caller.carry = elements.tree.map(lambda v: np.array(v[0]), first)
        return caller.carry

    def _dismiss(self, caller):
        if caller.request:
            caller.request.reply(None)
            caller.request, caller.mode = None, ''


def stack(trees):
    """One tree of arrays (B, ...) of B trees."""
    return elements.tree.map(lambda *xs: np.stack(xs), *trees)
