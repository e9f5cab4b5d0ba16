"""Gymnasium spaces as flat dicts of spaces, with functions that convert their values."""

import re
from collections.abc import Callable
from typing import NamedTuple

import elements
import gymnasium
import numpy as np
from gymnasium import spaces as gs

from ..core import masks

# Name by which environments tell which of their actions may be taken.
MASK = 'action_mask'


class Leaf(NamedTuple):
    """One value of a nested gymnasium space: where it is and how it is converted.

    Conversions also take values of several environments, with axes in front.
    """

    path: tuple  # Keys of Dict and indices of Tuple on the way to the value.
    space: elements.Space
    convert: Callable


def observations(
    space: gymnasium.Space, root: str, reserved, lead: tuple = ()
) -> tuple[dict[str, Leaf], list[str]]:
    """Leaves of an observation space by name, and one line for each value that has to stay out.

    A leaf's `convert` takes the value of the environment; `lead` are the axes that it has in front.
    """
    leaves, left_out = {}, []
    for name, path, inner in _flatten(space, root, 'obs', reserved):
        converted = _observation(inner, lead)
        if converted:
            leaves[name] = Leaf(path, *converted)
        else:
            left_out.append(f'Observation {name!r} is left out, it has no fixed shape: {inner}')
    if not leaves:
        raise ValueError(f'Nothing of the observation space can be used: {space}')
    return leaves, left_out


def actions(space: gymnasium.Space, root: str, reserved) -> dict[str, Leaf]:
    """Leaves of an action space by name. A leaf's `convert` makes the value for the environment."""
    flat = _flatten(space, root, 'act', reserved)
    return {name: Leaf(path, *_action(inner, name)) for name, path, inner in flat}


def mask(actions: dict[str, Leaf], lead: tuple = ()) -> tuple[str, Leaf]:
    """Name and leaf of the mask of an environment with one discrete action.

    It comes as a number for each choice, those of several elements one after the other, which is 0
    where the choice may not be taken. ValueError for other actions.
    """
    if len(actions) > 1 or not next(iter(actions.values())).space.discrete:
        raise ValueError(f'{MASK}: got actions {", ".join(actions)}, allowed is a discrete one')
    ((name, action),) = actions.items()
    exists = masks.exists(action.space)

    def convert(value):
        flat = np.asarray(value).reshape((*lead, -1))
        if flat.shape[-1] != exists.sum():
            raise ValueError(
                f'{MASK}: got {flat.shape[-1]} values, allowed are {exists.sum()}, one for each '
                f'choice of the action {name!r}'
            )
        result = np.zeros((*lead, *exists.shape), bool)
        result[..., exists] = flat
        return result

    return masks.PREFIX + name, Leaf((MASK,), masks.space(action.space), convert)


def masked(leaves: dict[str, Leaf], actions: dict[str, Leaf], lead: tuple = ()) -> dict[str, Leaf]:
    """Observations with the one called `action_mask` as a mask, if it is one of the actions."""
    discrete = len(actions) == 1 and next(iter(actions.values())).space.discrete
    if MASK not in leaves or leaves[MASK].path != (MASK,) or not discrete:
        return leaves
    if (
        np.prod(leaves[MASK].space.shape)
        != masks.exists(*(x.space for x in actions.values())).sum()
    ):
        return leaves
    return dict(mask(actions, lead) if k == MASK else (k, v) for k, v in leaves.items())


def read(obs, leaves: dict[str, Leaf]) -> dict:
    """Values of a nested observation by name. ValueError for one that its space does not allow."""
    result = {}
    for name, leaf in leaves.items():
        value = obs
        try:
            for key in leaf.path:
                value = value[key]
            result[name] = leaf.convert(value)
        except (KeyError, IndexError, TypeError, ValueError) as e:
            raise ValueError(_misfit(name, leaf, value)) from e
    return result


def _misfit(name, leaf, value):
    found = f'shape {value.shape}' if hasattr(value, 'shape') else f'a {type(value).__name__}'
    return (
        f'The observation has {found} where {name!r} should be, whose space has shape '
        f'{leaf.space.shape}. Mend the environment or its observation_space.'
    )


def assemble(space: gymnasium.Space, values: dict, path: tuple = ()):
    """A nested action from values by path."""
    if isinstance(space, gs.Dict):
        return {k: assemble(v, values, (*path, k)) for k, v in space.spaces.items()}
    if isinstance(space, gs.Tuple):
        return tuple(assemble(v, values, (*path, i)) for i, v in enumerate(space.spaces))
    return values[path]


