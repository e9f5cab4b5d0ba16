"""Distributions and losses of network outputs, all in float32.

Every one offers `pred` (mode), `loss(target)`, and where they exist `sample(seed)`, `logp(event)`,
`entropy()` and `kl(other)`. Shapes are (*batch, *event); `Agg` sums over event axes.
"""

import math

import jax
import jax.numpy as jnp

from . import ops

f32 = jnp.float32
i32 = jnp.int32
sg = ops.sg
# A class that is not there: no probability, but finite, so that 0 * log p stays 0.
NEVER = -1e9


class Dist:
    """What all of them share: the loss is the negative log-probability of a constant target."""

    def pred(self):
        raise NotImplementedError('Return the most likely value.')

    def value(self):
        """The prediction in the units of the target, also where that is squashed for the loss."""
        return self.pred()

    def logp(self, event):
        raise NotImplementedError('Return log-probabilities of events.')

    def loss(self, target):
        return -self.logp(sg(target))

    def prob(self, event):
        return jnp.exp(self.logp(event))


class Agg(Dist):
    """Independent elements: sums everything that is per element over the last `dims` axes."""

    def __init__(self, dist, dims):
        self.dist = dist
        self.axes = tuple(range(-dims, 0))

    def __getattr__(self, name):
        if name.startswith('__') or name == 'dist':
            raise AttributeError(name)
        return getattr(self.dist, name)

    def pred(self):
        return self.dist.pred()

    def value(self):
        return self.dist.value()

    def sample(self, seed):
        return self.dist.sample(seed)

    def loss(self, target):
        return self.dist.loss(target).sum(self.axes)

    def logp(self, event):
        return self.dist.logp(event).sum(self.axes)

    def entropy(self):
        return self.dist.entropy().sum(self.axes)

    def kl(self, other):
        return self.dist.kl(other.dist).sum(self.axes)


class Categorical(Dist):
    """p = (1 - u) softmax(z) + u / K over the last axis; `logits` become ln p.

    `allowed` (..., K) limits the classes to a set A, which is not empty: with m = 1 in A and 0
    elsewhere p_k = (1 - u) m_k exp z_k / sum_j m_j exp z_j + u m_k / |A|. `low` (...) is the value
    that the first class stands for. `minent` and `maxent` bound the entropy; where a single class
    is allowed the upper one is that of two, as the two would be equal.
    """

    def __init__(self, logits, unimix=0.0, allowed=None, low=0):
        logits = f32(logits)
        self.low = low
        if allowed is not None:
            logits = jnp.where(allowed, logits, NEVER)
        if unimix:
            uniform = jnp.ones_like(logits) if allowed is None else f32(allowed)
            uniform /= uniform.sum(-1, keepdims=True)
            probs = (1 - unimix) * jax.nn.softmax(logits, -1) + unimix * uniform
            logits = jnp.log(jnp.where(uniform > 0, probs, 1)) + NEVER * (uniform == 0)
        self.logits = logits
        if allowed is None:
            maxent = jnp.full((), math.log(logits.shape[-1]), f32)
        else:
            maxent = jnp.log(f32(jnp.maximum(allowed.sum(-1), 2)))
        self.minent, self.maxent = jnp.zeros_like(maxent), maxent

    def _logprobs(self):
        return jax.nn.log_softmax(self.logits, -1)

    def pred(self):
        return jnp.argmax(self.logits, -1).astype(i32) + self.low

    def sample(self, seed):
        """One sample by a key, or by standard Gumbel noise (*batch, *event, K) instead of it."""
        if jnp.issubdtype(seed.dtype, jnp.floating):
            return jnp.argmax(self.logits + seed, -1).astype(i32) + self.low
        return jax.random.categorical(seed, self.logits, -1).astype(i32) + self.low

    def logp(self, event):
        index = i32(event) - self.low
        return (self._logprobs() * jax.nn.one_hot(index, self.logits.shape[-1])).sum(-1)

    def entropy(self):
        logprobs = self._logprobs()
        return -(jnp.exp(logprobs) * logprobs).sum(-1)

    def kl(self, other):
        logprobs = self._logprobs()
        return (jnp.exp(logprobs) * (logprobs - other._logprobs())).sum(-1)


