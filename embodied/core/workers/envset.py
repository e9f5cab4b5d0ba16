"""The environments of a driver as one batch: actions (N, ...) in, observations (N, ...) out.

They are either N environments, each with a worker of its own, or one batch that steps by itself.
"""

import time
from collections.abc import Callable

import numpy as np

from . import memory, supervisor, worker

CLOSE_SECONDS = 5  # For all environments together.


class Envs:
    """What both kinds have in common: supervised workers, started and closed together."""

    def __init__(self, kind, fns, parallel, tolerance):
        watched = tolerance.warn and not parallel
        self._watchdog = supervisor.Watchdog(tolerance) if watched else None
        self.workers = [
            supervisor.Supervisor(kind, fn, i, tolerance, self._watchdog)
            for i, fn in enumerate(fns)
        ]

    def start(self) -> tuple[dict, dict]:
        """Make the environments. Returns obs_space and act_space of a single one."""
        spaces = collect([w.start() for w in self.workers])
        _check_same(spaces)
        self.obs_space, _ = spaces[0]
        return spaces[0]

    def save(self) -> list | None:
        """States of all environments, None if one of them cannot be saved."""
        states = collect([w.save() for w in self.workers])
        return None if any(x is None for x in states) else states

    def load(self, states: list) -> None:
        """Take over states of `save`."""
        collect([w.load(x) for w, x in zip(self.workers, states, strict=True)])

    def close(self) -> None:
        """Close all of them and wait for their processes. May be called more than once.

        Processes that have not ended after five seconds are killed.
        """
        if self._watchdog:
            self._watchdog.close()
        for w in self.workers:
            w.close()
        deadline = time.monotonic() + CLOSE_SECONDS
        for w in self.workers:
            w.join(max(0, deadline - time.monotonic()))


class Separate(Envs):
    """N environments, each in a process of its own, or all in this one."""

    def __init__(self, fns: list[Callable], parallel: bool, tolerance: supervisor.Tolerance):
        kind = worker.ProcessWorker if parallel else worker.LocalWorker
        super().__init__(kind, fns, parallel, tolerance)
        self.length = len(fns)

    def start(self):
        spaces = super().start()
        self.layout = [
            (k, (self.length, *v.shape), v.dtype if memory.fixed(v) else None)
            for k, v in self.obs_space.items()
        ]
        return spaces

    def step(self, acts: dict) -> dict:
        """One step of every environment. The observations are new arrays."""
        obs = collect(
            [w.step({k: v[i] for k, v in acts.items()}) for i, w in enumerate(self.workers)]
        )
        return {k: _stack([x[k] for x in obs], *layout) for k, *layout in self.layout}


class Together(Envs):
    """A batch of environments, which steps in this process and may have others of its own."""

    def __init__(self, fn: Callable, tolerance: supervisor.Tolerance):
        super().__init__(worker.BatchWorker, [fn], False, tolerance)

    def start(self):
        spaces = super().start()
        (self.length,) = self.workers[0].lead
        return spaces

    def step(self, acts: dict) -> dict:
        """One step of every environment. The observations are new arrays."""
        (obs,) = collect([self.workers[0].step(acts)])
        return {k: np.array(obs[k]) for k in self.obs_space}


def collect(promises):
    """Results of all promises. Waits for all even if one fails, so that none stays in a pipe."""
    results, error = [], None
    for promise in promises:
        try:
            results.append(promise())
        except worker.EnvError as e:
            error = error or e
    if error:
        raise error
    return results


def _stack(values, shape, dtype):
    if dtype is None:  # Texts, each with its own length.
        return np.stack(values)
    result = np.empty(shape, dtype)  # np.stack takes far longer.
    for i, value in enumerate(values):
        result[i] = value
    return result


def _check_same(spaces):
    """All environments need the spaces of the first, or their values cannot be stacked."""
    for i, other in enumerate(spaces):
        if key := supervisor.differing(spaces[0], other):
            ours, theirs = ({**obs, **act}.get(key) for obs, act in (spaces[0], other))
            raise worker.EnvError(
                f'Environment {i} differs from environment 0 in the space of {key!r}: '
                f'{theirs} instead of {ours}'
            )
