"""What encoder and decoder take of an observation: which keys, and images by size. No JAX here."""

import math
import re
from typing import NamedTuple

import numpy as np

from embodied.core import masks

# Sides of an image after the last halving. There are less halvings where an image has a small side.
SMALLEST, LARGEST = 3, 16
# Above this a one-hot vector is not meant.
CLASSES = 65536


def check(obs_space: dict, act_space: dict) -> None:
    """ValueError for a name, a number of classes or a mask of actions that cannot be."""
    masks.check(obs_space, act_space)
    for key, space in {**obs_space, **act_space}.items():
        if key.startswith('log/'):
            continue
        if not re.fullmatch('[A-Za-z0-9_]+', key.removeprefix(masks.PREFIX)):
            raise ValueError(
                f'Space {key!r}: names of observations and actions may hold letters, digits and '
                f'underscores (`log/` in front of what is only logged, `{masks.PREFIX}` of masks).'
            )
        if space.discrete and len(space.shape) < 3:
            low, high = (np.asarray(x, np.int64) for x in (space.low, space.high))
            if (high - low).max() > CLASSES:
                raise ValueError(
                    f'Space {key!r} has {(high - low).max()} classes, allowed are up to {CLASSES}. '
                    'Integers that are quantities are better float32.'
                )


def select(spaces: dict, include: str, exclude: str) -> dict:
    """Those of the keys that wholly match the regex `include`, and not `exclude`."""
    return {
        k: v for k, v in spaces.items() if re.fullmatch(include, k) and not re.fullmatch(exclude, k)
    }


def acting(obs_space: dict, include: str, exclude: str) -> dict:
    """What the policy needs of observations: what the encoder sees, and all masks of actions."""
    seen = select(obs_space, include, exclude)
    return {k: v for k, v in obs_space.items() if k in seen or k.startswith(masks.PREFIX)}


def split(obs_space: dict) -> tuple[dict, dict]:
    """Vectors (rank <= 2, and masks) and images (rank 3) of an observation space, in its order."""
    vectors, images = {}, {}
    for key, space in obs_space.items():
        if len(space.shape) > 3 and not key.startswith(masks.PREFIX):
            raise ValueError(
                f'Observation {key!r} has shape {space.shape}; allowed are ranks 0 to 3.'
            )
        image = len(space.shape) == 3 and not key.startswith(masks.PREFIX)
        (images if image else vectors)[key] = space
    return vectors, images


class Cameras(NamedTuple):
    """Images of one size, which one network takes side by side.

    spaces     by name
    halvings   of the resolution, for which sides are padded to a multiple
    mults      of the convolutions that are used
    tail       of the names of layers, '' where all images have one size
    """

    spaces: dict
    halvings: int
    mults: tuple
    tail: str

    @property
    def size(self) -> tuple[int, int]:
        return next(iter(self.spaces.values())).shape[:2]

    @property
    def channels(self) -> int:
        return sum(s.shape[-1] for s in self.spaces.values())

    @property
    def small(self) -> tuple[int, int]:
        """Height and width after all halvings."""
        return tuple(-(-x // 2**self.halvings) for x in self.size)

    @property
    def padding(self) -> tuple[int, int]:
        """Pixels that are added to height and width."""
        return tuple(x * 2**self.halvings - y for x, y in zip(self.small, self.size, strict=True))


def cameras(images: dict, mults: tuple, outer: bool) -> list[Cameras]:
    """Images grouped by size. ValueError for a size that networks with these `mults` do not take.

    The last convolutions are used: as many as there are halvings, and one more with `outer`.
    """
    sizes = {k: tuple(s.shape[:2]) for k, s in images.items()}
    stages, groups = len(mults) - outer, []
    for size in sorted(set(sizes.values())):
        spaces = {k: s for k, s in images.items() if sizes[k] == size}
        if not fits(size, stages):
            raise ValueError(
                f'Images {", ".join(spaces)} are {size[0]}x{size[1]}; with {stages} halvings '
                f'(mults) allowed are {sides(stages)}, as of env.SUITE.size.'
            )
        count = halvings(size, stages)
        tail = f'_{size[0]}x{size[1]}' if len(set(sizes.values())) > 1 else ''
        groups.append(Cameras(spaces, count, tuple(mults[stages - count :]), tail))
    return groups


def halvings(size, stages: int) -> int:
    """The most up to `stages` that leave `SMALLEST` pixels of the smaller side, rounded up."""
    return next(s for s in range(stages, -1, -1) if math.ceil(min(size) / 2**s) >= SMALLEST)


def bounds(stages: int) -> tuple[int, int]:
    """Lowest and highest side of an image, which is halved at least once if there are stages."""
    return 2 * SMALLEST - 1 if stages else SMALLEST, LARGEST * 2**stages


def fits(size, stages: int) -> bool:
    low, high = bounds(stages)
    return all(low <= x <= high for x in size)


def sides(stages: int) -> str:
    """What is allowed, in words."""
    low, high = bounds(stages)
    return f'heights and widths from {low} to {high}'
