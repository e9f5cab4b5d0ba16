"""DreamerV3 (Hafner et al., 2025): learn a world model, act on what it imagines.

`loss` is the table of contents: world model, imagination, actor and critic, replayed critic.
Nothing here names a mesh, a type or a device; `embodied.jax.Agent` compiles it.
"""

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np

from embodied.core import masks
from embodied.jax import (
    Agent,
    Model,
    Normalize,
    Optimizer,
    SlowCopy,
    device,
    heads,
    ops,
    optim,
)

from . import context, decoder, diagnosis, encoder, entries, inputs, losses, report, rssm

f32 = jnp.float32
sg = ops.sg
FLAGS = ('is_first', 'is_last', 'is_terminal', 'reward')


class Dreamer(Model):
    """World model `enc dyn dec rew con`, actor `pol`, critic `val` and its slow copy."""

    def __init__(self, obs_space, act_space, config):
        inputs.check(obs_space, act_space)
        self.obs_space = {k: v for k, v in obs_space.items() if not k.startswith('log/')}
        self.act_space = {k: v for k, v in act_space.items() if k != 'reset'}
        self.config = config
        seen = {k: v for k, v in self.obs_space.items() if k not in FLAGS}
        if not seen:
            raise ValueError('The environment has no observations besides reward and flags.')
        self.enc = encoder.Encoder(seen, **config.enc.simple, name='enc')
        self.dyn = rssm.RSSM(self.act_space, **config.dyn.rssm, name='dyn')
        self.dec = decoder.Decoder(seen, **config.dec.simple, name='dec')
        self.acted_on = inputs.acting(seen, self.enc.include, self.enc.exclude)
        if unknown := [k for k in seen if k.startswith(masks.PREFIX) and k not in self.dec.vectors]:
            raise ValueError(
                f'agent.dec.simple.include: got {self.dec.include!r}, with exclude '
                f'{self.dec.exclude!r}; allowed is what predicts {", ".join(unknown)}, by which '
                'imagined actions are limited'
            )
        scalar, binary = elements.Space(np.float32, ()), elements.Space(bool, ())
        self.rew = make_head(scalar, config.rewhead, 'rew')
        self.con = make_head(binary, config.conhead, 'con')
        self.pol = make_head(self.act_space, config.policy, 'pol', self._policy_outputs())
        self.val = make_head(scalar, config.value, 'val')
        self.slowval = SlowCopy(
            make_head(scalar, config.value, 'slowval'), self.val, **config.slowvalue
        )
        self.retnorm = Normalize(**config.retnorm, name='retnorm')
        self.valnorm = Normalize(**config.valnorm, name='valnorm')
        self.advnorm = Normalize(**config.advnorm, name='advnorm')
        trained = [self.dyn, self.enc, self.dec, self.rew, self.con, self.pol, self.val]
        self.opt = Optimizer(trained, optim.make(**config.opt), name='opt')
        # All reconstructions share one scale.
        scales = dict(config.loss_scales)
        self.scales = {**dict.fromkeys(seen, scales.pop('rec')), **scales}

    policy_keys = '^(enc|dyn|pol)/'

    @property
    def entry_space(self):
        """Latents of every step, from which training resumes."""
        if not self.config.replay_context:
            return {}
        return entries.spaces(self.dyn, jnp.dtype(ops.compute_dtype()).name)

    @property
    def faults(self):
        return self.opt.tensors

    def initial(self, batch_size):
        """Carry: state of the dynamics and previous action."""
        zeros = lambda s: jnp.zeros((batch_size, *s.shape), s.dtype)
        return self.dyn.initial(batch_size), {k: zeros(s) for k, s in self.act_space.items()}

    def needed(self, data):
        return context.needed(data, self.config.replay_context)

    def policy(self, carry, obs, mode='train'):
        state, prevact = carry
        tokens = self.enc(obs, bdims=1)
        state, feat = self.dyn.observe_step(state, tokens, prevact, obs['is_first'])
        dists = self.pol(features(feat), bdims=1, masks=masks.of(obs))
        greedy = mode == 'eval' and self.config.eval_mode == 'greedy'
        act = most_likely(dists) if greedy else sample(dists, nj.seed())
        act = {k: v.astype(self.act_space[k].dtype) for k, v in act.items()}
        return (state, act), act, context.encode(state) if self.entry_space else {}

    def choose(self, state, seed, greedy=False):
        """Actions (B, ...) of the policy in an imagined state, and the masks that it predicts."""
        predicted = self.dec.masks(state)
        dists = self.pol(features(state), bdims=1, masks=masks.of(predicted))
        return {**(most_likely(dists) if greedy else sample(dists, seed)), **predicted}

    def train(self, carry, data):
        state, data, prevact = context.apply(carry, data, self.config.replay_context)
        opt_metrics, (state, feat, terms, metrics) = self.opt(self.loss, state, data, prevact)
        self.slowval.update()
        out = {}
        if self.entry_space:
            latents = context.encode(feat)
            out['replay'] = {'stepid': data['stepid'], **latents, 'priority': self.priority(terms)}
        metrics['fault'] = opt_metrics.pop('fault')
        metrics |= {f'opt/{k}': v for k, v in opt_metrics.items()}
        return (state, {k: data[k][:, -1] for k in prevact}), out, metrics

    def report(self, carry, data):
        return report.report(self, carry, data)

    def diagnose(self, metrics, earlier):
        return diagnosis.verdicts(metrics, earlier, self.config)

    def dream(self, carry, data, seen):
        return report.dream(self, carry, data, seen)

    def loss(self, state, data, prevact, training=True):
        """Total loss of a batch (B, T, ...), and last state, features, loss terms and metrics."""
        state, feat, terms, metrics = self._world_model(state, data, prevact)
        imag = self._imagination(feat)
        ret, more, mets = self._actor_critic(imag, training)
        terms |= more
        metrics |= mets
        if self.config.repval_loss:
            terms['repval'] = self._replay_critic(feat, data, ret, training)
        assert all(v.dtype == f32 for v in terms.values()), terms
        metrics |= {f'loss/{k}': v.mean() for k, v in terms.items()}
        total = sum(self.scales[k] * v.mean() for k, v in terms.items())
        return total, (state, feat, terms, metrics)

    def _world_model(self, state, data, prevact):
        """Reconstruction, reward, continuation and KL losses (B, T) of the posterior states."""
        tokens = self.enc(data, bdims=2)
        state, feat = self.dyn.observe(state, tokens, prevact, data['is_first'])
        terms, metrics = self.dyn.losses(feat)
        x = features(feat)
        reward = self.rew(x if self.config.reward_grad else sg(x), bdims=2)
        terms['rew'] = reward.loss(data['reward'])
        # With contdisc the discount is part of the continuation.
        going_on = f32(~data['is_terminal'])
        if self.config.contdisc:
            going_on *= 1 - 1 / self.config.horizon
        terms['con'] = self.con(x, bdims=2).loss(going_on)
        for key, dist in self.dec(feat, bdims=2).items():
            terms[key] = dist.loss(self.target(key, data[key]))
        return state, feat, terms, metrics

    def _imagination(self, feat):
        """Trajectories (B K, H + 1, ...) from the last K posterior states of every row.

        Beside the actions are the masks that limited them, so that each has a probability.
        """
        length = feat['deter'].shape[1]
        last = min(self.config.imag_last or length, length)
        start = {k: v[:, -last:].reshape(-1, *v.shape[2:]) for k, v in feat.items()}

        def rollout(state):
            state, imag, act = self.dyn.imagine(state, self.choose, self.config.imag_length)
            final = self.choose(state, nj.seed())
            return imag, {k: jnp.concatenate([v, final[k][:, None]], 1) for k, v in act.items()}

        # Only policy and value learn from imagination, unless gradients may flow back.
        rollout = rollout if self.config.ac_grads else ops.frozen(rollout)
        imag, act = rollout({k: start[k] for k in self.dyn.entry_space})
        x = features({k: jnp.concatenate([start[k][:, None], imag[k]], 1) for k in imag})
        return (x if self.config.ac_grads else sg(x)), act, (-1, last)

    def _actor_critic(self, imag, training):
        """R_0 (B, K), losses (B, K) of actor and critic on imagined trajectories, and metrics."""
        x, act, shape = imag
        terms, ret, metrics = losses.imag_loss(
            act,
            ops.frozen(lambda x: self.rew(x, bdims=2).pred())(x),
            ops.frozen(lambda x: self.con(x, bdims=2).prob(1))(x),
            self.pol(x, bdims=2, masks=masks.of(act)),
            self.val(x, bdims=2),
            self.slowval(x, bdims=2),
            *(
                norm if training else norm.frozen
                for norm in (self.retnorm, self.valnorm, self.advnorm)
            ),
            valstats=self.valnorm.stats(),
            contdisc=self.config.contdisc,
            horizon=self.config.horizon,
            **self.config.imag_loss,
        )
        return (
            ret[:, 0].reshape(shape),
            {k: v.mean(1).reshape(shape) for k, v in terms.items()},
            metrics,
        )

    def _replay_critic(self, feat, data, boot, training):
        """Critic loss (B, K - 1) on the replayed steps that imagination started from."""
        last = boot.shape[1]
        x = features({k: v[:, -last:] for k, v in feat.items()})
        x = x if self.config.repval_grad else sg(x)
        loss, _ = losses.repl_loss(
            *(data[k][:, -last:] for k in ('is_last', 'is_terminal', 'reward')),
            boot,
            self.val(x, bdims=2),
            self.slowval(x, bdims=2),
            self.valnorm if training else self.valnorm.frozen,
            horizon=self.config.horizon,
            **self.config.repl_loss,
        )
        return loss

    def priority(self, terms):
        """Surprise of each step (B, T), for prioritised replay: the weighted world model loss."""
        model = {k: v for k, v in terms.items() if k not in ('policy', 'value', 'repval')}
        return sg(sum(self.scales[k] * v for k, v in model.items()))

    def target(self, key, value):
        """What the decoder predicts for an observation: images are scaled to [0, 1]."""
        return f32(value) / 255 if key in self.dec.images else value

    def _policy_outputs(self):
        disc, cont = self.config.policy_dist_disc, self.config.policy_dist_cont
        return {k: disc if s.discrete else cont for k, s in self.act_space.items()}


def features(feat):
    """What the heads see of a state: deter, then stoch (..., D + S C)."""
    return jnp.concatenate([feat['deter'], ops.flat(feat['stoch'], 2)], -1)


def most_likely(dists):
    return {k: d.pred() for k, d in dists.items()}


def sample(dists, seed):
    """One sample per action key."""
    seeds = jax.random.split(seed, len(dists))
    return {k: dists[k].sample(s) for k, s in zip(sorted(dists), seeds, strict=True)}


def make_head(space, config, name, output=None):
    """An MLP head with the options of a config block; `output` may name several."""
    options = dict(config)
    return heads.MLPHead(space, output or options.pop('output'), **options, name=name)


def make_agent(obs_space, act_space, config):
    """The agent of a whole config: blocks `agent` and `jax`, `seed` and `replay_context`."""
    options = dict(config.jax)
    device.setup(**{k: options.pop(k) for k in device.OPTIONS})
    settings = elements.Config(**config.agent, replay_context=config.replay_context)
    return Agent(
        Dreamer(obs_space, act_space, settings), seed=config.seed, logdir=config.logdir, **options
    )
