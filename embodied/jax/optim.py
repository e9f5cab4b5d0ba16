"""The optimiser: clip by parameter norm, RMS scaling, momentum, weight decay, schedule.

A chain of optax transformations over a flat dict of parameters, and the module that runs it inside
of a training step.
"""

import re

import jax
import jax.numpy as jnp
import ninjax as nj
import optax

from . import ops

f32 = jnp.float32
i32 = jnp.int32


def make(
    lr=4e-5,
    agc=0.3,
    eps=1e-20,
    beta1=0.9,
    beta2=0.999,
    nesterov=False,
    wd=0.0,
    wdregex=r'/kernel$',
    schedule='const',
    warmup=1000,
    anneal=0,
):
    """The chain of the DreamerV3 optimiser; momentum comes after the scaling."""
    return optax.chain(
        clip_by_agc(agc),
        scale_by_rms(beta2, eps),
        scale_by_momentum(beta1, nesterov),
        *([decay_weights(wd, wdregex)] if wd else []),
        optax.scale_by_learning_rate(learning_rate(lr, schedule, warmup, anneal)),
    )


def clip_by_agc(clip=0.3, pmin=1e-3):
    """g / max(1, |g| / (clip max(pmin, |p|))), norms over whole tensors; clip 0 turns it off."""

    def clipped(update, param):
        upper = clip * jnp.maximum(pmin, jnp.sqrt(ops.squares(param)))
        # Times a number, as XLA on a CPU gives each division of a tensor a kernel of its own.
        return update * (1 / jnp.maximum(1.0, jnp.sqrt(ops.squares(update)) / upper))

    def update(updates, params):
        return jax.tree.map(clipped, updates, params) if clip else updates

    return optax.stateless(update)


def scale_by_rms(beta=0.999, eps=1e-20):
    """v <- beta v + (1 - beta) g^2, u = g / (sqrt(v / (1 - beta^t)) + eps)"""

    def init(params):
        return jnp.zeros((), i32), jax.tree.map(lambda p: jnp.zeros(p.shape, f32), params)

    def update(updates, state, params=None):
        step, nu = state
        step = optax.safe_increment(step)
        nu = jax.tree.map(lambda v, g: beta * v + (1 - beta) * (g * g), nu, updates)
        fix = 1 - beta ** f32(step)
        updates = jax.tree.map(lambda g, v: g / (jnp.sqrt(v / fix) + eps), updates, nu)
        return updates, (step, nu)

    return optax.GradientTransformation(init, update)


def scale_by_momentum(beta=0.9, nesterov=False):
    """m <- beta m + (1 - beta) u; u = m / (1 - beta^t), or one more step ahead with nesterov."""

    def init(params):
        return jnp.zeros((), i32), jax.tree.map(lambda p: jnp.zeros(p.shape, f32), params)

    def update(updates, state, params=None):
        step, mu = state
        step = optax.safe_increment(step)
        blend = lambda m, u: beta * m + (1 - beta) * u
        mu = jax.tree.map(blend, mu, updates)
        ahead = jax.tree.map(blend, mu, updates) if nesterov else mu
        fix = 1 / (1 - beta ** f32(step))
        return jax.tree.map(lambda m: m * fix, ahead), (step, mu)

    return optax.GradientTransformation(init, update)


def decay_weights(wd, regex):
    """u + wd p for parameters whose name matches."""
    pattern = re.compile(regex)
    mask = lambda params: {k: bool(pattern.search(k)) for k in params}
    return optax.add_decayed_weights(wd, mask)


def learning_rate(lr, schedule='const', warmup=1000, anneal=0):
    """Update index (from 0) to learning rate: a linear warm-up, then the schedule.

    i < warmup: lr i / warmup, so the first update moves nothing. Then f = min(1, (i - warmup) /
    (anneal - warmup)); const: lr; linear: lr (1 - 0.9 f); cosine: lr ((1 - w)(1 + cos(pi f))/2 + w)
    with w = 0.1 lr, as in the official program, whose floor is thus 0.1 lr^2.
    """
    if schedule not in ('const', 'linear', 'cosine'):
        raise ValueError(f'Unknown schedule {schedule!r}. Allowed: const, linear, cosine.')
    if schedule != 'const' and anneal <= warmup:
        raise ValueError(f'anneal must be above warmup {warmup} for schedule {schedule}: {anneal}.')

    def rate(index):
        index = f32(index)
        fraction = jnp.clip((index - warmup) / max(1, anneal - warmup), 0, 1)
        if schedule == 'const':
            value = lr * jnp.ones_like(fraction)
        elif schedule == 'linear':
            value = lr * (1 - 0.9 * fraction)
        else:
            floor = 0.1 * lr
            value = lr * ((1 - floor) * (1 + jnp.cos(jnp.pi * fraction)) / 2 + floor)
        return jnp.where(index < warmup, lr * index / max(1, warmup), value)

    return rate


