"""State of the classic control environments of Gymnasium, which are simple enough to save."""

import numpy as np

PREFIX = 'gymnasium.envs.classic_control.'
NAMES = ('steps_beyond_terminated', 'last_u')  # Where an environment has them.


def supported(env) -> bool:
    """Whether the environment is one of classic control, however it is wrapped."""
    return type(env.unwrapped).__module__.startswith(PREFIX)


def save(env) -> dict:
    """Physical state, random state, and how far the time limit is."""
    inner = env.unwrapped
    limit = _time_limit(env)
    state = getattr(inner, 'state', None)  # There is none before the first reset.
    return {
        'state': None if state is None else np.array(state),
        'rng': inner.np_random.bit_generator.state,
        'elapsed': limit._elapsed_steps if limit else None,
        **{k: getattr(inner, k) for k in NAMES if hasattr(inner, k)},
    }


def load(env, data: dict) -> None:
    """Take over the state of `save`."""
    env.reset()  # The wrappers refuse to step an environment that never was reset.
    inner = env.unwrapped
    inner.state = None if data['state'] is None else np.array(data['state'])
    inner.np_random.bit_generator.state = data['rng']
    for key in NAMES:
        if key in data:
            setattr(inner, key, data[key])
    limit = _time_limit(env)
    if limit:
        limit._elapsed_steps = data['elapsed']


def _time_limit(env):
    while env is not env.unwrapped:
        if hasattr(env, '_elapsed_steps'):
            return env
        env = env.env
    return None
