"""What options to begin with for an environment, by rules of thumb: for `check_env --agent`.

They are drawn from the published settings, where a train ratio of 32 (many games) to 512 (robots,
Crafter) goes with environments from fast to slow.
"""

import math
import os

import numpy as np

from embodied.core.system import hardware

from . import inputs

# Units of each size that replay holds per step (deterministic state and categories, in bytes), and
# seconds of an update of 16 sequences of 64 steps: order of magnitude on a GPU, and on two cores.
LATENT = {'size1m': 4 * 512 + 32, 'size12m': 4 * 2048 + 32}
UPDATE = {('size1m', True): 0.01, ('size12m', True): 0.02}
UPDATE |= {('size1m', False): 1.0, ('size12m', False): 8.0}
VECTOR = 0.2  # Share of that time without images.
BATCH = 16 * 64
SMALLEST, LARGEST = inputs.bounds(4)  # Sides of images, with the default number of convolutions.


def advise(facts) -> list[str]:
    """Lines for the facts of an environment, see `embodied.check_env.measure.Facts`."""
    gpu, cores = hardware.has_gpu(), os.cpu_count() or 1
    images = [k for k, v in facts.obs_space.items() if v.dtype == np.uint8 and len(v.shape) == 3]
    size = 'size12m' if gpu else 'size1m'
    ratio = train_ratio(facts.speed)
    update = UPDATE[size, gpu] * (1 if images else VECTOR)
    needed = BATCH / ratio / update  # Environment steps per second that keep the learner busy.
    envs = int(np.clip(math.ceil(needed / facts.speed), 1, min(16, cores)))
    envs = max(envs, 4) if facts.speed > 1000 else envs
    kind = f'images {", ".join(images)}' if images else 'vectors only'
    where = 'a GPU' if gpu else 'no GPU'
    lines = [
        'Begin with',
        f'  --configs {size:<22} {kind}, {where}; a larger one learns from fewer steps',
        f'  --run.train_ratio {ratio:<14} {facts.speed:.3g} steps per second: '
        + ('slow, so learn more from each' if ratio > 128 else 'fast, so each may count less'),
        f'  --run.envs {envs:<21} {cores} cores; an update every {BATCH / ratio:.3g} steps, about '
        f'{update:.2g} s',
    ]
    for key in images:
        height, width, _ = facts.obs_space[key].shape
        if min(height, width) < SMALLEST or max(height, width) > LARGEST:
            lines.append(
                f'  --env.SUITE.size 64 64           {key} has {height} x {width} pixels, allowed '
                f'are {SMALLEST} to {LARGEST}'
            )
    return lines + replay(facts.nbytes + LATENT[size])


def train_ratio(speed: float) -> int:
    """Trained steps per environment step, by steps per second."""
    for limit, ratio in ((100, 512), (1000, 256), (5000, 128)):
        if speed < limit:
            return ratio
    return 64


def replay(nbytes: int) -> list[str]:
    """A line about the size of replay, if the default may not fit into memory."""
    default, free = 5_000_000, _memory()
    fits = int(free / 2 / nbytes)
    if fits >= default:
        return []
    unit = 10 ** (len(str(fits)) - 1)
    fits = max(1, fits // unit) * unit
    return [
        f'  --replay.size {fits:<18} {nbytes:,} bytes a step with latents; the default '
        f'{default:,} takes {default * nbytes / 1e9:.0f} GB'
    ]


def _memory():
    """Bytes of memory of this machine."""
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
