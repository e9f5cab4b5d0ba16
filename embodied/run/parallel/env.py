"""Environments in processes of their own, which call the actor with every observation."""

import functools

import numpy as np

from ...core.system import processes
from ...core.workers import worker
from . import role, watch


def parallel_env(make_env, envid, args, is_eval=False) -> None:
    """Step one environment with the actions of the actor at `args.actor_addr` until told to end.

    EnvError names it where it fails or gives an observation that does not fit its spaces.
    """
    mode = 'eval' if is_eval else 'train'
    client = role.connect(args, 'actor')
    env = worker.LocalWorker(functools.partial(make_env, envid), envid, args.task)
    try:
        _, act_space = env.start()()
        act = {k: np.zeros(v.shape, v.dtype) for k, v in act_space.items()}
        act['reset'] = np.bool_(True)
        while act is not None:
            obs = env.step(act)()
            act = client.call('act', envid, mode, obs)
            if act is not None:
                act['reset'] = np.bool_(obs['is_last'])
    finally:
        env.close()
        client.close()


def start_envs(group, make_env, make_env_eval, args) -> None:
    """Start the environments of this machine in a group of processes."""
    kinds = [(make_env, args.envs, False)]
    if args.eval_every or args.final_eval_eps:
        kinds.append((make_env_eval, args.eval_envs, True))
    for make, amount, is_eval in kinds:
        for envid in range(args.env_index, args.env_index + amount):
            fn = functools.partial(parallel_env, make, envid, args, is_eval)
            group.start(role.env_name(envid, is_eval), fn, restarts=args.env_restarts)


def parallel_envs(make_env, make_env_eval, args) -> None:
    """Run `args.envs` environments and `args.eval_envs` for evaluation until told to end."""
    group = processes.Group()
    try:
        start_envs(group, make_env, make_env_eval, args)
        keeper = watch.Watch(group, args, ['actor'])
        while any(group.running(x) for x in group.processes):
            keeper.step()
    finally:
        group.close(timeout=0)
