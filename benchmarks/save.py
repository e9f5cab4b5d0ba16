"""For how long a save holds up training: the longest turn of a loop, with and without saves.

    python benchmarks/save.py --steps 300000

A turn adds a step with a 64x64x3 image and latents for each of some environments, and draws a batch
whose latents it updates, as training does. The replay is full and turns over. An agent of
`--params` numbers is saved with it. Each save finds latents changed in nearly all chunks. Files
are flushed to the disk; everything is written below `--folder`.
"""

import argparse
import pathlib
import tempfile
import time

import numpy as np

from embodied.core import checkpoint, replay

ENVS, BATCH, LENGTH = 4, 16, 65


class Params:
    """As much state as an agent has."""

    def __init__(self, amount):
        self.arrays = {f'layer{i}': np.full(amount // 10, i, np.float32) for i in range(10)}

    def cut(self):
        arrays = dict(self.arrays)
        return lambda: arrays


class Loop:
    """Turns of a training run, and how long each took."""

    def __init__(self, made, latents):
        self.made = made
        self.latents = latents
        self.images = np.random.default_rng(0).integers(0, 256, (100, 64, 64, 3), np.uint8)
        self.count = 0
        self.times = []

    def add(self):
        for env in range(ENVS):
            self.count += 1
            image = self.images[self.count % 100]
            step = {'image': image, 'reward': np.float32(0), 'is_first': np.bool_(False)}
            self.made.add(
                {**step, 'latent': np.full(self.latents, self.count % 60_000, np.uint16)}, env
            )

    def learn(self):
        stepid = self.made.sample(BATCH)['stepid']
        values = np.full((*stepid.shape[:2], self.latents), self.count % 60_000, np.uint16)
        self.made.update({'stepid': stepid, 'latent': values})

    def turn(self):
        start = time.perf_counter()
        self.add()
        self.learn()
        self.times.append(time.perf_counter() - start)

    def report(self, name):
        times, self.times = np.array(self.times), []
        print(f'{name:<16}{len(times):>7} turns, longest {times.max():.3f} s, mean '
              f'{1e3 * times.mean():.1f} ms', flush=True)  # fmt: skip


def main(steps, latents, params, saves, folder):
    made = replay.Replay(LENGTH, steps, pathlib.Path(folder) / 'replay', workers=ENVS)
    check = checkpoint.Checkpoint(pathlib.Path(folder) / 'ckpt', replay=made, agent=Params(params))
    loop = Loop(made, latents)
    while len(made) < steps:
        loop.add()
    memory = sum(x.nbytes for x in made.chunks.values()) / 1e9
    print(f'{len(made)} windows in {len(made.chunks)} chunks, {memory:.1f} GB, {params} parameters')
    for _ in range(500):
        loop.turn()
    loop.report('without a save')
    for number in range(saves):
        # The first one writes all chunks, the others what has changed since.
        start = time.perf_counter()
        check.begin(loop.count)
        cut = time.perf_counter() - start
        while check.busy:
            loop.turn()
        check.result()
        seconds = time.perf_counter() - start
        loop.report(f'save {number + 1}')
        print(f'{"":<16}begins in {cut:.3f} s, over after {seconds:.1f} s', flush=True)
        for _ in range(2000):
            loop.learn()


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--steps', type=int, default=300_000, help='windows of the replay')
    parser.add_argument('--latents', type=int, default=2080, help='numbers of two bytes per step')
    parser.add_argument('--params', type=int, default=30_000_000, help='numbers of the agent')
    parser.add_argument('--saves', type=int, default=3, help='saves to measure')
    parser.add_argument('--folder', default=None, help='disk to write to, default: a temporary one')
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        main(options.steps, options.latents, options.params, options.saves, folder)
