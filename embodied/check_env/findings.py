"""What is wrong with the spaces of an environment, in words that say how to mend it."""

from typing import NamedTuple

import numpy as np

from ..core import masks

FLAGS = {'reward': np.float32, 'is_first': bool, 'is_last': bool, 'is_terminal': bool}
CHANNELS = (1, 3, 4)  # Of images,
SIDE = 16  # which are not smaller than this.


class Finding(NamedTuple):
    """An `error` ends a run, a `warning` lets an agent learn less, a `note` is to be known."""

    level: str
    text: str


def error(text):
    return Finding('error', text)


def warning(text):
    return Finding('warning', text)


def note(text):
    return Finding('note', text)


def spaces(obs_space: dict, act_space: dict) -> list[Finding]:
    """Findings about spaces alone."""
    found = [*_flags(obs_space, act_space), *_names(obs_space, act_space)]
    for key, space in obs_space.items():
        if key not in FLAGS and not key.startswith('log/'):
            found += _observation(key, space)
    for key, space in act_space.items():
        if key != 'reset':
            found += _action(key, space)
    return found


def _flags(obs_space, act_space):
    wanted = [('obs_space', obs_space, k, v) for k, v in FLAGS.items()]
    for name, group, key, dtype in [*wanted, ('act_space', act_space, 'reset', bool)]:
        line = f"'{key}': elements.Space({'bool' if dtype is bool else 'np.float32'})"
        space = group.get(key)
        if space is None:
            yield error(f'{name} has no {key!r}. Add {line}')
        elif space.shape != () or np.dtype(space.dtype).kind != np.dtype(dtype).kind:
            yield error(
                f'{key!r} of {name} is {space.dtype} {space.shape}. Make it a single value: {line}'
            )


def _names(obs_space, act_space):
    for key in sorted(obs_space.keys() & act_space.keys()):
        yield error(f'{key!r} is the name of an observation and of an action. Rename one of them')
    for key in [*obs_space, *act_space]:
        name = key.removeprefix(masks.PREFIX)
        name = name.replace('/', '') if name.startswith('log/') else name
        if not name.replace('_', '').isalnum():
            yield error(
                f'The name {key!r} may only hold letters, digits and _, after log/ or mask/ in '
                'front. Rename it'
            )
    try:
        masks.check(obs_space, act_space)
    except ValueError as e:
        yield error(str(e).rstrip('.'))
    seen = [k for k in obs_space if k not in FLAGS and not k.startswith('log/')]
    if not seen:
        yield error('There is nothing to observe. Add an observation to obs_space, not in log/')
    if not act_space.keys() - {'reset'}:
        yield error("There is nothing to do. Add an action to act_space beside 'reset'")


def _observation(key, space):
    dtype, shape = np.dtype(space.dtype), space.shape
    if dtype.kind not in 'biuf':
        yield error(
            f'{key!r} has the type {dtype}. Give numbers instead, or name it log/{key} if no '
            'agent has to see it'
        )
    elif 0 in shape:
        yield error(f'{key!r} has the shape {shape} and so never holds anything. Leave it out')
    elif len(shape) == 3 and shape[0] in CHANNELS and min(shape[1:]) >= SIDE:
        yield warning(
            f'{key!r} of shape {shape} looks like an image with channels in front. Return '
            f'(height, width, channels), as by np.moveaxis(image, 0, -1)'
        )
    elif len(shape) == 3 and shape[2] in CHANNELS and min(shape[:2]) >= SIDE and dtype != np.uint8:
        yield warning(
            f'{key!r} of shape {shape} looks like an image of type {dtype}, which is taken for '
            f'{np.prod(shape)} numbers. Return uint8 from 0 to 255'
        )
    elif dtype.kind in 'iu' and dtype != np.uint8 and _classes(space) > 1000:
        yield warning(
            f'{key!r} has whole numbers, which are taken for classes, up to {_classes(space):.0f} '
            'of them. Give low and high in its space, or make it np.float32 if it is a quantity'
        )
    elif dtype.kind == 'f' and dtype.itemsize > 4:
        yield note(f'{key!r} is {dtype} and becomes float32')


def _action(key, space):
    dtype = np.dtype(space.dtype)
    if dtype.kind == 'f':
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            yield warning(
                f'Action {key!r} has no bounds, so it is neither scaled nor clipped, and what an '
                'agent tries at first may be far too small or large. Give finite low and high'
            )
        elif (space.low >= space.high).any():
            yield error(f'Action {key!r} has a low that is not below high: {space}')
    elif dtype.kind in 'iu' and _classes(space) > 1000:
        yield warning(
            f'Action {key!r} has up to {_classes(space):.0f} classes. Give low and high, which is '
            'one above the last, or make it continuous'
        )
    elif dtype.kind not in 'biu':
        yield error(f'Action {key!r} has the type {dtype}. Allowed are bool, integers and floats')


def _classes(space):
    return float(np.max(space.high.astype(np.float64) - space.low))
