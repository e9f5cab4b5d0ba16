"""Running offset and scale of a stream of values."""

import jax.numpy as jnp
import ninjax as nj

from . import ops

f32 = jnp.float32


class Normalize(nj.Module):
    """Tracks statistics with s <- (1 - rate) s + rate x, all starting at 0.

    perc      offset = low percentile, scale = max(limit, high - low percentile)
    meanstd   offset = mean, scale = max(limit, standard deviation)
    none      offset 0, scale 1

    With `debias` the statistics are divided by max(rate, c), where c tracks 1. The state is read
    by `stats()` and written by `update(x)`; `obj(x)` does both, in the order write, read.
    """

    rate: float = 0.01
    limit: float = 1e-8
    perclo: float = 5.0
    perchi: float = 95.0
    debias: bool = True

    def __init__(self, impl):
        if impl not in ('none', 'perc', 'meanstd'):
            raise ValueError(f'Unknown normaliser {impl!r}. Allowed: none, perc, meanstd.')
        self.impl = impl
        names = {'none': (), 'perc': ('lo', 'hi'), 'meanstd': ('mean', 'sqrs')}[impl]
        names += ('corr',) if self.debias and names else ()
        self.tracked = {k: nj.Variable(jnp.zeros, (), f32, name=k) for k in names}

    def __call__(self, x):
        """Update with all elements of `x` and return (offset, scale) of the new statistics."""
        self.update(x)
        return self.stats()

    def update(self, x):
        x = ops.sg(f32(x))
        if self.impl == 'perc':
            low, high = jnp.percentile(x, jnp.array([self.perclo, self.perchi]))
            self._track(lo=low, hi=high)
        elif self.impl == 'meanstd':
            self._track(mean=x.mean(), sqrs=jnp.square(x).mean())

    def frozen(self, x):
        """Like a call, without the update."""
        return self.stats()

    def stats(self):
        if self.impl == 'none':
            return f32(0), f32(1)
        corr = jnp.maximum(self.rate, self.tracked['corr'].read()) if self.debias else 1
        values = {k: v.read() / corr for k, v in self.tracked.items()}
        if self.impl == 'perc':
            return values['lo'], jnp.maximum(self.limit, values['hi'] - values['lo'])
        var = jnp.maximum(0, values['sqrs'] - jnp.square(values['mean']))
        return values['mean'], jnp.maximum(self.limit, jnp.sqrt(var))

    def _track(self, **values):
        if self.debias:
            values['corr'] = 1.0
        for name, value in values.items():
            entry = self.tracked[name]
            entry.write((1 - self.rate) * entry.read() + self.rate * value)
