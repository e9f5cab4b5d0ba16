"""How fast the driver steps environments, in-process and in processes of their own.

    python benchmarks/driver.py [--task dummy_disc] [--envs 1 4 16] [--steps 4000]

Prints environment steps per second of wall time, and per second of CPU time of all processes
together, with a policy that costs nothing. `bare` steps the environments in a plain loop.
"""

import argparse
import functools
import os
import resource
import time

import numpy as np

from embodied import envs
from embodied.core import driver, random, wrappers


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--task', default='dummy_disc')
    parser.add_argument('--envs', type=int, nargs='+', default=[1, 4, 16])
    parser.add_argument(
        '--steps', type=int, default=4000, help='steps of all environments together'
    )
    args = parser.parse_args()
    print(f'{args.task}: env steps per second of wall time, of CPU time')
    print(f'{"bare":22} {format_speed(*measure_bare(args.task, args.steps))}')
    for count in args.envs:
        for parallel in (False, True):
            name = f'{count} {"in processes" if parallel else "in-process"}'
            print(f'{name:22} {format_speed(*measure(args.task, count, parallel, args.steps))}')


def make_env(task, index):
    return wrappers.wrap(envs.make(task, seed=index))


def measure_bare(task, steps):
    env = make_env(task, 0)
    acts = sample_actions(env.obs_space, env.act_space, 1)
    action = {**{k: v[0] for k, v in acts.items()}, 'reset': np.bool_(True)}
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        action = {**action, 'reset': env.step(action)['is_last']}
    return steps / (time.perf_counter() - wall), steps / (time.process_time() - cpu)


def measure(task, count, parallel, steps):
    make = [functools.partial(make_env, task, i) for i in range(count)]
    drv = driver.Driver(make, parallel)
    acts = sample_actions(drv.obs_space, drv.act_space, count)
    drv.on_step(lambda tran, index: None)
    policy = lambda carry, obs: (carry, acts, {})
    drv(policy, steps=2 * count)
    done = -(-steps // count) * count
    workers = [w._worker._process.pid for w in drv._workers] if parallel else []
    wall, cpu = time.perf_counter(), cpu_seconds(workers)
    drv(policy, steps=done)
    wall, cpu = time.perf_counter() - wall, cpu_seconds(workers) - cpu
    drv.close()
    return done / wall, done / cpu


def sample_actions(obs_space, act_space, count):
    agent = random.RandomAgent(obs_space, act_space)
    return agent.policy((), {'is_first': np.zeros(count)})[1]


def cpu_seconds(pids):
    """User and system time of this process and of others."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    total = usage.ru_utime + usage.ru_stime
    for pid in pids:
        with open(f'/proc/{pid}/stat') as f:
            fields = f.read().rpartition(')')[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')
    return total


def format_speed(wall, cpu):
    return f'{wall:9.0f} {cpu:9.0f}'


if __name__ == '__main__':
    main()
