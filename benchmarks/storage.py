"""Bytes of a transition in replay, by size of the agent: in memory, on disk and of a save.

    python benchmarks/storage.py

A transition has a 64x64x3 image, one of 17 actions, reward and flags, as in Crafter, and the
latents of the agent. They are added, updated once and saved; then files and arrays are counted.
`float32` is what the latents would take as floats and one-hot vectors.
"""

import argparse
import pathlib
import tempfile

import elements
import numpy as np

import dreamerv3
from dreamerv3 import entries
from embodied import config
from embodied.core import forecast, replay
from embodied.core.buffer import chunk

CONFIGS = pathlib.Path(dreamerv3.__file__).parent / 'configs.yaml'
SPACES = {
    'image': elements.Space(np.uint8, (64, 64, 3)),
    'action': elements.Space(np.int32, (), 0, 17),
    'reward': elements.Space(np.float32),
    **{k: elements.Space(bool) for k in ('is_first', 'is_last', 'is_terminal')},
}


def measure(latents, steps):
    """Bytes per step in memory, on disk, and written by a save after all steps were updated."""
    spaces = {**SPACES, **latents}
    with tempfile.TemporaryDirectory() as folder:
        made = replay.Replay(65, directory=folder)
        rng = np.random.default_rng(0)
        step = {k: rng.integers(0, 2, s.shape).astype(s.dtype) for k, s in spaces.items()}
        for t in range(steps):
            made.add(step, t % 2)
            if t % 64 == 0 and latents and len(made):
                update(made, latents)
        made.save()
        made.committed()
        memory = sum(x.nbytes for x in made.chunks.values() if x.length)
        disk = sum(x.stat().st_size for x in pathlib.Path(folder).rglob('*.npz'))
        values = sum(x.stat().st_size for x in pathlib.Path(folder, 'values').iterdir())
    return memory / steps, disk / steps, values / steps


def update(made, latents):
    stepid = made.sample(1)['stepid']
    values = {k: np.ones((*stepid.shape[:2], *s.shape), s.dtype) for k, s in latents.items()}
    made.update({'stepid': stepid, **values})


def main(sizes, steps):
    schema = config.Schema(CONFIGS)
    print(
        f'{"size":<10}{"type":<10}{"latents":>9}{"float32":>9}{"memory":>9}{"disk":>9}{"save":>9}'
    )
    rows = [('none', None)] + [(x, y) for x in sizes for y in entries.NUMBERS]
    for size, dtype in rows:
        latents, plain = {}, 0
        if dtype:
            rssm = schema.resolve([size]).agent.dyn.rssm
            latents = entries.spaces(rssm, dtype)
            plain = 4 * (rssm.deter + rssm.stoch * rssm.classes)
        memory, disk, save = measure(latents, steps)
        compact = chunk.step_bytes(forecast.spec(latents)) - chunk.step_bytes({})
        numbers = (compact, plain, memory, disk, save)
        print(f'{size:<10}{dtype or "":<10}' + ''.join(f'{x:>9,.0f}' for x in numbers))


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sizes = ['size1m', 'size12m', 'size200m']
    parser.add_argument('--sizes', nargs='+', default=sizes, help='blocks of configs.yaml')
    parser.add_argument('--steps', type=int, default=4096, help='steps to add')
    options = parser.parse_args()
    main(options.sizes, options.steps)
