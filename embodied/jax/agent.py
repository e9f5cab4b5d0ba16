"""A compiled agent: places a model on devices, compiles its programs and keeps its parameters.

Acting and learning may use different devices. The policy acts with the parameters of the update
before the one under way, so it never waits for the learner, and what an update produces is fetched
when the next one has been started, so the device never waits for the host.
"""

import functools
import pathlib
import re
import threading

import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np

from ..core import base, spaces, streams
from . import device, ops, profiler

# Seeds of the i-th policy call, update, report, evaluation and dream are drawn from separate
# sequences, so none changes because of another one.
POLICY, TRAIN, REPORT, INIT, EVAL, DREAM = range(6)

# Updates in a row that may be left out as they are not finite, before the run ends.
MAX_SKIPPED = 100

# Acting and learning may be different threads, but ninjax can only trace one program at a time.
TRACING = threading.Lock()


class Agent(base.Agent):
    """Runs a `Model` behind the contract of `embodied.Agent`."""

    def __init__(
        self,
        model,
        seed=0,
        logdir='.',
        compute_dtype='auto',
        policy_devices=(0,),
        train_devices=(0,),
        nonfinite='skip',
        profile=0,
    ):
        self.model = model
        self.obs_space = model.obs_space
        self.seed = seed
        train = device.pick(train_devices, 'train_devices')
        policy = device.pick(policy_devices, 'policy_devices')
        self.dtype = device.dtype(compute_dtype, train)
        self.whole, self.split = device.shardings(train)
        self.policy_whole, self.policy_split = device.shardings(policy)
        self.parts = {'train': len(train), 'policy': len(policy)}
        self.counters = dict.fromkeys(('updates', 'actions', 'reports', 'evals', 'dreams'), 0)
        self.profiler = profiler.Profiler(pathlib.Path(logdir).expanduser() / 'profile', profile)
        self.waiting = None  # Number of the last update and what it produced, not yet fetched.
        self.nonfinite = nonfinite
        self.skipped = 0  # Updates in a row.
        self._compile()
        self.params = self._initialize()
        self._read_by_policy = re.compile(model.policy_keys)
        self.sync()

    @property
    def policy_keys(self):
        return [k for k in self.params if self._read_by_policy.search(k)]

    def init_policy(self, batch_size):
        return self._initial(batch_size, self._policy_placement(batch_size))

    def init_train(self, batch_size):
        if batch_size % self.parts['train']:
            raise ValueError(
                f'batch_size: {batch_size} must be divisible by the {self.parts["train"]} '
                'devices of jax.train_devices.'
            )
        return self._initial(batch_size, self.split)

    init_report = init_train

    def policy(self, carry, obs, mode='train'):
        obs = {k: np.asarray(v) for k, v in obs.items() if not k.startswith('log/')}
        if self.parts['policy'] > 1:
            obs = jax.device_put(obs, self._policy_placement(len(obs['is_first'])))
        seed = self._seed(EVAL, 'evals') if mode == 'eval' else self._seed(POLICY, 'actions')
        carry, act, out = self._policy(self.policy_params, seed, carry, obs, mode)
        act, out = jax.device_get((act, out))
        return carry, act, out

    def train(self, carry, data):
        """One update, started but not waited for.

        The outputs and metrics returned are those of the update before (empty at the first one).
        """
        self.profiler.step()
        if self.pending is not None:
            self.policy_params, self.pending = self.pending, None
        seed = self._seed(TRAIN, 'updates')
        self.params, carry, out, metrics = self._train(self.params, seed, carry, data)
        self.pending = self._policy_copy()
        new = self.counters['updates'], out, metrics
        out, metrics, self.waiting = *self.flush(), new
        return carry, out, metrics

    def flush(self):
        """Outputs and metrics of the last update, if `train` has not returned them yet."""
        number, out, metrics = jax.device_get(self.waiting or (0, {}, {}))
        self.waiting = None
        if fault := metrics.pop('fault', 0):
            return self._skip(number, self.model.faults[fault - 1], metrics)
        self.skipped = 0
        return out, metrics

    def report(self, carry, data):
        seed = self._seed(REPORT, 'reports')
        carry, metrics = self._report(self.params, seed, carry, data)
        return carry, jax.device_get(metrics)

    def dream(self, episode, length):
        total = len(episode['is_first'])
        names = [*self.model.obs_space, *self.model.act_space]
        # Whole stretches, so that one program fits all; what is beyond the end is cut off again.
        indices = np.minimum(np.arange(-(-total // length) * length), total - 1)
        carry, parts = self._initial(1, self.whole), []
        for part in indices.reshape(-1, length):
            data = jax.device_put({k: episode[k][part][None] for k in names}, self.whole)
            seed = self._seed(DREAM, 'dreams')
            carry, images = self._dream(self.params, seed, carry, data, seen=(length + 1) // 2)
            parts.append(jax.device_get(images))
        return {k: np.concatenate([x[k][0] for x in parts])[:total] for k in parts[0]}

    def diagnose(self, metrics, earlier):
        return self.model.diagnose(metrics, earlier)

    def stream(self, source):
        return streams.Map(source, self._place)

    def sync(self):
        """Let the policy act with the newest parameters."""
        self.policy_params, self.pending = self._policy_copy(), None

    def close(self):
        self.profiler.close()

    def save(self):
        params = jax.device_get(self.params)
        acting = {} if self.pending is None else jax.device_get(self.policy_params)
        names = {'obs': self.model.obs_space, 'act': self.model.act_space}
        return {
            'params': params,
            'acting': acting,
            'counters': dict(self.counters),
            'spaces': {k: spaces.save(v) for k, v in names.items()},
        }

    def cut(self):
        """A function that returns what `save` would return now; nothing writes into its arrays."""
        data = self.save()
        return lambda: data

    def load(self, data, regex=None):
        """Take over saved parameters; with `regex` only those whose names match, and no counters.

        Then a line tells how many these are. ValueError names parameters that are missing, unknown
        or of another shape.
        """
        new = data.get('params')
        if not isinstance(new, dict):
            raise ValueError('The checkpoint is of an agent without parameters.')
        wanted = [k for k in self.params if regex is None or re.search(regex, k)]
        if not wanted:
            names = ', '.join(modules(self.params))
            raise ValueError(f'Regex {regex!r} matches no parameter of {names}.')
        check_params({k: self.params[k] for k in wanted}, new, complete=regex is None)
        for key in wanted:
            value = np.asarray(new[key], self.params[key].dtype)
            self.params[key] = jax.device_put(value, self.whole)
        if regex is None:
            self.counters.update({k: int(v) for k, v in data['counters'].items()})
        else:
            print(describe_load(self.params, wanted), flush=True)
        self.waiting = None
        self.sync()
        if regex is None and data.get('acting'):
            # They lag behind by an update.
            acting = jax.device_put(data['acting'], self.policy_whole)
            self.policy_params, self.pending = acting, self.policy_params

    def _skip(self, number, tensor, metrics):
        """What is left of an update that was not finite; FloatingPointError if that is too much."""
        terms = [k for k, v in metrics.items() if k.startswith('loss/') and not np.isfinite(v)]
        cause = f' ({", ".join(terms)})' if terms else ''
        text = f'Update {number}: {tensor} is not finite{cause}'
        self.skipped += 1
        if self.nonfinite == 'stop' or self.skipped >= MAX_SKIPPED:
            raise FloatingPointError(
                f'{text}. {self.skipped} in a row were left out, the last checkpoint is as it was. '
                'Look for extreme values in observations and rewards, or lower agent.opt.lr'
            )
        if self.skipped & (self.skipped - 1) == 0:  # 1, 2, 4, ... so that it does not flood.
            print(f'{text}, it was left out ({self.skipped} in a row)', flush=True)
        return {}, {'skipped': np.float32(1)}

    def _compile(self):
        pure = lambda fn: self._precise(nj.pure(fn))
        policy = pure(self.model.policy)
        train, report = pure(self.model.train), pure(self.model.report)
        dream = pure(self.model.dream)

        def policy_program(params, seed, carry, obs, mode):
            _, (carry, act, out) = policy(params, carry, obs, mode, seed=seed)
            return carry, act, out

        def train_program(params, seed, carry, data):
            new, (last, out, metrics) = train(params, carry, data, seed=seed)
            good = metrics.get('fault', 0) == 0
            choose = lambda x, old: jnp.where(good, x, old)
            params, carry = jax.tree.map(choose, (new, last), (params, carry))
            return params, carry, out, metrics

        def report_program(params, seed, carry, data):
            _, (carry, metrics) = report(params, carry, data, seed=seed)
            return carry, metrics

        def dream_program(params, seed, carry, data, seen):
            _, (carry, images) = dream(params, carry, data, seen, seed=seed)
            return carry, images

        placed = (self.whole, self.split, self.split, self.whole)
        self._policy = jax.jit(policy_program, static_argnames='mode', donate_argnames='carry')
        self._train = jax.jit(
            train_program, donate_argnames=('params', 'carry'), out_shardings=placed
        )
        self._report = jax.jit(report_program, out_shardings=(self.split, self.whole))
        self._dream = jax.jit(dream_program, static_argnames='seen')
        self._copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))

    def _initialize(self):
        """Create all parameters by tracing one update on zeros; nothing of it is computed."""
        rows, steps = self.parts['train'], 4
        zeros = lambda s: np.zeros((rows, steps, *s.shape), s.dtype)
        with ops.precision(self.dtype):
            entries = self.model.entry_space
        inputs = {**self.model.obs_space, **self.model.act_space, **entries}
        data = {k: zeros(s) for k, s in inputs.items()}
        data['consec'] = np.zeros((rows, steps), np.int32)
        data['stepid'] = np.zeros((rows, steps, 20), np.uint8)

        def run():
            return self.model.train(self.model.initial(rows), data)

        init = nj.init(self._precise(nj.pure(run)), out_shardings=self.whole)
        return dict(init({}, seed=self._seed(INIT)))

    def _initial(self, batch_size, placement):
        with ops.precision(self.dtype):
            return jax.device_put(self.model.initial(batch_size), placement)

    def _precise(self, fn):
        """`fn` traced with the compute type of this agent."""

        @functools.wraps(fn)
        def wrapper(*args, **kwargs):
            with TRACING, ops.precision(self.dtype):
                return fn(*args, **kwargs)

        wrapper._is_pure = True
        return wrapper

    def _policy_copy(self):
        """Own buffers: those of the learner are given up with the next update."""
        params = self._copy({k: self.params[k] for k in self.policy_keys})
        if self.policy_whole == self.whole:
            return params
        return jax.device_put(params, self.policy_whole)

    def _policy_placement(self, batch_size):
        return self.policy_whole if batch_size % self.parts['policy'] else self.policy_split

    def _place(self, data):
        data = {k: v for k, v in data.items() if not k.startswith('log/')}
        return jax.device_put(self.model.needed(data), self.split)

    def _seed(self, sequence, counter=None):
        """Two uint32 for the next program of a sequence."""
        index = self.counters[counter] if counter else 0
        if counter:
            self.counters[counter] += 1
        return make_seed(self.seed, sequence, index)


def make_seed(seed, sequence, index):
    """Two uint32 for call `index` of a sequence, which is one of those above."""
    return np.random.default_rng([seed, sequence, index]).integers(0, 2**32, 2, np.uint32)


def modules(params):
    """First parts of the names of parameters."""
    return list(dict.fromkeys(k.split('/')[0] for k in params))


def describe_load(params, loaded):
    """One line on how many parameters of which modules were loaded, and which are new."""
    text = f'Loaded {len(loaded)} of {len(params)} parameters: {", ".join(modules(loaded))}'
    new = modules(k for k in params if k not in set(loaded))
    return text + (f'; left as they are: {", ".join(new)}' if new else '')


def check_params(old, new, complete=True):
    """ValueError unless `new` has every parameter of `old` with the same shape (and no others)."""
    missing = sorted(old.keys() - new.keys())
    unknown = sorted(new.keys() - old.keys()) if complete else []
    shapes = [
        f'{k} {tuple(np.shape(new[k]))} instead of {tuple(old[k].shape)}'
        for k in sorted(old.keys() & new.keys())
        if tuple(np.shape(new[k])) != tuple(old[k].shape)
    ]
    problems = []
    for name, keys in (('missing', missing), ('unknown', unknown), ('of another shape', shapes)):
        if keys:
            more = f' and {len(keys) - 4} more' if len(keys) > 4 else ''
            problems.append(f'{len(keys)} {name}: {", ".join(keys[:4])}{more}')
    if problems:
        raise ValueError('Parameters do not fit this agent: ' + '; '.join(problems) + '.')
