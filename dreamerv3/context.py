"""Replay context: training resumes from latents that were stored in replay."""

import jax
import jax.numpy as jnp

from embodied.jax import ops

from . import entries


def apply(carry, data, length):
    """Cut the context off a batch (B, K + T, ...) and take over its latents; K = `length`.

    Rows that open a window (`consec` 0) start from the state stored at step K - 1, the others go on
    from the carry (state, previous action). Returns the state, the data without their context
    (B, T, ...) and the action before each step (B, T, ...).
    """
    state, prevact = carry
    actions = {k: data[k] for k in prevact}
    latents = {k: v for k, v in data.items() if k.startswith('dyn/')}
    data = {k: v for k, v in data.items() if k not in latents}
    if not length:
        shift = lambda prev, act: jnp.concatenate([prev[:, None], act[:, :-1]], 1)
        return state, data, {k: shift(prevact[k], v) for k, v in actions.items()}
    opening = data['consec'][:, 0] == 0
    stored = decode({k: v[:, length - 1] for k, v in latents.items()}, state['stoch'].shape[-1])
    state = ops.where(opening, stored, state)
    prevact = {k: v[:, length - 1 : -1] for k, v in actions.items()}
    return state, {k: v[:, length:] for k, v in data.items()}, prevact


def needed(data, length):
    """A batch (B, K + T, ...) with what `apply` reads of it: of the latents, those of the context.

    They are the largest part of a step, and so do not all have to go to the device.
    """
    return {k: v[:, :length] if k.startswith('dyn/') else v for k, v in data.items()}


def encode(state):
    """A state as replay stores it: deter in the compute type, of each one-hot vector its index.

    deter (..., D), stoch (..., S, C) -> dyn/deter (..., D), dyn/stoch (..., S)
    """
    deter, stoch = ops.cast(state['deter']), state['stoch']
    if deter.dtype == jnp.bfloat16:
        deter = jax.lax.bitcast_convert_type(deter, jnp.uint16)
    index = stoch.argmax(-1).astype(entries.index(stoch.shape[-1]))
    return {'dyn/deter': deter, 'dyn/stoch': index}


def decode(stored, classes):
    """The inverse of `encode`, also for latents that were stored in the other compute type."""
    deter = stored['dyn/deter']
    if deter.dtype == jnp.uint16:
        deter = jax.lax.bitcast_convert_type(deter, jnp.bfloat16)
    return ops.cast({'deter': deter, 'stoch': jax.nn.one_hot(stored['dyn/stoch'], classes)})