def limit(mask, exists=None):
    """Classes (..., K) that exist and that a mask (..., K) allows, or all that exist if none is.

    `exists` broadcasts to the mask, None means all.
    """
    exists = jnp.ones_like(mask) if exists is None else jnp.broadcast_to(exists, mask.shape)
    some = mask & exists
    return some | (exists & ~some.any(-1, keepdims=True))


class OneHot(Dist):
    """Categorical whose values are one-hot vectors with straight-through gradients.

    The value is onehot + p - sg(p) with the mixed probabilities p, in the compute type.
    """

    def __init__(self, logits, unimix=0.0):
        self.dist = Categorical(logits, unimix)

    @property
    def logits(self):
        return self.dist.logits

    def pred(self):
        return self.straight_through(self.dist.pred())

    def sample(self, seed):
        return self.straight_through(self.dist.sample(seed))

    def logp(self, event):
        return (self.dist._logprobs() * event).sum(-1)

    def entropy(self):
        return self.dist.entropy()

    def kl(self, other):
        return self.dist.kl(other.dist)

    def straight_through(self, index):
        probs = jax.nn.softmax(self.logits, -1)
        onehot = jax.nn.one_hot(index, probs.shape[-1], dtype=f32)
        return ops.cast(sg(onehot) + (probs - sg(probs)))


class Binary(Dist):
    """logp(e) = e ln s(z) + (1 - e) ln s(-z) for targets in [0, 1]; predicts z > 0."""

    def __init__(self, logit):
        self.logit = f32(logit)

    def pred(self):
        return self.logit > 0

    def logp(self, event):
        event = f32(event)
        yes, no = jax.nn.log_sigmoid(self.logit), jax.nn.log_sigmoid(-self.logit)
        return event * yes + (1 - event) * no

    def sample(self, seed):
        return jax.random.bernoulli(seed, jax.nn.sigmoid(self.logit))


class MSE(Dist):
    """Loss (mean - squash(target))^2. The prediction is the raw mean, also with a squash."""

    def __init__(self, mean, squash=lambda x: x, unsquash=lambda x: x):
        self.mean = f32(mean)
        self.squash = squash
        self.unsquash = unsquash

    def pred(self):
        return self.mean

    def value(self):
        return self.unsquash(self.mean)

    def loss(self, target):
        return jnp.square(self.mean - self.squash(sg(f32(target))))


class Huber(Dist):
    """Charbonnier loss sqrt(d^2 + eps^2) - eps of the distance d."""

    def __init__(self, mean, eps=1.0):
        self.mean = f32(mean)
        self.eps = eps

    def pred(self):
        return self.mean

    def loss(self, target):
        distance = self.mean - sg(f32(target))
        return jnp.sqrt(jnp.square(distance) + self.eps**2) - self.eps


class Normal(Dist):
    """Gaussian with mean and standard deviation; samples are neither clipped nor squashed.

    `minent` and `maxent` are the entropies at the ends of the range of `std`, if it has one.
    """

    def __init__(self, mean, std=1.0, minstd=None, maxstd=None):
        self.mean = f32(mean)
        self.std = jnp.broadcast_to(f32(std), self.mean.shape)
        if minstd is not None:
            self.minent = self._entropy(jnp.full_like(self.std, minstd))
            self.maxent = self._entropy(jnp.full_like(self.std, maxstd))

    def pred(self):
        return self.mean

    def sample(self, seed):
        return jax.random.normal(seed, self.mean.shape) * self.std + self.mean

    def logp(self, event):
        return jax.scipy.stats.norm.logpdf(f32(event), self.mean, self.std)

    def entropy(self):
        return self._entropy(self.std)

    def kl(self, other):
        """0.5 ((s1 / s2)^2 + (m2 - m1)^2 / s2^2 + 2 ln s2 - 2 ln s1 - 1)"""
        ratio = jnp.square(self.std / other.std)
        distance = jnp.square((other.mean - self.mean) / other.std)
        return 0.5 * (ratio + distance + 2 * (jnp.log(other.std) - jnp.log(self.std)) - 1)

    def _entropy(self, std):
        return 0.5 * jnp.log(2 * jnp.pi * jnp.square(std)) + 0.5


