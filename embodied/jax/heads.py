"""Heads: features (*batch, ...) to distributions over a space, or a dict of spaces.

`output` names the distribution: binary, categorical, onehot, mse, huber, symlog_mse, symexp_twohot,
bounded_normal, normal_logstd.
"""

import jax.numpy as jnp
import ninjax as nj
import numpy as np

from . import dists, layers, ops


class MLPHead(nj.Module):
    """Flatten all but the batch axes, MLP, then one linear output per space.

    `space` and `output` are either both single or both dicts with the same keys. With dicts, bool
    `masks` (*batch, *space.shape, K) by key limit the K classes of a categorical output.
    """

    act: str = 'silu'
    norm: str = 'rms'
    winit: str = 'trunc_normal_in'
    outscale: float = 1.0
    bins: int = 255
    minstd: float = 0.1
    maxstd: float = 1.0
    unimix: float = 0.0

    def __init__(self, space, output, layers, units):
        self.space = space
        self.output = output
        self.layers = layers
        self.units = units

    def __call__(self, x, bdims, masks=None):
        x = ops.flat(x, x.ndim - bdims)
        kw = {'act': self.act, 'norm': self.norm, 'winit': self.winit}
        x = self.sub('mlp', layers.MLP, self.layers, self.units, **kw)(x)
        kw = {k: getattr(self, k) for k in ('winit', 'outscale', *HEAD_OPTIONS)}
        if isinstance(self.space, dict):
            return self.sub('head', DictHead, self.space, self.output, **kw)(x, masks)
        return self.sub('head', Head, self.space, self.output, **kw)(x)


class DictHead(nj.Module):
    """One head per key: (*batch, in) -> dict of distributions. Masks as in `MLPHead`."""

    def __init__(self, spaces, outputs, **kw):
        assert spaces.keys() == outputs.keys(), (spaces, outputs)
        self.spaces = spaces
        self.outputs = outputs
        self.kw = kw

    def __call__(self, x, masks=None):
        masks, results = masks or {}, {}
        for key, space in self.spaces.items():
            # Names of modules have no slash.
            head = self.sub(key.replace('/', '_'), Head, space, self.outputs[key], **self.kw)
            results[key] = head(x, masks.get(key))
        return results


class Head(nj.Module):
    """Linear outputs and their distribution: (*batch, in) -> Dist over (*batch, *space.shape)."""

    winit: str = 'trunc_normal_in'
    outscale: float = 1.0
    bins: int = 255
    minstd: float = 0.1
    maxstd: float = 1.0
    unimix: float = 0.0

    def __init__(self, space, output):
        self.space = space
        if output not in OUTPUTS:
            raise ValueError(f'Unknown output {output!r}. Allowed: {", ".join(OUTPUTS)}.')
        self.output = output

    def __call__(self, x, mask=None):
        dist = OUTPUTS[self.output](self, x, *([] if mask is None else [mask]))
        return dists.Agg(dist, len(self.space.shape)) if self.space.shape else dist

    def linear(self, name, x, *extra):
        """Output of shape (*batch, *space.shape, *extra)."""
        units = (*self.space.shape, *extra)
        kw = {'winit': self.winit, 'outscale': self.outscale}
        x = self.sub(name, layers.Linear, units or 1, **kw)(x)
        return x if units else x[..., 0]

    def binary(self, x):
        return dists.Binary(self.linear('logit', x))

    def categorical(self, x, mask=None):
        low = layers.bounds(self.space)[0].astype(np.int32).reshape(self.space.shape)
        logits, unimix, allowed = self.class_logits(x)
        if mask is not None:
            allowed = dists.limit(mask, allowed)
        return dists.Categorical(logits, unimix, allowed, low)

    def onehot(self, x):
        logits, unimix, allowed = self.class_logits(x)
        if allowed is not None:
            raise ValueError(f'Output onehot needs equal classes per element, got {self.space}.')
        return dists.OneHot(logits, unimix)

    def class_logits(self, x):
        """Logits (*batch, *shape, K), unimix, and which classes exist where sizes are unequal."""
        _, classes = layers.bounds(self.space)
        if len(set(classes.tolist())) == 1:
            return self.linear('logits', x, int(classes[0])), self.unimix, None
        kw = {'winit': self.winit, 'outscale': self.outscale}
        logits = self.sub('logits', layers.Linear, int(classes.sum()), **kw)(x)
        column = np.arange(classes.max())
        allowed = column < classes[:, None]
        starts = np.cumsum(classes) - classes
        index = np.where(allowed, starts[:, None] + column, 0)
        shape = (*self.space.shape, len(column))
        logits = logits[..., index].reshape(*x.shape[:-1], *shape)
        return logits, self.unimix, allowed.reshape(shape)

    def mse(self, x):
        return dists.MSE(self.linear('pred', x))

    def huber(self, x):
        return dists.Huber(self.linear('pred', x))

    def symlog_mse(self, x):
        return dists.MSE(self.linear('pred', x), ops.symlog, ops.symexp)

    def symexp_twohot(self, x):
        return dists.TwoHot(self.linear('logits', x, self.bins), dists.symexp_bins(self.bins))

    def bounded_normal(self, x):
        mean, std = self.linear('mean', x), self.linear('stddev', x)
        return dists.bounded_normal(mean, std, self.minstd, self.maxstd)

    def normal_logstd(self, x):
        return dists.Normal(self.linear('mean', x), jnp.exp(jnp.float32(self.linear('stddev', x))))


HEAD_OPTIONS = ('bins', 'minstd', 'maxstd', 'unimix')
OUTPUTS = {
    'binary': Head.binary,
    'categorical': Head.categorical,
    'onehot': Head.onehot,
    'mse': Head.mse,
    'huber': Head.huber,
    'symlog_mse': Head.symlog_mse,
    'symexp_twohot': Head.symexp_twohot,
    'bounded_normal': Head.bounded_normal,
    'normal_logstd': Head.normal_logstd,
}
