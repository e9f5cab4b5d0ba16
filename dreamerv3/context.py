"""Replay context: training resumes from latents that were stored in replay."""

import jax.numpy as jnp

from embodied.jax import ops


def apply(carry, data, length):
    """Cut the context off a batch (B, K + T, ...) and take over its latents; K = `length`.

    Rows that open a window (`consec` 0) start from the state stored at step K - 1, the others go on
    from the carry (state, previous action). Returns the state, the data without their context
    (B, T, ...) and the action before each step (B, T, ...).
    """
    state, prevact = carry
    actions = {k: data[k] for k in prevact}
    latents = {k: data[f'dyn/{k}'] for k in state} if length else {}
    data = {k: v for k, v in data.items() if not k.startswith('dyn/')}
    if not length:
        shift = lambda prev, act: jnp.concatenate([prev[:, None], act[:, :-1]], 1)
        return state, data, {k: shift(prevact[k], v) for k, v in actions.items()}
    opening = data['consec'][:, 0] == 0
    stored = ops.cast({k: v[:, length - 1] for k, v in latents.items()})
    state = ops.where(opening, stored, state)
    prevact = {k: v[:, length - 1 : -1] for k, v in actions.items()}
    return state, {k: v[:, length:] for k, v in data.items()}, prevact