def bounded_normal(mean, std, minstd, maxstd):
    """Normal of tanh(mean) and (maxstd - minstd) s(std + 2) + minstd, without tanh correction."""
    std = (maxstd - minstd) * jax.nn.sigmoid(f32(std) + 2.0) + minstd
    return Normal(jnp.tanh(f32(mean)), std, minstd, maxstd)


def symexp_bins(amount):
    """Bins in raw space: symexp of an even grid on [-20, 0], and their exact mirror image.

    An odd number shares the zero, an even number holds it twice.
    """
    half = ops.symexp(jnp.linspace(-20, 0, (amount + 1) // 2, dtype=f32))
    return jnp.concatenate([half, -half[::-1][amount % 2 :]])


class TwoHot(Dist):
    """Scalars as categoricals over `bins`: loss against the two nearest bins, mean as prediction.

    A target x between neighbours k and l puts |b_l - x| / (|b_k - x| + |b_l - x|) on k and the rest
    on l; outside of the range everything sits on the end bin.
    """

    def __init__(self, logits, bins, squash=lambda x: x, unsquash=lambda x: x):
        self.logits = f32(logits)
        self.bins = f32(bins)
        self.squash = squash
        self.unsquash = unsquash
        assert self.logits.shape[-1] == len(self.bins), (self.logits.shape, self.bins.shape)

    def pred(self):
        """Mean over the bins. Logits that mirror each other give exactly 0 over bins that do.

        Mirrored bins are summed in pairs as p_hi b_hi + p_lo b_lo = (p_hi - p_lo) b_hi +
        p_lo (b_lo + b_hi), before dividing by the sum of the exponentials: terms around 1e8 would
        leave an error that depends on how the compiler rounds them.
        """
        exps = jnp.exp(self.logits - sg(self.logits.max(-1, keepdims=True)))
        half = len(self.bins) // 2
        bins_low, bins_high = self.bins[:half], self.bins[::-1][:half]
        low, high = exps[..., :half], exps[..., ::-1][..., :half]
        pairs = (high - low) * bins_high + low * (bins_low + bins_high)
        middle = exps[..., half] * self.bins[half] if len(self.bins) % 2 else 0
        return self.unsquash((middle + pairs[..., ::-1].sum(-1)) / exps.sum(-1))

    def loss(self, target):
        weights = self.weights(self.squash(sg(f32(target))))
        return -(weights * jax.nn.log_softmax(self.logits, -1)).sum(-1)

    def weights(self, target):
        """Weights (..., bins) of targets (...) in the space of the bins."""
        amount = len(self.bins)
        below = (self.bins <= target[..., None]).sum(-1) - 1
        above = amount - (self.bins > target[..., None]).sum(-1)
        below, above = jnp.clip(below, 0, amount - 1), jnp.clip(above, 0, amount - 1)
        same = below == above
        dist_below = jnp.where(same, 1, jnp.abs(self.bins[below] - target))
        dist_above = jnp.where(same, 1, jnp.abs(self.bins[above] - target))
        total = dist_below + dist_above
        hot = lambda index, weight: jax.nn.one_hot(index, amount) * weight[..., None]
        return hot(below, dist_above / total) + hot(above, dist_below / total)
