"""A compiled agent: places a model on devices, compiles its programs and keeps its parameters.

Acting and learning may use different devices. The policy acts with the parameters of the update
before the one under way, so it never waits for the learner, and what an update produces is fetched
when the next one has been started, so the device never waits for the host.
"""

import functools
import pathlib
import re

import jax
import numpy as np

from ..core import base, spaces, streams
from . import device, parameters, profiler, programs

# Seeds of the i-th policy call, update, report, evaluation and dream are drawn from separate
# sequences, so none changes because of another one.
POLICY, TRAIN, REPORT, INIT, EVAL, DREAM = range(6)

# Updates in a row that may be left out as they are not finite, before the run ends.
MAX_SKIPPED = 100


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
        unroll='auto',
    ):
        self.model = model
        self.obs_space = model.obs_space
        self.seed = seed
        train = device.pick(train_devices, 'train_devices')
        policy = device.pick(policy_devices, 'policy_devices')
        self.train_devices, self.policy_devices = train, policy
        self.dtype = device.dtype(compute_dtype, train)
        self.whole, self.split = device.shardings(train)
        self.policy_whole, self.policy_split = device.shardings(policy)
        self.parts = {'train': len(train), 'policy': len(policy)}
        self.counters = dict.fromkeys(('updates', 'actions', 'reports', 'evals', 'dreams'), 0)
        self.profiler = profiler.Profiler(pathlib.Path(logdir).expanduser() / 'profile', profile)
        # Number of the first of the last updates, their amount, and what they produced.
        self.waiting = None
        self.nonfinite = nonfinite
        self.skipped = 0  # Updates in a row.
        self._read_by_policy = re.compile(model.policy_keys)
        self.programs = programs.Programs(
            model,
            self.dtype,
            self.whole,
            self.split,
            self.parts['train'],
            self._read_by_policy,
            device.unroll(unroll, train),
        )
        self.params = dict(self.programs.init(self._seed(INIT)))
        self.sync()

    @property
    def policy_keys(self):
        return [k for k in self.params if self._read_by_policy.search(k)]

    def init_policy(self, batch_size):
        return self._place_carry(batch_size, self._policy_placement(batch_size))

    def init_train(self, batch_size):
        if batch_size % self.parts['train']:
            raise ValueError(
                f'batch_size: {batch_size} must be divisible by the {self.parts["train"]} '
                'devices of jax.train_devices.'
            )
        return self._place_carry(batch_size, self.split)

    init_report = init_train

    def policy(self, carry, obs, mode='train'):
        obs = {k: np.asarray(v) for k, v in obs.items() if not k.startswith('log/')}
        placement = self._policy_placement(len(obs['is_first']))
        carry = placed(carry, placement)
        if self.parts['policy'] > 1:
            obs = jax.device_put(obs, placement)
        seed = self._seed(EVAL, 'evals') if mode == 'eval' else self._seed(POLICY, 'actions')
        carry, act, out = self.programs.policy(self.policy_params, seed, carry, obs, mode=mode)
        return carry, *device.fetch((act, out), self.policy_devices)

    def train(self, carry, *batches):
        """One update for each of the batches in one program, started but not waited for.

        The outputs and metrics returned are those of the call before (empty at the first one).
        """
        self.profiler.step()
        if self.pending is not None:
            self.policy_params, self.pending = self.pending, None
        number = self.counters['updates'] + 1
        seeds = np.stack([self._seed(TRAIN, 'updates') for _ in batches])
        carry = placed(carry, self.split)
        results = self.programs.train(self.params, seeds, carry, batches)
        self.params, acting, carry, out, metrics = results
        self.pending = self._place_acting(acting)
        out, metrics, self.waiting = *self.flush(), (number, len(batches), out, metrics)
        return carry, out, metrics

    def flush(self):
        """Outputs and metrics of the last call of `train`, if it has not returned them yet.

        Those of several updates are joined: outputs row by row in their order, metrics on average.
        """
        if self.waiting is None:
            return {}, {}
        number, amount, *produced = self.waiting
        self.waiting, produced = None, device.fetch(produced, self.train_devices)
        results = []
        for index in range(amount):
            one = jax.tree.map(lambda x: x[index, ...], produced)
            results.append(self._result(number + index, *one))
        if amount == 1:
            return results[0]
        return join([x for x, _ in results if x]), average([x for _, x in results])

    def report(self, carry, data):
        seed = self._seed(REPORT, 'reports')
        carry, metrics = self.programs.report(self.params, seed, placed(carry, self.split), data)
        return carry, jax.device_get(metrics)

    def dream(self, episode, length):
        total = len(episode['is_first'])
        names = [*self.model.obs_space, *self.model.act_space]
        # Whole stretches, so that one program fits all; what is beyond the end is cut off again.
        indices = np.minimum(np.arange(-(-total // length) * length), total - 1)
        carry, parts = self._place_carry(1, self.whole), []
        for part in indices.reshape(-1, length):
            data = jax.device_put({k: episode[k][part][None] for k in names}, self.whole)
            seed = self._seed(DREAM, 'dreams')
            seen = (length + 1) // 2
            carry, images = self.programs.dream(self.params, seed, carry, data, seen=seen)
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
            names = ', '.join(parameters.modules(self.params))
            raise ValueError(f'Regex {regex!r} matches no parameter of {names}.')
        parameters.check({k: self.params[k] for k in wanted}, new, complete=regex is None)
        for key in wanted:
            value = np.asarray(new[key], self.params[key].dtype)
            self.params[key] = jax.device_put(value, self.whole)
        if regex is None:
            self.counters.update({k: int(v) for k, v in data['counters'].items()})
        else:
            print(parameters.describe_load(self.params, wanted), flush=True)
        self.waiting, self.skipped = None, 0
        self.sync()
        if regex is None and data.get('acting'):
            # They lag behind by an update.
            acting = jax.device_put(data['acting'], self.policy_whole)
            self.policy_params, self.pending = acting, self.policy_params

    def _result(self, number, out, metrics):
        """Outputs and metrics of one update."""
        if fault := metrics.pop('fault', 0):
            return self._skip(number, self.model.faults[fault - 1], metrics)
        self.skipped = 0
        return out, metrics

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

    def _policy_copy(self):
        """Own buffers: those of the learner are given up with the next update."""
        acting = {k: self.params[k] for k in self.policy_keys}
        return jax.device_put(acting, self.policy_whole, may_alias=False)

    def _place_acting(self, acting):
        same = self.policy_whole == self.whole
        return acting if same else jax.device_put(acting, self.policy_whole)

    def _place_carry(self, batch_size, placement):
        return jax.device_put(self.programs.initial(batch_size), placement)

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


def placed(carry, placement):
    """A carry on devices: of one that was loaded, NumPy arrays, programs would be compiled anew."""
    if all(isinstance(x, jax.Array) for x in jax.tree.leaves(carry)):
        return carry
    return jax.device_put(carry, placement, may_alias=False)


def make_seed(seed, sequence, index):
    """Two uint32 for call `index` of a sequence, which is one of those above."""
    first, second = _start(seed, sequence)
    return np.array([first, (second + index) % 2**32], np.uint32)


@functools.cache
def _start(seed, sequence):
    """Seed of the first call of a sequence. Those of the others are counted from there."""
    return [int(x) for x in np.random.SeedSequence([seed, sequence]).generate_state(2)]


def join(outs):
    """Nested outputs of several updates, row by row."""
    return jax.tree.map(lambda *xs: np.concatenate(xs), *outs) if outs else {}


def average(results):
    """Means of metrics by name, over those that have them."""
    names = dict.fromkeys(k for x in results for k in x)
    return {k: np.mean([x[k] for x in results if k in x], 0) for k in names}
