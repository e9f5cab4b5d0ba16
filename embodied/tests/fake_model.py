"""A small model for the compiled agent: a linear policy and value, two programs of few operations.

It notes what reaches it while it is traced, and its outputs tell which call they come from.
"""

import elements
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np

from embodied.jax import Model, Optimizer, layers, ops, optim

f32 = jnp.float32
FLAGS = ('is_first', 'is_last', 'is_terminal')


class FakeModel(Model):
    """Learns actions (2,) from observations (3,). `seen` lists (program, keys, dtype) by trace."""

    policy_keys = '^pol/'

    def __init__(self, width=2):
        self.obs_space = {
            'x': elements.Space(np.float32, (3,)),
            'reward': elements.Space(np.float32),
            **{k: elements.Space(bool) for k in FLAGS},
        }
        self.act_space = {'act': elements.Space(np.float32, (width,))}
        self.pol = layers.Linear(width, name='pol')
        self.val = layers.Linear(1, name='val')
        self.opt = Optimizer([self.pol, self.val], optim.make(lr=0.1, warmup=0), name='opt')
        self.seen = []

    @property
    def entry_space(self):
        return {'pred': elements.Space(np.float32, (2,))}

    @property
    def faults(self):
        return self.opt.tensors

    def initial(self, batch_size):
        return {'calls': jnp.zeros(batch_size, jnp.int32)}

    def policy(self, carry, obs, mode):
        x = self._look('policy', obs)
        noise = jax.random.normal(nj.seed(), (len(x), *self.act_space['act'].shape))
        act = f32(self.pol(x))
        act = act if mode == 'eval' else act + noise
        return {'calls': carry['calls'] + 1}, {'act': act}, {'pred': act}

    def train(self, carry, data):
        x = self._look('train', data)
        metrics, pred = self.opt(self._loss, x, data)
        noise = jax.random.uniform(nj.seed())
        calls = carry['calls'] + 1
        out = {'replay': {'stepid': data['stepid'], 'pred': pred}}
        return {'calls': calls}, out, {**metrics, 'call': calls.max(), 'noise': noise}

    def report(self, carry, data):
        x = self._look('report', data)
        return {'calls': carry['calls'] + 1}, {'loss': self._loss(x, data)[0], 'rows': len(x)}

    def dream(self, carry, data, seen):
        """Images that tell the call, the step in it, and whether that was seen."""
        self._look('dream', data)
        time = jnp.arange(data['x'].shape[1])
        calls = jnp.full_like(time, carry['calls'][0])
        image = jnp.stack([calls, time, time < seen], -1).astype(jnp.uint8)
        return {'calls': carry['calls'] + 1}, {'image': image[None, :, None, None, :]}

    def _loss(self, x, data):
        pred, value = f32(self.pol(x)), f32(self.val(x))[..., 0]
        loss = jnp.square(pred - data['act']).mean() + jnp.square(value - data['reward']).mean()
        return loss, pred

    def _look(self, program, data):
        x = ops.cast(data['x'])
        self.seen.append((program, set(data), x.dtype.name))
        return x


def batch(index=0, rows=4, steps=3):
    """Data of the `index`-th update, with a key that is only logged."""
    rng = np.random.default_rng(index)
    shape = (rows, steps)
    return {
        'x': rng.standard_normal((*shape, 3), np.float32),
        'act': rng.standard_normal((*shape, 2), np.float32),
        'reward': rng.standard_normal(shape, np.float32),
        **{k: np.zeros(shape, bool) for k in FLAGS},
        'pred': np.zeros((*shape, 2), np.float32),
        'consec': np.zeros(shape, np.int32),
        'stepid': np.full((*shape, 20), index, np.uint8),
        'log/secret': np.zeros(shape, np.float32),
    }


def observation(rows=4):
    """Observations of the policy, with a key that is only logged."""
    flags = {k: np.zeros(rows, bool) for k in FLAGS}
    x = np.random.default_rng(7).standard_normal((rows, 3), np.float32)
    return {'x': x, 'reward': np.zeros(rows, np.float32), **flags, 'log/secret': np.ones(rows)}
