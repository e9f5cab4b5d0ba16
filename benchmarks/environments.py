"""Steps per CPU second of environments: alone, with our driver, and with the fastest alternative.

    python benchmarks/environments.py [--task gym_CartPole-v1 ...] [--seconds 1] [--repeats 5]

A table with, for each task, the environment in a plain loop (`bare`: as its package has it where
that gives the same observations, else our adapter for it), our driver with one and with four of
them in this process, with four worker processes, and an alternative with four (AsyncVectorEnv of
Gymnasium) or, for a batch, its own loop as `bare`. Actions are random and drawn before.

CPU seconds are those of all threads and processes that take part. The candidates take turns, and
the best turn of each counts, as others may compute on the machine. `pause` is how many ms a round
of four workers takes right after 0.3 s without one, as during an update, and beside it the longest
of the steps in it by the clock of its environment: medians of twenty.
"""

import argparse
import functools
import itertools
import statistics
import time

import elements
import measure
import numpy as np

from embodied import envs
from embodied.core import base, driver, random, wrappers

TASKS = {
    'gym_CartPole-v1': {},
    'gym_LunarLander-v3': {},
    'gym_HalfCheetah-v5': {},
    'gym_minigrid:MiniGrid-DoorKey-5x5-v0': {},
    'gym_highway_env:highway-fast-v0': {},
    'atari_pong': {'size': (64, 64), 'gray': False},
    'crafter_reward': {},
    'dmc_walker_walk': {'image': False},
    'dmc_cheetah_run': {'proprio': False},
    'gymvec_CartPole-v1': {'mode': 'auto'},
    'atarivec_pong': {'size': (64, 64)},
    'envpool_Pong-v5': {},
}
WORKERS = 4
BATCH = 16  # Environments of a batch.
PAUSE = 0.3  # Seconds of an update.
PAUSES = 20


class Candidate:
    """Something that takes rounds of `length` steps, with processes of its own or not."""

    def __init__(self, length, play, pids=(), close=lambda: None):
        self.length = length
        self.play = play
        self.pids = pids
        self.close = close
        self.rates = []

    def turn(self, seconds):
        """Play for so many seconds and note steps per CPU second."""
        cpu, steps = measure.cpu_seconds(self.pids), 0
        deadline = time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            for _ in range(8):
                self.play()
            steps += 8 * self.length
        self.rates.append(steps / (measure.cpu_seconds(self.pids) - cpu))

    @property
    def rate(self):
        return max(self.rates)


def make(task, options, index):
    return wrappers.wrap(envs.make(task, seed=index, **options))


def make_batch(task, options):
    return wrappers.wrap(envs.make_batch(task, range(BATCH), **options))


def actions(act_space, length):
    """An endless supply of actions (length, ...)."""
    agent = random.RandomAgent({}, act_space)
    drawn = [agent.policy((), {'is_first': np.zeros(length)})[1] for _ in range(100)]
    return itertools.cycle(drawn)


def driven(fns, parallel=False):
    """Our driver, with a policy that costs nothing and a callback that does nothing."""
    drv = driver.Driver(fns, parallel)
    acts = actions(drv.act_space, drv.length)
    policy = lambda carry, obs: (carry, next(acts), {})
    drv.on_step(lambda tran, index: None)
    pids = [w._worker._process.pid for w in drv._envs.workers] if parallel else []
    return Candidate(drv.length, lambda: drv(policy, steps=1), pids, drv.close)


def adapter(task, options):
    """Our adapter alone, not wrapped."""
    env = envs.make(task, seed=0, **options)
    acts = ({k: v[0] for k, v in x.items()} for x in actions(env.act_space, 1))
    state = {'reset': True}

    def play():
        state['reset'] = env.step({**next(acts), 'reset': state['reset']})['is_last']

    return Candidate(1, play, close=env.close)


def gymnasium_bare(env):
    """An environment of Gymnasium as it is, by its own loop."""
    drawn = itertools.cycle([env.action_space.sample() for _ in range(100)])
    env.reset(seed=0)

    def play():
        _, _, terminated, truncated, _ = env.step(next(drawn))
        if terminated or truncated:
            env.reset()

    return Candidate(1, play, close=env.close)


