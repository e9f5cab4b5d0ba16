"""What is looked at now and then: losses on a batch, gradient norms per loss, open-loop videos."""

import jax
import jax.numpy as jnp
import ninjax as nj
import optax

from embodied.jax import optim

from . import context

ROWS = 6
BORDER = 2
PAUSE = 10


def report(agent, carry, data):
    """Metrics of a batch (B, K + T, ...), without learning from it. Returns carry and metrics."""
    if not agent.config.report:
        return carry, {}
    state, data, prevact = context.apply(carry, data, agent.config.replay_context)
    start = state
    _, (state, _, terms, metrics) = agent.loss(state, data, prevact, training=False)
    if agent.config.report_gradnorms:
        metrics |= gradient_norms(agent, list(terms), start, data, prevact)
    if agent.dec.images:
        metrics |= open_loop(agent, start, data, prevact)
    return (state, {k: data[k][:, -1] for k in prevact}), metrics


def gradient_norms(agent, keys, state, data, prevact):
    """Norm of the gradient of every loss term of `keys` by itself, one backward pass each."""

    def weighted(weights):
        _, (_, _, terms, _) = agent.loss(state, data, prevact, training=False)
        return sum(weights[i] * terms[k].mean() for i, k in enumerate(keys)), {}

    # The seed is drawn out here, since the loop must not change the one of the surroundings.
    gradients = nj.pure(optim.value_and_grad(weighted, agent.opt.paths), nested=True)
    params, seed = dict(nj.context()), nj.seed()

    def norm(weights):
        _, (_, grads, _) = gradients(params, weights, seed=seed)
        return optax.tree.norm(grads)

    # A loop is compiled once, whatever the number of losses.
    norms = jax.lax.map(norm, jnp.eye(len(keys)))
    return {f'gradnorm/{k}': norms[i] for i, k in enumerate(keys)}


def open_loop(agent, state, data, prevact):
    """Videos (T + pause, H, W, 3) per camera: truth, prediction and error below each other.

    The first half of every row is observed (green frame), the rest imagined from the recorded
    actions alone (red frame). Rows are side by side.
    """
    rows = min(ROWS, data['reward'].shape[0])
    half = data['reward'].shape[1] // 2
    first = lambda tree: {k: v[:rows] for k, v in tree.items()}
    state, data, prevact = first(state), first(data), first(prevact)
    _, images = predict(agent, state, data, prevact, half)
    return {f'openloop/{k}': video(data[k], v, half) for k, v in images.items()}


def dream(agent, carry, data, seen):
    """Predicted images of steps (B, T, ...), and the carry after observing all of them."""
    if not agent.dec.images:
        return carry, {}
    state, data, prevact = context.apply(carry, data, 0)
    state, images = predict(agent, state, data, prevact, seen)
    state, _ = observe(agent, state, *(cut(x, seen, None) for x in (data, prevact)))
    images = {k: v.round().astype(jnp.uint8) for k, v in images.items()}
    return (state, {k: data[k][:, -1] for k in prevact}), images


def predict(agent, state, data, prevact, seen):
    """State after the first `seen` steps, and images (B, T, H, W, C) from 0 to 255.

    These are reconstructions of the steps seen, and open-loop predictions of the others.
    """
    state, observed = observe(agent, state, cut(data, 0, seen), cut(prevact, 0, seen))
    _, imagined = agent.dyn.imagine_actions(state, cut(prevact, seen, None))
    feat = {k: jnp.concatenate([observed[k], imagined[k]], 1) for k in observed}
    recons = agent.dec(feat, bdims=2)
    return state, {k: jnp.clip(recons[k].pred() * 255, 0, 255) for k in agent.dec.images}


def observe(agent, state, data, prevact):
    """Last state and features (B, T, ...) of observed steps."""
    return agent.dyn.observe(state, agent.enc(data, bdims=2), prevact, data['is_first'])


def cut(tree, start, stop):
    return {k: v[:, start:stop] for k, v in tree.items()}


def video(truth, pred, half):
    """Frames (B, T, H, W, C) to one uint8 video (T + pause, 3 H + frame, B (W + frame), 3)."""
    truth = truth.astype(jnp.float32)
    error = (pred - truth + 255) / 2
    x = jnp.concatenate([truth, pred, error], 2)
    # Less than three channels are shown as gray, of more the first three.
    x = x[..., :3] if x.shape[-1] >= 3 else x[..., :1].repeat(3, -1)
    green, red = jnp.array([0, 255, 0.0]), jnp.array([255, 0, 0.0])
    color = jnp.where(jnp.arange(x.shape[1])[:, None] < half, green, red)[:, None, None]
    pad = [(0, 0), (0, 0), (BORDER, BORDER), (BORDER, BORDER), (0, 0)]
    inside = jnp.pad(jnp.ones_like(x), pad)
    x = jnp.where(inside > 0, jnp.pad(x, pad), color)
    x = jnp.pad(x, [(0, 0), (0, PAUSE), (0, 0), (0, 0), (0, 0)])
    x = x.transpose(1, 2, 0, 3, 4)
    return x.reshape(*x.shape[:2], -1, 3).astype(jnp.uint8)
