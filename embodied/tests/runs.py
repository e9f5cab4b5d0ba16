"""Runs without JAX: an agent that counts what it does, and the parts of a run around it."""

import collections
import contextlib
import copy
import os
import pathlib
import subprocess
import sys

import elements
import numpy as np

from .. import build
from ..core import base, replay
from ..core.logs import outputs
from ..run import eval_only, evaluate, train, train_eval
from ..run.train import Run
from . import fakes

ROOT = pathlib.Path(build.__file__).parent.parent
RANDOM = {
    'random_agent': 'True',
    'task': 'dummy_disc',
    'batch_size': '2',
    'batch_length': '8',
    'report_length': '8',
    'run.steps': '400',
    'run.envs': '2',
    'run.parallel_envs': 'False',
    'run.log_every': '-1',
}
ENVS = 2
DEFAULTS = {
    'task': 'count',
    'steps': 40,
    'duration': 0,
    'train_ratio': 4.0,
    'updates_per_dispatch': 1,
    'log_every': -1,
    'report_every': 0,
    'save_every': 0,
    'ckpt_keep': 2,
    'ckpt_keep_every': 0,
    'envs': ENVS,
    'parallel_envs': False,
    'report_batches': 1,
    'final_eval_eps': 0,
    'eval_every': 0,
    'eval_envs': 2,
    'eval_eps': 3,
    'eval_video': 0,
    'from_checkpoint': '',
    'from_checkpoint_regex': '.*',
    'actor_addr': 'auto',
    'replay_addr': 'auto',
    'logger_addr': 'auto',
    'token': '',
    'agent_process': False,
    'remote_replay': False,
    'remote_envs': False,
    'env_index': 0,
    'actor_batch': -1,
    'actor_wait': 0.002,
    'env_restarts': 1,
    'env_warn': 0,
    'env_timeout': 0,
    'role_timeout': 60,
    'timer': False,
    'fps': 15,
    'usage': {'psutil': True, 'nvsmi': False},
    'batch_size': 2,
    'batch_length': 4,
    'report_length': 3,
    'consec_train': 1,
    'consec_report': 1,
    'replay_context': 1,
}


def make_args(logdir, **changes):
    return elements.Config(**{**DEFAULTS, 'logdir': str(logdir), **changes})


class CountAgent(base.Agent):
    """Counts actions, updates and reports, and keeps the batches of its updates.

    It acts by what it sees. For each step that it trains on it hands back the count seen there as
    the latent, one call late. The latent of a step never trained on is -1.
    """

    def __init__(self, priority=False):
        self.priority = priority
        self.counters = collections.Counter(actions=0, updates=0, reports=0)
        self.batches = []
        self.modes = []
        self.loaded = []  # Regular expressions, or None for all.
        self.synced = self.closed = 0
        self.waiting = ({}, {})
        self.on_action = lambda count: None

    def init_policy(self, batch_size):
        return 0

    def init_train(self, batch_size):
        return 0

    init_report = init_train

    def policy(self, carry, obs, mode='train'):
        self.counters['actions'] += 1
        self.modes.append(mode)
        self.on_action(self.counters['actions'])
        size = len(obs['count'])
        act = {'act': 1 + obs['count'] % 9, 'move': np.full((size, 2), 0.5, np.float32)}
        return carry + 1, act, {'latent': np.full((size, 2), -1, np.float32)}

    def train(self, carry, *batches):
        # It comes back with a checkpoint, or begins anew where batches have another layout.
        assert carry in (self.counters['updates'], self.counters['updates'] - self.first)
        self.counters['updates'] += len(batches)
        self.batches += copy.deepcopy(batches)
        data = {k: np.concatenate([x[k] for x in batches]) for k in batches[0]}
        latent = np.repeat(data['count'][..., None], 2, -1).astype(np.float32)
        out = {'stepid': data['stepid'], 'latent': latent}
        if self.priority:
            out['priority'] = data['count'].astype(np.float32)
        new = {'replay': out}, {'loss': np.float32(self.counters['updates'])}
        late, self.waiting = self.waiting, new
        return carry + len(batches), *late

    def flush(self):
        late, self.waiting = self.waiting, ({}, {})
        return late

    def report(self, carry, data):
        self.counters['reports'] += 1
        number = self.counters['reports']
        return carry + 1, {
            'loss': np.float32(number),
            'openloop': np.full((3, 16, 16, 3), number, np.uint8),
        }

    def stream(self, source):
        return source

    def sync(self):
        self.synced += 1

    def close(self):
        self.closed += 1

    def save(self):
        assert self.waiting == ({}, {}), 'Saved before the last results were fetched.'
        return dict(self.counters)

    def load(self, data, regex=None):
        self.loaded.append(regex)
        if regex:
            return  # It has no parameters.
        self.counters.update(data)
        self.counters.subtract({k: v for k, v in self.counters.items() if k not in data})
        self.first = data['updates']

    first = 0


