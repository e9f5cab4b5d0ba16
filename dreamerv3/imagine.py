"""What the world model expects: observations, rewards and ends, in the units of the environment."""

import jax
import jax.numpy as jnp
import ninjax as nj

from . import agent


def observed(model, carry, obs):
    """State after an observation (B, ...) that follows a carry of `policy`, and its outcome."""
    state, prevact = carry
    tokens = model.enc(obs, bdims=1)
    state, _ = model.dyn.observe_step(state, tokens, prevact, obs['is_first'])
    return state, outcome(model, state, 1)


def invented(model, batch_size):
    """State of the beginning of an episode that the model makes up, and its outcome."""
    state, _ = model.dyn.imagine_first(batch_size)
    return state, outcome(model, state, 1)


def rollout(model, state, actions, length, greedy):
    """Imagine `length` steps with actions (B, T, ...), those of the policy if there are none.

    Returns the last state, the actions and the outcome (B, T, ...) of each of them.
    """
    if actions is None:
        choose = lambda state, seed: act(model, state, seed, greedy)
        state, feat, actions = model.dyn.imagine(state, choose, length)
    else:
        state, feat = model.dyn.imagine_actions(state, actions)
    return state, actions, outcome(model, feat, 2)


def act(model, state, seed, greedy):
    """Actions (B, ...) of the policy, as the environment takes them."""
    acts = model.choose(state, seed, greedy)
    return {k: acts[k].astype(s.dtype) for k, s in model.act_space.items()}


def outcome(model, feat, bdims):
    """Decoded observations, reward, and probability that the episode goes on, of features."""
    x = agent.features(feat)
    going_on = model.con(x, bdims).prob(1)
    if model.config.contdisc:
        # The discount is part of what the head has learned.
        going_on = jnp.minimum(1, going_on / (1 - 1 / model.config.horizon))
    return {
        'obs': decode(model, feat, bdims),
        'reward': model.rew(x, bdims).value(),
        'cont': going_on,
    }


def decode(model, feat, bdims):
    """Observations as the environment gives them, of all that the decoder predicts."""
    values = {k: d.value() for k, d in model.dec(feat, bdims).items()}
    images = {k: jnp.clip(values[k] * 255, 0, 255).round() for k in model.dec.images}
    return {k: v.astype(model.obs_space[k].dtype) for k, v in {**values, **images}.items()}


def everything(model):
    """Runs all that acting and imagining need, with zeros."""
    carry = model.initial(1)
    obs = {k: jnp.zeros((1, *s.shape), s.dtype) for k, s in model.obs_space.items()}
    (state, _), _, _ = model.policy(carry, obs, 'eval')
    return rollout(model, state, None, 1, True)


def params(model, seed):
    """Shapes of the parameters that acting and imagining need, by name."""
    return jax.eval_shape(nj.init(lambda: everything(model)), {}, seed=seed)
