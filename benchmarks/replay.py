"""Speed of the replay in CPU seconds: adds, samples, updates, saves and loads.

    python benchmarks/replay.py [--steps 40000]

Steps hold a 64x64x3 image and five scalars, batches are 16 windows of 65 steps. Adds go to a replay
at its capacity. Memory is touched once before, as fresh memory is slow on virtual machines, and
`memcpy` tells what the machine allows at most.
"""

import tempfile
import time

import measure
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


def once(name, amount, function):
    """A row of something that is done once for all of an amount."""
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    times = measure.Times([time.process_time() - cpu], [time.perf_counter() - wall])
    return measure.row(f'replay {name}', times, amount=amount)


def main(args):
    amount, batches = (4000, 30) if args.quick else (args.steps, args.batches)
    repeats = 3 if args.quick else args.repeats
    steps = [step(t) for t in range(100)]
    np.ones(2 * amount * 12_300, np.uint8)

    def rate(name, amount, function):
        times = measure.repeat(function, repeats)
        return measure.row(f'replay {name}', times, amount=amount)

    yield rate('memcpy of steps', 8192, lambda: copy_images(steps, 8192))
    full = capped(steps)
    yield rate('adds', 8192, lambda: fill(full, steps, 8192))
    window = np.zeros((LENGTH, 64, 64, 3), np.uint8)
    out = np.zeros((BATCH, LENGTH, 64, 64, 3), np.uint8)
    sequences = BATCH * batches
    yield rate('memcpy of sequences', sequences, lambda: copy_windows(out, window, batches))
    yield rate('sequences', sequences, lambda: sample(full, batches))
    yield rate('updates of sequences', sequences, lambda: update(full, batches))
    with tempfile.TemporaryDirectory() as folder:
        stored, saved = replay.Replay(LENGTH, directory=folder), []
        yield once('adds, written to disk', amount, lambda: fill(stored, steps, amount))
        yield once('save', amount, lambda: saved.append(stored.save()))
        stored.committed()
        other = replay.Replay(LENGTH, directory=folder)
        row = once('load', amount, lambda: other.load(saved[0]))
        yield {**row, 'peak_gib': measure.peak_gib()}


def capped(steps):
    made = replay.Replay(LENGTH, capacity=8192)
    fill(made, steps, 8192)
    return made


def copy_windows(out, window, batches):
    for _ in range(batches):
        for row in range(BATCH):
            out[row] = window


if __name__ == '__main__':
    measure.main(
        __doc__,
        main,
        steps={'type': int, 'default': 40_000, 'help': 'steps to add, save and load'},
        batches={'type': int, 'default': 100, 'help': 'batches of each repeat'},
        repeats={'type': int, 'default': 9},
    )
