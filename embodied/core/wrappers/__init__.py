"""Wrappers change what goes into an environment and what comes out of it."""

from .actions import ClipAction, DiscretizeAction, NormalizeAction
from .batches import Single
from .episodes import ActionRepeat, RestartOnException, TimeLimit
from .observations import AddObs, BackwardReturn, ResizeImage
from .spaces import CheckObs, CheckSpaces, UnifyDtypes

__all__ = [
    'ActionRepeat',
    'AddObs',
    'BackwardReturn',
    'CheckObs',
    'CheckSpaces',
    'ClipAction',
    'DiscretizeAction',
    'NormalizeAction',
    'ResizeImage',
    'RestartOnException',
    'Single',
    'TimeLimit',
    'UnifyDtypes',
    'check',
    'wrap',
]


def wrap(env):
    """What every environment gets: actions in [-1, 1], few dtypes, checked values.

    Clipping comes outermost and so happens inside of the environment: what the policy sampled is
    what replay stores and the agent learns from, what the environment gets is within its bounds.
    Dimensions without finite bounds are neither rescaled nor clipped.
    """
    for key, space in env.act_space.items():
        if not (space.discrete or _normalized(space)):
            env = NormalizeAction(env, key)
    env = CheckSpaces(UnifyDtypes(env))
    for key, space in env.act_space.items():
        if not space.discrete:
            env = ClipAction(env, key, space.low, space.high)
    return env


def _normalized(space):
    return (space.low == -1).all() and (space.high == 1).all()


def check(env):
    """The environment with its observations checked, if they are not already."""
    inner = env
    while isinstance(inner, ClipAction):  # Observations pass through it as they are.
        inner = inner.env
    return env if isinstance(inner, CheckObs) else CheckObs(env)
