"""Parameters by name: which of them fit, and what to say of them."""

import numpy as np


def modules(params):
    """First parts of the names of parameters."""
    return list(dict.fromkeys(k.split('/')[0] for k in params))


def describe_load(params, loaded):
    """One line on how many parameters of which modules were loaded, and which are new."""
    text = f'Loaded {len(loaded)} of {len(params)} parameters: {", ".join(modules(loaded))}'
    new = modules(k for k in params if k not in set(loaded))
    return text + (f'; left as they are: {", ".join(new)}' if new else '')


def check(old, new, complete=True):
    """ValueError unless `new` has every parameter of `old` with the same shape (and no others)."""
    missing = sorted(old.keys() - new.keys())
    unknown = sorted(new.keys() - old.keys()) if complete else []
    shapes = [
        f'{k} {tuple(np.shape(new[k]))} instead of {tuple(old[k].shape)}'
        for k in sorted(old.keys() & new.keys())
        if tuple(np.shape(new[k])) != tuple(old[k].shape)
    ]
    problems = []
    for name, keys in (('missing', missing), ('unknown', unknown), ('of another shape', shapes)):
        if keys:
            more = f' and {len(keys) - 4} more' if len(keys) > 4 else ''
            problems.append(f'{len(keys)} {name}: {", ".join(keys[:4])}{more}')
    if problems:
        raise ValueError('Parameters do not fit this agent: ' + '; '.join(problems) + '.')