class Parts:
    """Makes the parts of a run in a folder and remembers them. One for each start of a run."""

    def __init__(self, logdir, selector=None, capacity=None, priority=False, repeat=1, **changes):
        self.args = make_args(logdir, **changes)
        self.logdir = pathlib.Path(logdir)
        self.selector = selector
        self.capacity = capacity
        self.repeat = repeat
        self.agent = CountAgent(priority)
        self.envs = {}
        self.replay = None

    def make_agent(self):
        return self.agent

    def make_replay(self):
        args = self.args
        self.replay = replay.Replay(
            args.consec_train * args.batch_length + args.replay_context,
            self.capacity,
            self.logdir / 'replay',
            chunksize=16,
            online=True,
            selector=self.selector() if self.selector else None,
        )
        return self.replay

    def make_replay_eval(self):
        args = self.args
        length = args.consec_train * args.batch_length + args.replay_context
        self.held_out = replay.Replay(length, 1000, self.logdir / 'eval_replay', chunksize=16)
        return self.held_out

    def make_env_eval(self, index):
        return self.make_env(evaluate.EVAL_INDEX + index)

    def make_env(self, index):
        # The observations of different environments have different counts.
        env = fakes.Count(length=5 + index % 1000, offset=10_000 * (index % 1000))
        self.envs[index] = env
        return env

    def make_stream(self, source, mode):
        return build.make_stream(self.args, source, mode)

    def make_logger(self):
        config = elements.Config(outputs=['jsonl', 'scope'], filter='^nothing$', fps=15)
        sinks = outputs.make_outputs(config, self.logdir)
        return elements.Logger(elements.Counter(), sinks, self.repeat)

    @property
    def factories(self):
        names = ('make_agent', 'make_replay', 'make_env', 'make_stream', 'make_logger')
        return [getattr(self, name) for name in names]

    def train(self):
        train(*self.factories, self.args)
        return self

    @property
    def eval_factories(self):
        """What `train_eval` takes."""
        agent, replay_train, env_train, stream, logger = self.factories
        more = replay_train, self.make_replay_eval, env_train, self.make_env_eval
        return [agent, *more, stream, logger]

    def train_eval(self):
        train_eval(*self.eval_factories, self.args)
        return self

    def eval_only(self):
        eval_only(self.make_agent, self.make_env, self.make_logger, self.args)
        return self

    @contextlib.contextmanager
    def run(self):
        """The run itself, made and resumed."""
        with contextlib.ExitStack() as stack:
            run = Run(*self.factories, self.args, stack)
            run.resume()
            yield run


def random_run(logdir, *flags, env=None):
    """Run an agent that acts at random by the command line, as a user does. Returns its output."""
    argv = [x for k, v in RANDOM.items() for x in (f'--{k}', v)]
    result = subprocess.run(
        [sys.executable, ROOT / 'dreamerv3/main.py', *argv, '--logdir', logdir, *flags],
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert not result.returncode, result.stderr
    return result.stdout + result.stderr
