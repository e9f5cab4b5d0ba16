"""Config to constructors to script: the only place where options meet the parts they configure.

What is made here travels to other processes as functions, so everything is made late.
"""

import functools
import inspect
import pathlib

import elements
import numpy as np

from . import envs
from . import run as loops
from .core import forecast, random, replay, selectors, streams, wrappers
from .core.logs import outputs
from .core.system import hardware, rpc
from .run import evaluate, parallel

SCRIPTS = {
    'train': loops.train,
    'train_eval': loops.train_eval,
    'eval_only': loops.eval_only,
    'parallel': parallel.combined,
    'parallel_agent': parallel.parallel_agent,
    'parallel_replay': parallel.parallel_replay,
    'parallel_logger': parallel.parallel_logger,
    'parallel_envs': parallel.parallel_envs,
    'parallel_env': lambda make_env, args: parallel.parallel_env(make_env, args.env_index, args),
}


def run(config, make_agent, entries=None):
    """Run `config.script` with an agent of `make_agent(obs_space, act_space, config)`.

    `entries(config)` gives the spaces of what it adds to each step in replay. A script is given
    what the names of its parameters ask for.
    """
    bind = functools.partial
    offered = {
        'make_agent': bind(build_agent, config, make_agent, entries),
        'make_replay': bind(make_replay, config),
        'make_replay_train': bind(make_replay, config),
        'make_replay_eval': bind(make_replay, config, 'eval_replay'),
        'make_env': EnvMaker(config),
        'make_env_train': EnvMaker(config),
        'make_env_eval': EnvMaker(config, evaluate.EVAL_INDEX),
        'make_stream': bind(make_stream, config),
        'make_logger': bind(make_logger, config),
        'args': arguments(config),
    }
    script = SCRIPTS[config.script]
    names = inspect.signature(script).parameters
    script(**{k: v for k, v in offered.items() if k in names})


def arguments(config):
    """What run loops know: the block `run` and what batches look like."""
    names = ('task', 'logdir', 'batch_size', 'batch_length', 'report_length', 'consec_train')
    names += ('consec_report', 'replay_context')
    usage = {**config.run.usage, 'nvsmi': config.run.usage.nvsmi and hardware.has_gpu()}
    return elements.Config(
        **{**config.run, 'usage': usage},
        **{k: config[k] for k in names},
        token=rpc.token(config.run.token_file),
        timer=config.logger.timer,
        fps=config.logger.fps,
    )


def build_agent(config, make_agent, entries=None):
    """The agent for the spaces of the task. What replay will need is told before it is made."""
    env = make_env(config, 0)
    try:
        obs_space = {k: v for k, v in env.obs_space.items() if not k.startswith('log/')}
        act_space = {k: v for k, v in env.act_space.items() if k != 'reset'}
    finally:
        env.close()
    added = entries(config) if entries and not config.random_agent else {}
    check_needs(config, {**obs_space, **act_space}, added)
    if config.random_agent:
        return random.RandomAgent(obs_space, act_space, seed=config.seed)
    return make_agent(obs_space, act_space, config)


def check_needs(config, spaces, entries):
    """Warn where the full replay will not fit into this machine, if it is to be here."""
    if config.script in ('eval_only', 'parallel_agent') or config.run.remote_replay:
        return
    size, limit = config.replay.size, config.replay.ram_gb
    need = forecast.need(spaces, entries, min(size, config.run.steps), limit)
    length = config.consec_train * config.batch_length + config.replay_context
    least = min(size, config.batch_size * length)
    if limit and forecast.need(spaces, entries, least, limit).steps < least:
        enough = 1.2 * forecast.need(spaces, entries, least).memory / forecast.GB
        raise ValueError(
            f'replay.ram_gb: got {limit}, allowed is at least {enough:.3g} for one batch of this '
            'task, or 0 for no limit'
        )
    if line := forecast.warning(need, pathlib.Path(config.logdir) / 'replay'):
        elements.print(f'Warning: {line}', color='yellow')


class EnvMaker:
    """Makes environments of the task, numbered from `first` on: `make(index)` makes one.

    Where those of the task step together, `make.batch(indices)` makes several at once.
    """

    def __init__(self, config, first=0):
        self.config = config
        self.first = first

    def __call__(self, index):
        return make_env(self.config, self.first + index)

    @property
    def batch(self):
        suite, _ = envs.split(self.config.task)
        return self._batch if envs.suites[suite].batched else None

    def _batch(self, indices):
        return make_batch(self.config, [self.first + index for index in indices])


def make_env(config, index):
    """Environment `index` of the task, with a seed of its own, wrapped and checked."""
    prepare(config)
    env = envs.make(config.task, seed=env_seed(config, index), **env_options(config))
    return wrappers.wrap(env)


def make_batch(config, indices):
    """The same for several environments that step together."""
    prepare(config)
    seeds = [env_seed(config, index) for index in indices]
    return wrappers.wrap(envs.make_batch(config.task, seeds, **env_options(config)))


def prepare(config):
    """Set up JAX, if environments of the task run in it, before they do."""
    suite, _ = envs.split(config.task)
    if envs.suites[suite].jax:
        from .jax import device

        device.setup(**{k: config.jax[k] for k in device.OPTIONS})


def env_options(config):
    """Options of the suite of the task."""
    suite, _ = envs.split(config.task)
    return dict(config.env[suite]) if suite in config.env else {}


def env_seed(config, index):
    return int(np.random.SeedSequence([config.seed, index]).generate_state(1)[0])


def make_replay(config, folder='replay'):
    """Replay of windows that hold `consec_train` sequences and their context."""
    train = folder == 'replay'
    return replay.Replay(
        length=config.consec_train * config.batch_length + config.replay_context,
        capacity=config.replay.size if train else config.replay.eval_size,
        directory=pathlib.Path(config.logdir) / folder,
        chunksize=config.replay.chunksize,
        online=config.replay.online,
        selector=make_selector(config.replay, config.seed),
        name=folder,
        seed=config.seed,
        ram_gb=config.replay.ram_gb if train else 0,
        workers=config.run.envs if train else config.run.eval_envs,
    )


def make_selector(config, seed):
    """Uniform, or a mixture of uniform, prioritised and recent windows."""
    makers = {
        'uniform': lambda: selectors.Uniform(seed),
        'priority': lambda: selectors.Prioritized(**config.prio, seed=seed),
        'recency': lambda: selectors.Recency(recency(config.size, config.recexp), seed=seed),
    }
    fracs = {k: v for k, v in config.fracs.items() if v > 0}
    if len(fracs) == 1:
        return makers[next(iter(fracs))]()
    return selectors.Mixture({k: makers[k]() for k in fracs}, fracs, seed=seed)


def recency(size, exponent):
    """Unnormalised probability by age."""
    return 1.0 / np.arange(1, size + 1) ** exponent


def make_stream(config, source, mode):
    """Batches for training or reports, cut from the windows of a replay."""
    sample = streams.Stateless(source.sample, config.batch_size, mode)
    length, consec = {
        'train': (config.batch_length, config.consec_train),
        'report': (config.report_length, config.consec_report),
        'eval': (config.report_length, config.consec_report),
    }[mode]
    return streams.Consec(
        sample, length, consec, config.replay_context, strict=mode == 'train', contiguous=True
    )


def make_logger(config):
    """Logger whose steps count what the environment repeats an action for."""
    repeat = env_options(config).get('repeat', 1)
    sinks = outputs.make_outputs(config.logger, config.logdir, dict(config.flat))
    return elements.Logger(elements.Counter(), sinks, repeat)
