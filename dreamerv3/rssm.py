"""The dynamics: a recurrent state-space model with a block-diagonal GRU and categorical latents.

Sizes: D deter, h hidden, S x C stoch x classes, g blocks. The state is deter (B, D) and stoch
(B, S, C); a feature adds the raw logits that stoch was drawn from.
"""

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np

from embodied.jax import dists, layers, ops

f32 = jnp.float32
sg = ops.sg


class RSSM(nj.Module):
    """h_t = GRU(h_t-1, z_t-1, a_t-1); prior p(z_t | h_t); posterior q(z_t | h_t, tokens_t)."""

    deter: int = 4096
    hidden: int = 512
    stoch: int = 32
    classes: int = 32
    act: str = 'silu'
    norm: str = 'rms'
    unimix: float = 0.01
    outscale: float = 1.0
    winit: str = 'trunc_normal_in'
    imglayers: int = 2
    obslayers: int = 1
    dynlayers: int = 1
    absolute: bool = False
    blocks: int = 8
    free_nats: float = 1.0

    def __init__(self, act_space):
        if self.deter % self.blocks:
            raise ValueError(f'deter {self.deter} must be divisible by blocks {self.blocks}.')
        self.concat = layers.DictConcat(act_space)

    @property
    def entry_space(self):
        return {
            'deter': elements.Space(np.float32, (self.deter,)),
            'stoch': elements.Space(np.float32, (self.stoch, self.classes)),
        }

    def initial(self, batch_size):
        shapes = {k: (batch_size, *s.shape) for k, s in self.entry_space.items()}
        return {k: jnp.zeros(s, ops.compute_dtype()) for k, s in shapes.items()}

    def observe(self, state, tokens, action, reset):
        """Filter a sequence: tokens (B, T, E), previous actions (B, T, ...), reset (B, T).

        Returns the last state, and features (B, T, ...). Where reset is true, the state and the
        action before it count as zero.
        """
        inputs = self._action_input(action, reset)
        xs = (tokens, inputs, reset, ops.seeds(reset.shape[1]))
        return ops.scan(self._observe_step, state, xs)

    def observe_step(self, state, tokens, action, reset, seed=None):
        """One step of `observe`: all inputs (B, ...). The seed may also be noise, see `dists`."""
        inputs = self._action_input(action, reset)
        seed = nj.seed() if seed is None else seed
        return self._observe_step(state, (tokens, inputs, reset, seed[None]))

    def imagine(self, state, policy, length):
        """Roll out the prior for `length` steps with actions from `policy(state, seed) -> action`.

        Returns the last state, features (B, T, ...) and the actions (B, T, ...) that led to them.
        """

        def step(state, seeds):
            action = policy(state, seeds[0])
            state, feat = self._imagine_step(state, self._action_input(action), seeds[1])
            return state, (feat, action)

        seeds = nj.seed(2 * length).reshape(2, length, -1)
        state, (feat, action) = ops.scan(step, state, seeds)
        return state, feat, action

    def imagine_first(self, batch_size):
        """State and features (B, ...) of the first step of episodes, without an observation."""
        reset = jnp.ones(batch_size, bool)
        spaces = self.concat.spaces.items()
        action = {k: jnp.zeros((batch_size, *s.shape), s.dtype) for k, s in spaces}
        inputs = self._action_input(action, reset)
        return self._imagine_step(self.initial(batch_size), inputs, nj.seed())

    def imagine_actions(self, state, action):
        """Roll out the prior with given actions (B, T, ...)."""
        inputs = self._action_input(action)
        step = lambda state, xs: self._imagine_step(state, xs[0], xs[1][0])
        return ops.scan(step, state, (inputs, ops.seeds(inputs.shape[1])))

    def losses(self, feat):
        """KL losses (B, T) between posterior and prior, each clipped below `free_nats`.

        dyn = max(free, KL(sg(post) || prior)), rep = max(free, KL(post || sg(prior)))
        """
        prior_logit = self.prior(feat['deter'])
        post = feat['logit']
        dyn = self.dist(sg(post)).kl(self.dist(prior_logit))
        rep = self.dist(post).kl(self.dist(sg(prior_logit)))
        losses = {'dyn': jnp.maximum(dyn, self.free_nats), 'rep': jnp.maximum(rep, self.free_nats)}
        metrics = {
            'dyn_ent': self.dist(prior_logit).entropy().mean(),
            'rep_ent': self.dist(post).entropy().mean(),
        }
        return losses, metrics

    def core(self, state, x2):
        """One GRU step (B, D). Gates are split per block, the norms span all blocks."""
        deter, stoch = state['deter'], ops.flat(state['stoch'], 2)
        g = self.blocks
        x0 = self._layer('dynin0', deter, self.hidden)
        x1 = self._layer('dynin1', stoch, self.hidden)
        x, shared = deter, jnp.concatenate([x0, x1, x2], -1)
        for i in range(self.dynlayers):
            layer = self.sub(f'dynhid{i}', layers.BlockLinear, self.deter, g, winit=self.winit)
            x = self._norm_act(f'dynhid{i}', layer(x, None if i else shared))
        gru = self.sub('dyngru', layers.BlockLinear, 3 * self.deter, g, winit=self.winit)
        reset, cand, update = gru.parts(x, 3)
        cand = jnp.tanh(jax.nn.sigmoid(reset) * cand)
        update = jax.nn.sigmoid(update - 1)
        return update * cand + (1 - update) * deter

    def prior(self, deter):
        """Logits (..., S, C) from deter (..., D)."""
        x = deter
        for i in range(self.imglayers):
            x = self._layer(f'prior{i}', x, self.hidden)
        return self._logit('priorlogit', x)

    def posterior(self, deter, tokens):
        """Logits (..., S, C) from deter (..., D) and tokens (..., E)."""
        x = tokens if self.absolute else jnp.concatenate([deter, tokens], -1)
        for i in range(self.obslayers):
            x = self._layer(f'obs{i}', x, self.hidden)
        return self._logit('obslogit', x)

    def dist(self, logits):
        return dists.Agg(dists.OneHot(logits, self.unimix), 1)

    def _observe_step(self, state, xs):
        tokens, inputs, reset, seed = xs
        deter = self.core(ops.mask(state, ~reset), inputs)
        return self._state(deter, self.posterior(deter, tokens), seed[0])

    def _imagine_step(self, state, inputs, seed):
        deter = self.core(state, inputs)
        return self._state(deter, self.prior(deter), seed)

    def _state(self, deter, logit, seed):
        state = {'deter': deter, 'stoch': self.dist(logit).sample(seed)}
        return state, {**state, 'logit': logit}

    def action_vector(self, action, reset=None):
        """Actions (..., *shape) as one vector (..., A); all zero where reset, also for one-hots."""
        if reset is None:
            return self.concat(action)
        return ops.mask(self.concat(ops.mask(action, ~reset)), ~reset)

    def _action_input(self, action, reset=None):
        # Does not depend on the state, so it is computed for all steps at once.
        x = self.action_vector(action, reset)
        x = x / sg(jnp.maximum(1.0, jnp.abs(x)))  # Continuous actions saturate at +-1.
        return self._layer('dynin2', x, self.hidden)

    def _layer(self, name, x, units):
        x = self.sub(name, layers.Linear, units, winit=self.winit)(x)
        return self._norm_act(name, x)

    def _norm_act(self, name, x):
        return self.sub(f'{name}norm', layers.Norm, self.norm)(x, self.act)

    def _logit(self, name, x):
        kw = {'winit': self.winit, 'outscale': self.outscale}
        return self.sub(name, layers.Linear, (self.stoch, self.classes), **kw)(x)
