"""Masks of actions: observations `mask/NAME` that say which choices of action NAME may be taken.

A mask is bool of shape (*action.shape, K), where K is the largest number of choices of an element,
and entry k stands for the choice `low + k`. What is beyond the choices of an element is not looked
at. Where an element has no choice that may be taken, as at the end of an episode, all of them may.
"""

import elements
import numpy as np

PREFIX = 'mask/'


def of(values: dict) -> dict:
    """The masks among observations or their spaces, by the names of the actions."""
    return {k.removeprefix(PREFIX): v for k, v in values.items() if k.startswith(PREFIX)}


def space(action: elements.Space) -> elements.Space:
    """Space of the mask of a discrete action."""
    return elements.Space(bool, (*action.shape, int(np.max(action.classes))))


def check(obs_space: dict, act_space: dict) -> None:
    """ValueError for a mask of an unknown or continuous action, or of another type or shape."""
    for name, mask in of(obs_space).items():
        action = act_space.get(name)
        discrete = sorted(k for k, v in act_space.items() if v.discrete and k != 'reset')
        if name not in discrete:
            raise ValueError(
                f'Space {PREFIX + name!r}: got a mask of {name!r}, allowed are masks of the '
                f'discrete actions {discrete}.'
            )
        want = space(action)
        if mask.dtype != bool or mask.shape != want.shape:
            raise ValueError(
                f'Space {PREFIX + name!r}: got {mask.dtype} {mask.shape}, allowed is bool '
                f'{want.shape}: a value for each choice of the action.'
            )
        if f'mask_{name}' in obs_space:  # Layers would have the same name.
            raise ValueError(
                f"Space 'mask_{name}': allowed beside {PREFIX + name!r} is another name."
            )


def exists(action: elements.Space) -> np.ndarray:
    """Which choices there are, as a mask."""
    classes = np.broadcast_to(action.classes, action.shape)
    return np.arange(np.max(classes)) < classes[..., None]


def sample(action: elements.Space, mask, rng) -> np.ndarray:
    """A random choice that may be taken for each row of a mask (B, *shape, K): (B, *shape)."""
    there = exists(action)
    allowed = np.asarray(mask) & there
    allowed = np.where(allowed.any(-1, keepdims=True), allowed, there)
    index = np.where(allowed, rng.random(allowed.shape), -1).argmax(-1)
    return (index + action.low).astype(action.dtype)
