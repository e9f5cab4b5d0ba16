"""Speed of the replay in CPU seconds: adds, samples, updates, saves and loads.

    python benchmarks/replay.py --steps 40000

Steps hold a 64x64x3 image and five scalars, batches are 16 windows of 65 steps. CPU seconds are
those of all threads, user and system. Memory is touched once before, as fresh memory is slow on
virtual machines, and `memcpy` tells what the machine allows at most.
"""

import argparse
import pathlib
import tempfile
import time

import numpy as np

from embodied.core import replay

BATCH, LENGTH = 16, 65


def step(t):
    return {
        'image': np.full((64, 64, 3), t % 256, np.uint8),
        'action': np.int32(t % 17),
        'reward': np.float32(t),
        'is_first': np.bool_(t % 100 == 0),
        'is_last': np.bool_(t % 100 == 99),
        'is_terminal': np.bool_(False),
    }


def measure(name, amount, function):
    """Print how many of something are done per CPU second, and the time of all."""
    cpu, wall = time.process_time(), time.time()
    result = function()
    cpu, wall = time.process_time() - cpu, time.time() - wall
    print(f'{name:<28}{amount / cpu:>12,.0f} per CPU s   {cpu:6.2f} CPU s   {wall:6.2f} s wall')
    return result


def fill(made, steps, amount, workers=4):
    for t in range(amount):
        made.add(steps[t % len(steps)], t % workers)


def copy_images(steps, amount):
    """As many images as there are steps, into chunks that stay."""
    kept = []
    for t in range(amount):
        if t % 1024 == 0:
            kept.append(np.empty((1024, 64, 64, 3), np.uint8))
        kept[-1][t % 1024] = steps[t % len(steps)]['image']


def sample(made, batches):
    for _ in range(batches):
        made.sample(BATCH)


def update(made, batches):
    batch = made.sample(BATCH)
    for _ in range(batches):
        made.update({'stepid': batch['stepid'], 'reward': batch['reward']})


def main(amount, batches):
    steps = [step(t) for t in range(100)]
    np.ones(2 * amount * 12_300, np.uint8)
    measure('memcpy, steps', amount, lambda: copy_images(steps, amount))
    made = replay.Replay(LENGTH)
    measure('adds', amount, lambda: fill(made, steps, amount))
    full = capped(steps)
    measure('adds at capacity', amount, lambda: fill(full, steps, amount))
    window = np.zeros((LENGTH, 64, 64, 3), np.uint8)
    out = np.zeros((BATCH, LENGTH, 64, 64, 3), np.uint8)
    measure('memcpy, sequences', BATCH * batches, lambda: copy_windows(out, window, batches))
    measure('sequences', BATCH * batches, lambda: sample(made, batches))
    measure('updates, sequences', BATCH * batches, lambda: update(made, batches))
    with tempfile.TemporaryDirectory() as folder:
        stored = replay.Replay(LENGTH, directory=folder)
        measure('adds, written to disk', amount, lambda: fill(stored, steps, amount))
        data = measure('save after that, steps', amount, stored.save)
        stored.committed()
        other = replay.Replay(LENGTH, directory=folder)
        measure('load, steps', amount, lambda: other.load(data))
        size = sum(x.stat().st_size for x in pathlib.Path(folder).rglob('*.npz'))
        print(f'{size / amount:,.0f} bytes on disk for each step')


def capped(steps):
    made = replay.Replay(LENGTH, capacity=8192)
    fill(made, steps, 8192)
    return made


def copy_windows(out, window, batches):
    for _ in range(batches):
        for row in range(BATCH):
            out[row] = window


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--steps', type=int, default=40_000, help='steps to add')
    parser.add_argument('--batches', type=int, default=300, help='batches to sample')
    options = parser.parse_args()
    main(options.steps, options.batches)
