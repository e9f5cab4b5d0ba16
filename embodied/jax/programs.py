"""The compiled programs of a model: act, update, report, dream, and the parameters at the start.

Each is traced and compiled when it is first called, so a script pays for those that it needs.
"""

import functools
import threading

import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np

from . import device, ops, unroll

# Acting and learning may be different threads, but ninjax can only trace one program at a time.
TRACING = threading.Lock()

# What XLA on a CPU makes of a program. An update is as fast at level 1 and is compiled in two
# thirds of the time; the program for the first parameters runs once, so it is not optimized at all.
FAST = {'xla_backend_optimization_level': 1}
FASTEST = {'xla_backend_optimization_level': 0, 'xla_llvm_disable_expensive_passes': True}


class Programs:
    """Programs as functions of parameters by name, seeds of two uint32, carry and data.

        carry, act, out = programs.policy(params, seed, carry, obs, mode='train')
        params, acting, carry, out, metrics = programs.train(params, seeds, carry, batches)
        carry, metrics = programs.report(params, seed, carry, data)
        carry, images = programs.dream(params, seed, carry, data, seen=8)
        params = programs.init(seed)

    `train` does one update on each of the batches, in order, and gives outputs and metrics a
    leading axis for them; `acting` is an own copy of the new parameters whose name the pattern
    `read_by_policy` finds. It gives up the buffers of `params` and `carry`, `policy` of `carry`.

    whole, split   where what each learning device holds goes, and what is split over axis 0
    parts          number of devices that learn
    steps          of a loop over time that are one iteration of the program
    """

    def __init__(self, model, dtype, whole, split, parts, read_by_policy, steps=1):
        self.model = model
        self.dtype = dtype
        self.parts = parts
        self.read_by_policy = read_by_policy
        self.steps = steps
        compiled = functools.partial(jax.jit, compiler_options=self._options(whole, FAST))
        self.policy = compiled(self._policy, static_argnames='mode', donate_argnames='carry')
        self.train = compiled(
            self._train,
            donate_argnames=('params', 'carry'),
            out_shardings=(whole, whole, split, None, whole),
        )
        self.report = compiled(self._report, out_shardings=(split, whole))
        self.dream = compiled(self._dream, static_argnames='seen')
        self.init = jax.jit(
            self._init, out_shardings=whole, compiler_options=self._options(whole, FASTEST)
        )

    def initial(self, batch_size):
        """First carry of a batch."""
        with ops.precision(self.dtype):
            return self.model.initial(batch_size)

    def _policy(self, params, seed, carry, obs, mode):
        _, (carry, act, out) = self._pure(self.model.policy)(params, carry, obs, mode, seed=seed)
        return carry, act, out

    def _train(self, params, seeds, carry, batches):
        if len(batches) == 1:
            results = self._update(params, carry, (seeds[0], batches[0]))
            params, carry = results[0]
            out, metrics = jax.tree.map(lambda x: jnp.asarray(x)[None], results[1])
        else:
            stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *batches)
            update = lambda state, xs: self._update(*state, xs)
            results = jax.lax.scan(update, (params, carry), (seeds, stacked))
            (params, carry), (out, metrics) = results
        acting = {k: v for k, v in params.items() if self.read_by_policy.search(k)}
        return params, acting, carry, out, metrics

    def _update(self, params, carry, xs):
        """One update; parameters and carry stay as they were if it was not finite."""
        seed, data = xs
        train = self._unrolled(self.model.train)
        new, (last, out, metrics) = train(params, seed, carry, data)
        good = metrics.get('fault', 0) == 0
        choose = lambda x, old: jnp.where(good, x, old)
        return jax.tree.map(choose, (new, last), (params, carry)), (out, metrics)

    def _report(self, params, seed, carry, data):
        _, (carry, metrics) = self._unrolled(self.model.report)(params, seed, carry, data)
        return carry, metrics

    def _dream(self, params, seed, carry, data, seen):
        dream = functools.partial(self.model.dream, seen=seen)
        _, (carry, images) = self._unrolled(dream)(params, seed, carry, data)
        return carry, images

    def _init(self, seed):
        """All parameters, by tracing one update on zeros; nothing of it is computed."""
        shape = (self.parts, 4)
        with ops.precision(self.dtype):
            entries = self.model.entry_space
        inputs = {**self.model.obs_space, **self.model.act_space, **entries}
        data = {k: np.zeros((*shape, *s.shape), s.dtype) for k, s in inputs.items()}
        data['consec'] = np.zeros(shape, np.int32)
        data['stepid'] = np.zeros((*shape, 20), np.uint8)
        run = lambda: self.model.train(self.model.initial(self.parts), data)
        return self._pure(run)({}, seed=seed, create=True, ignore=True)[0]

    def _unrolled(self, fn):
        """`fn(carry, data)` as a function of parameters, seed, carry and data."""
        pure = self._pure(fn)
        run = lambda params, seed, carry, data: pure(params, carry, data, seed=seed)
        return unroll.unrolled(run, self.steps)

    def _pure(self, fn):
        """`fn` as a function of parameters, traced with the compute type."""

        def wrapper(*args, **kwargs):
            with TRACING, ops.precision(self.dtype):
                return nj.pure(fn)(*args, **kwargs)

        return wrapper

    def _options(self, placement, options):
        """Compiler options, on a CPU only."""
        platform = next(iter(placement.device_set)).platform
        return device.compiler_options(options) if platform == 'cpu' else {}