def vector_bare(env, drawn, pids=()):
    """A vector environment by its own loop."""
    env.reset()
    return Candidate(env.num_envs, lambda: env.step(next(drawn)), pids, env.close)


def candidates(task, options):
    """Those that are compared, by the title of their column."""
    suite, name = envs.split(task)
    if envs.suites[suite].batched:
        env = make_batch(task, options)
        while isinstance(env, base.Wrapper):
            env = env.env
        return {
            'bare': vector_bare(env._env, (x['action'] for x in actions(env.act_space, BATCH))),
            'batch': driven(functools.partial(make_batch, task, options)),
        }
    makers = [functools.partial(make, task, options, i) for i in range(WORKERS)]
    found = {
        'bare': adapter(task, options),
        'driver': driven(makers[:1]),
        'driver of 4': driven(makers),
        '4 workers': driven(makers, parallel=True),
    }
    if suite == 'gym':
        import gymnasium

        plain = functools.partial(gymnasium.make, name, disable_env_checker=True)
        found['bare'] = gymnasium_bare(plain())
        vector = gymnasium.vector.AsyncVectorEnv(
            [plain] * WORKERS, context='spawn', shared_memory='MiniGrid' not in name
        )
        drawn = itertools.cycle([vector.action_space.sample() for _ in range(100)])
        found['alternative'] = vector_bare(vector, drawn, [x.pid for x in vector.processes])
    return found


class Timed(base.Wrapper):
    """Tells how long its step took, in ms."""

    @property
    def obs_space(self):
        return {**self.env.obs_space, 'log/ms': elements.Space(np.float32)}

    def step(self, action):
        start = time.perf_counter()
        obs = self.env.step(action)
        return {**obs, 'log/ms': np.float32(1000 * (time.perf_counter() - start))}


def pauses(task, options):
    """ms of a round after a pause, and of the longest step of an environment in it: medians."""
    makers = [
        lambda i=i: wrappers.wrap(Timed(envs.make(task, seed=i, **options))) for i in range(WORKERS)
    ]
    drv = driver.Driver(makers, parallel=True)
    acts, seen = actions(drv.act_space, WORKERS), []
    policy = lambda carry, obs: (carry, next(acts), {})
    drv.on_step(lambda tran, index: seen.append((bool(tran['is_first']), float(tran['log/ms']))))
    drv(policy, steps=WORKERS)
    rounds = []
    for _ in range(PAUSES):
        time.sleep(PAUSE)
        seen.clear()
        start = time.perf_counter()
        drv(policy, steps=1)
        passed = 1000 * (time.perf_counter() - start)
        if not any(first for first, _ in seen):
            rounds.append((passed, max(ms for _, ms in seen)))
    drv.close()
    return [statistics.median(x) for x in zip(*rounds, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--task', nargs='+', default=list(TASKS))
    parser.add_argument('--seconds', type=float, default=1, help='of each turn')
    parser.add_argument('--repeats', type=int, default=5, help='turns of each candidate')
    args = parser.parse_args()
    titles = ('bare', 'driver', 'driver of 4', '4 workers', 'batch', 'alternative', 'pause / step')
    print(f'| task | {" | ".join(titles)} |\n|{" --- |" * (len(titles) + 1)}')
    for task in args.task:
        options = TASKS.get(task, {})
        try:
            found = candidates(task, options)
        except ValueError as e:
            print(f'| {task} | {e} |', flush=True)
            continue
        for _ in range(args.repeats + 1):
            for candidate in found.values():
                candidate.turn(args.seconds)
        cells = []
        for title in titles[:-1]:
            one = found.get(title)
            share = f' ({one.rate / found["bare"].rate:.0%})' if one and title != 'bare' else ''
            cells.append(f'{one.rate:,.0f}{share}' if one else '')
        for candidate in found.values():
            candidate.close()
        cells.append('')
        if '4 workers' in found:
            cells[-1] = '{:.2f} / {:.2f} ms'.format(*pauses(task, options))
        print(f'| {task} | {" | ".join(cells)} |', flush=True)


if __name__ == '__main__':
    main()
