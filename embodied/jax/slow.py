"""A slowly moving copy of a module, as target or regulariser."""

import jax.numpy as jnp
import ninjax as nj


class SlowCopy:
    """Parameters of `slow` follow those of `source`, a module of the same structure.

    `slow` starts as an exact copy. Every `every`-th update, the first included, moves it:
    slow <- rate * source + (1 - rate) * slow.
    """

    def __init__(self, slow, source, rate=0.02, every=1):
        self.slow = slow
        self.source = source
        self.rate = rate
        self.every = every
        self.count = nj.Variable(jnp.zeros, (), jnp.int32, name=slow.name + '_count')

    def __call__(self, *args, **kwargs):
        if nj.creating():
            self.source(*args, **kwargs)
            for name, value in self.source.values.items():
                nj.context().setdefault(f'{self.slow.path}/{name}', value)
        return self.slow(*args, **kwargs)

    def update(self):
        count = self.count.read()
        mix = jnp.where(count % self.every == 0, self.rate, 0.0)
        source = self.source.values
        for name, value in self.slow.values.items():
            nj.context()[f'{self.slow.path}/{name}'] = mix * source[name] + (1 - mix) * value
        self.count.write(count + 1)