class Optimizer(nj.Module):
    """Takes one step on the parameters of `modules` inside of a training step.

    `loss` returns a scalar and auxiliary outputs; state that it writes (normalisers, say) is kept.
    The metric `fault` tells whether the loss or the squares of a gradient are not finite, so that
    nothing of the step may be kept: i if `tensors[i - 1]` is the first of them, 0 if there is none.
    """

    def __init__(self, modules, chain):
        self.paths = tuple(m.path + '/' for m in modules)
        self.chain = chain
        self.steps = nj.Variable(jnp.zeros, (), i32, name='step')
        self.tensors = []

    def __call__(self, loss, *args):
        """One step. Returns metrics and the auxiliary outputs of `loss`."""
        value, grads, aux = value_and_grad(loss, self.paths)(*args)
        fault = self._fault(value, grads)
        params = {k: nj.context()[k] for k in grads}
        updates, treedef = self.chain.update(grads, self._state(params), params)
        for key, leaf in nj.flatten(treedef)[0].items():
            self.write(f'state/{key}', leaf)
        nj.context().update(optax.apply_updates(params, updates))
        self.steps.write(self.steps.read() + 1)
        metrics = {
            'loss': value,
            'fault': fault,
            'updates': self.steps.read(),
            'grad_norm': jnp.sqrt(ops.squares(grads)),
            'update_norm': jnp.sqrt(ops.squares(updates)),
            'grad_rms': ops.rms(grads),
            'update_rms': ops.rms(updates),
            'param_rms': ops.rms(params),
            'param_count': f32(sum(x.size for x in params.values())),
        }
        return metrics, aux

    def _fault(self, value, grads):
        names = sorted(grads)
        self.tensors = ['the loss', *(f'the gradient of {k}' for k in names)]
        # The squares are summed for the clipping anyway.
        sums = jnp.stack([f32(value), *(ops.squares(grads[k]) for k in names)])
        bad = ~jnp.isfinite(sums)
        return jnp.where(bad.any(), 1 + bad.argmax(), 0).astype(i32)

    def _state(self, params):
        example = jax.eval_shape(self.chain.init, params)
        keys, treedef = nj.flatten(example)[1]
        if nj.creating():
            for key, leaf in nj.flatten(self.chain.init(params))[0].items():
                self.value(f'state/{key}', leaf)
        return nj.unflatten({k: self.read(f'state/{k}') for k in keys}, (keys, treedef))


def value_and_grad(fn, paths):
    """Gradient of `fn` -> (scalar, aux) with respect to state entries that start with `paths`.

    Returns a function of the same arguments that gives value, gradients by name and aux. `fn` is
    traced once; entries that it writes are written in the surrounding context.
    """
    pure = nj.pure(fn, nested=True)

    def wrapper(*args):
        context = nj.context()
        if nj.creating():  # Only which parameters there are matters, and no gradient is traced.
            value, aux = fn(*args)
            params = {k: v for k, v in context.items() if k.startswith(paths)}
            return value, jax.tree.map(jnp.zeros_like, params), aux
        params = {k: v for k, v in context.items() if k.startswith(paths)}
        rest = {k: v for k, v in context.items() if k not in params}

        def forward(params, seed):
            state, out, _, modified, _ = pure(
                {**rest, **params}, *args, seed=seed, create=False, track=True
            )
            value, aux = out
            return value, ({k: state[k] for k in modified}, aux)

        backward = jax.value_and_grad(forward, has_aux=True)
        (value, (changes, aux)), grads = backward(params, nj.seed(optional=True))
        context.update(changes)
        return value, grads, aux

    return wrapper
