"""Environments that users bring along: `MODULE:NAME`, of an installed module or one in this folder.

NAME is a function or class of the module that takes no arguments, or only `seed`, and gives an
embodied.Env or a gymnasium.Env. Or it is an id that the module registers with Gymnasium.
"""

import difflib
import importlib
import inspect
import os
import sys

import elements

from ..core import base, wrappers

NEEDED = inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD
NEEDED += (inspect.Parameter.KEYWORD_ONLY,)


def check(task: str) -> None:
    """Raises a ValueError if there is no such module, or nothing in it that can be called.

    This imports the module.
    """
    function = _find(task)
    if isinstance(function, str):
        return
    if not callable(function):
        raise ValueError(
            f'task: {task!r} is a {type(function).__name__}, allowed is a function or class that '
            'makes the environment'
        )
    needed = [x.name for x in _parameters(function) if x.default is x.empty and x.kind in NEEDED]
    needed = [x for x in needed if x != 'seed']
    if needed:
        raise ValueError(
            f'task: {task!r} needs the arguments {", ".join(needed)}, allowed are none or seed. '
            'Write a function around it that gives the others'
        )


def make(task, size=None, mask=False, seed=None) -> base.Env:
    """The environment; images are resized to `size` (height, width) if that is given.

    mask: for one of Gymnasium, see `FromGym`.
    """
    function = _find(task)
    if isinstance(function, str):
        from . import from_gym

        env = from_gym.FromGym(function, seed=seed, mask=mask)
    else:
        takes_seed = 'seed' in [x.name for x in _parameters(function)]
        env = convert(function(**({'seed': seed} if takes_seed else {})), task, seed, mask)
    return wrappers.ResizeImage(env, size) if size else env


def convert(env, task: str, seed=None, mask=False) -> base.Env:
    """What a user's function returned as an embodied.Env; ValueError if it is none."""
    spaces = [getattr(env, x, None) for x in ('obs_space', 'act_space')]
    if all(isinstance(x, dict) for x in spaces) and not getattr(env, 'batched', False):
        for key, space in {**spaces[0], **spaces[1]}.items():
            if not isinstance(space, elements.Space):
                raise ValueError(
                    f'task: {task!r} has {space!r} as the space of {key!r}, allowed is an '
                    'elements.Space'
                )
        if mask:
            raise ValueError(
                f'env.custom.mask: got True, allowed for environments of Gymnasium; {task!r} is an '
                'embodied.Env, which has masks among its observations'
            )
        return env
    if hasattr(env, 'observation_space') and hasattr(env, 'action_space'):
        from . import from_gym

        return from_gym.FromGym(env, seed=seed, mask=mask)
    raise ValueError(
        f'task: {task!r} gave a {type(env).__module__}.{type(env).__name__}, allowed are an '
        'embodied.Env with obs_space and act_space, or a gymnasium.Env'
    )


def _find(task):
    """The attribute of the module, or an id of Gymnasium in the form MODULE:ID."""
    name, _, attribute = task.rpartition(':')
    module = _import(name, task)
    if hasattr(module, attribute):
        return getattr(module, attribute)
    gymnasium = sys.modules.get('gymnasium')
    if gymnasium and attribute in gymnasium.registry:
        return task
    known = [k for k, v in vars(module).items() if callable(v) and not k.startswith('_')]
    close = difflib.get_close_matches(attribute, known, 1)
    hint = f', did you mean {close[0]!r}?' if close else '.'
    raise ValueError(
        f'task: there is no {attribute!r} in the module {name!r} ({_file(module)}){hint} '
        'Allowed are functions, classes and ids of Gymnasium'
    )


def _import(name, task):
    # A script is not started with this folder in its path. It comes last, so that no file here
    # takes the place of a module of Python.
    if os.getcwd() not in sys.path and '' not in sys.path:
        sys.path.append(os.getcwd())
    if not all(x.isidentifier() for x in name.split('.')):
        raise ValueError(f'task: got {task!r}, allowed is MODULE:NAME, as in my_module:make_env')
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as e:
        if name == e.name or name.startswith(f'{e.name}.'):
            raise ValueError(
                f'task: there is no module {name!r} for {task!r}, neither installed nor in the '
                f'folder {os.getcwd()}'
            ) from None
        raise ValueError(
            f'task: cannot import {name!r} for {task!r}, as {e.name!r} is not installed'
        ) from None


def _parameters(function):
    try:
        return inspect.signature(function).parameters.values()
    except ValueError:
        return ()  # Some that are written in C do not tell.


def _file(module):
    return getattr(module, '__file__', None) or 'without a file'
