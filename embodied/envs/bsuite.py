"""Behaviour Suite: 468 small tasks, each made to test one ability. Package `bsuite`."""

import numpy as np

from ..core import base
from . import from_dm


def check(task: str) -> None:
    """Raises a ValueError for a task that does not exist."""
    from bsuite import sweep

    if task not in sweep.SETTINGS:
        names = dict.fromkeys(x.partition('/')[0] for x in sweep.SWEEP)
        raise ValueError(
            f'task: unknown bsuite task {task!r}, allowed are EXPERIMENT/NUMBER as in catch/0, '
            f'with the experiments {", ".join(names)}'
        )


class BSuite(base.Wrapper):
    """The observation `observation`, a number per value, and one discrete action.

    Arguments:
        task: experiment and number of its setting, `catch/0`.
        results: a new folder for the CSV file that the analysis of the package reads. It is written
            as episodes end, so only one environment may have it.
        seed: random numbers of the episodes; what the setting decides stays. None leaves them to
            the package.
    """

    def __init__(self, task, results='', seed=None):
        check(task)
        import bsuite
        from bsuite import sweep
        from bsuite.logging import csv_logging

        name, number = bsuite.bsuite.unpack_bsuite_id(task)
        env = bsuite.bsuite.load(name, sweep.SETTINGS[task])
        if seed is not None:
            _reseed(env, [seed, number])
        if results:
            env = csv_logging.wrap_environment(env, task, results)
        super().__init__(from_dm.FromDM(env))


def _reseed(env, seed):
    """Replace the generators of an environment and of the one that it wraps."""
    if hasattr(env, '_rng'):
        state = np.random.SeedSequence(seed).generate_state(4)
        env._rng = np.random.RandomState(state)
    for part in vars(env).values():
        if hasattr(part, 'bsuite_num_episodes'):
            _reseed(part, [*seed, 0])
