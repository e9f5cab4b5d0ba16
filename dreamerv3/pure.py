"""The policy as one pure function of arrays by name, as it is exported."""

import re

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np

from embodied.core import masks
from embodied.jax import ops

from . import agent, trained


class Policy:
    """One step of the policy as a pure function of dicts by name, in float32.

    step(weights, carry, obs, noise) -> carry, action, dists

    All but the weights are (B, ...). The noise (B, S, C) is standard Gumbel noise for the latents;
    `dists` are the parameters of the distributions of actions.
    """

    def __init__(self, loaded: trained.Trained):
        self.model = loaded.model
        with ops.precision(jnp.float32):
            state, action = jax.eval_shape(lambda: self.model.initial(1))
        carry = {**prefix('state', state), **prefix('action', action)}
        space = lambda x: elements.Space(np.dtype(x.dtype), x.shape[1:])
        self.inputs = {
            'carry': {k: space(v) for k, v in carry.items()},
            'obs': {**loaded.obs_space, 'is_first': elements.Space(bool)},
            'noise': elements.Space(np.float32, state['stoch'].shape[1:]),
        }
        self.weights = {
            k: np.asarray(v)
            for k, v in loaded.params.items()
            if re.match(self.model.policy_keys, k)
        }
        self._pure = nj.pure(self._step)

    def step(self, weights, carry, obs, noise):
        with ops.precision(jnp.float32):
            return self._pure(weights, carry, obs, noise)[1]

    def _step(self, carry, obs, noise):
        model = self.model
        state, prevact = strip('state', carry), strip('action', carry)
        # onnxruntime does not mask bools.
        prevact = {k: v.astype(jnp.int32) if v.dtype == bool else v for k, v in prevact.items()}
        tokens = model.enc(obs, bdims=1)
        state, _ = model.dyn.observe_step(state, tokens, prevact, obs['is_first'], noise)
        dists = model.pol(agent.features(state), bdims=1, masks=masks.of(obs))
        action = {k: d.pred().astype(model.act_space[k].dtype) for k, d in dists.items()}
        carry = {**prefix('state', state), **prefix('action', action)}
        return carry, action, {k: numbers(d) for k, d in dists.items()}

    def shapes(self, size):
        """Types and shapes of carry, obs and noise for a number of environments."""
        shape = lambda s: jax.ShapeDtypeStruct((size, *s.shape), s.dtype)
        is_space = lambda x: isinstance(x, elements.Space)
        return jax.tree.map(shape, tuple(self.inputs.values()), is_leaf=is_space)


def numbers(dist):
    """Parameters of the distribution of an action."""
    if hasattr(dist, 'logits'):
        return {'logits': dist.logits}
    return {'mean': dist.mean, 'stddev': dist.std}


def prefix(title, tree):
    return {f'{title}/{k}': v for k, v in tree.items()}


def strip(title, tree):
    return {k.removeprefix(f'{title}/'): v for k, v in tree.items() if k.startswith(f'{title}/')}