def _flatten(space, root, prefix, reserved):
    """Names, paths and spaces of the leaves; names of letters, digits and underscores only."""
    result = []
    for path, inner in _leaves(space, ()):
        parts = path if isinstance(space, gs.Dict) else (root, *path)
        name = re.sub(r'\W', '_', '_'.join(str(x) for x in parts), flags=re.ASCII)
        name = f'{prefix}_{name}' if name in reserved else name
        if name in [x[0] for x in result]:
            raise ValueError(f'Two values have the name {name!r} once nesting is resolved: {space}')
        result.append((name, path, inner))
    return result


def _leaves(space, path):
    if isinstance(space, gs.Dict):
        for key, inner in space.spaces.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(space, gs.Tuple):
        for index, inner in enumerate(space.spaces):
            yield from _leaves(inner, (*path, index))
    else:
        yield path, space


def _observation(space, lead):
    """Space and conversion of a leaf, or None."""
    if isinstance(space, gs.Discrete):
        start = int(space.start)
        ours = elements.Space(np.int32, (), 0, int(space.n))
        return ours, lambda x: (np.asarray(x, np.int64).reshape(lead) - start).astype(np.int32)
    if isinstance(space, gs.MultiDiscrete):
        ours = elements.Space(np.int32, space.shape, 0, space.nvec)
        return ours, lambda x: (np.asarray(x) - space.start).astype(np.int32)
    if isinstance(space, gs.MultiBinary) or (isinstance(space, gs.Box) and space.dtype == bool):
        return elements.Space(bool, space.shape), lambda x: np.asarray(x).astype(bool)
    if not isinstance(space, gs.Box) or 0 in space.shape:
        return None
    if space.dtype == np.uint8 and len(space.shape) in (2, 3):
        return _image(space.shape)
    # A Box is a range, so integers are quantities here and not classes. The bounds of what is
    # observed are of no use, and environments overstep them.
    ours = elements.Space(np.float32, space.shape)
    return ours, lambda x: np.asarray(x, np.float32).reshape((*lead, *ours.shape))


def _image(shape):
    if len(shape) == 2:
        return elements.Space(np.uint8, (*shape, 1)), lambda x: np.asarray(x)[..., None]
    if shape[0] <= 4 < shape[2]:  # Channels, or stacked frames, come first.
        height, width = shape[1:]
        ours = elements.Space(np.uint8, (height, width, shape[0]))
        return ours, lambda x: np.moveaxis(np.asarray(x), -3, -1)
    return elements.Space(np.uint8, shape), np.asarray


def _action(space, name):
    """Space of a leaf, and the conversion of our value to the environment's."""
    if isinstance(space, gs.Discrete):
        start = int(space.start)
        return elements.Space(
            np.int32, (), 0, int(space.n)
        ), lambda x: np.asarray(x, np.int64) + start
    if isinstance(space, gs.MultiDiscrete):
        ours = elements.Space(np.int32, space.shape, 0, space.nvec)
        return ours, lambda x: (np.asarray(x) + space.start).astype(space.dtype)
    if isinstance(space, gs.MultiBinary) or (isinstance(space, gs.Box) and space.dtype == bool):
        return elements.Space(bool, space.shape), lambda x: np.asarray(x).astype(space.dtype)
    if isinstance(space, gs.Box) and np.issubdtype(space.dtype, np.floating):
        return _continuous(space)
    if isinstance(space, gs.Box):
        classes = space.high.astype(np.float64) - space.low + 1
        if classes.max() > 65536:
            raise ValueError(f'Action {name!r} has too many values to be discrete: {space}')
        ours = elements.Space(np.int32, space.shape, 0, classes.astype(np.int32))
        return ours, lambda x: (np.asarray(x) + space.low).astype(space.dtype)
    raise ValueError(
        f'Action {name!r} is of a kind that cannot be learned: {space}. Allowed are Box, Discrete, '
        'MultiDiscrete and MultiBinary, also nested in Dict and Tuple.'
    )


def _continuous(space):
    with np.errstate(over='ignore'):  # Bounds beyond float32 become infinite.
        low, high = space.low.astype(np.float32), space.high.astype(np.float32)
    ours = elements.Space(np.float32, space.shape, low, high)
    if space.dtype == np.float32:
        return ours, lambda x: np.asarray(x, np.float32)
    # A bound that was rounded to float32 can lie a little outside.
    return ours, lambda x: np.clip(np.asarray(x, space.dtype), space.low, space.high)
