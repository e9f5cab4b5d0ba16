"""A runtime for agents and environments. Its public names load on first use.

`import embodied` is light: an environment process starts fast and never sees JAX.
"""

import importlib

__version__ = '0.1.0'

# Public name to the module that it lives in, or to the module that it is.
_NAMES = {
    'Agent': 'core.base',
    'BatchEnv': 'core.base',
    'Checkpoint': 'core.checkpoint',
    'Driver': 'core.driver',
    'Env': 'core.base',
    'GlobalClock': 'core.clock',
    'LocalClock': 'core.clock',
    'RandomAgent': 'core.random',
    'Replay': 'core.replay',
    'Stream': 'core.base',
    'Wrapper': 'core.base',
}
_MODULES = {
    **{k: f'core.{k}' for k in ('clock', 'limiters', 'replay', 'selectors', 'streams', 'wrappers')},
    **{k: k for k in ('envs', 'jax', 'run')},
}

__all__ = ['Space', *_NAMES, *_MODULES]


def __getattr__(name):
    if name in _NAMES:
        value = getattr(importlib.import_module(f'.{_NAMES[name]}', __name__), name)
    elif name in _MODULES:
        value = importlib.import_module(f'.{_MODULES[name]}', __name__)
    elif name == 'Space':
        value = importlib.import_module('elements').Space
    else:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *__all__})
