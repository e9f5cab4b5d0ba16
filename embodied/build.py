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
from .core import hardware, outputs, random, replay, rpc, selectors, streams, wrappers
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


def run(config, make_agent):
    """Run `config.script` with an agent of `make_agent(obs_space, act_space, config)`.

    A script is given what the names of its parameters ask for.
    """
    bind = functools.partial
    offered = {
        'make_agent': bind(build_agent, config, make_agent),
        'make_replay': bind(make_replay, config),
        'make_replay_train': bind(make_replay, config),
        'make_replay_eval': bind(make_replay, config, 'eval_replay'),
        'make_env': bind(make_env, config),
        'make_env_train': bind(make_env, config),
        'make_env_eval': bind(make_eval_env, config),
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


def build_agent(config, make_agent):
    """The agent for the spaces of the task."""
    env = make_env(config, 0)
    try:
        obs_space = {k: v for k, v in env.obs_space.items() if not k.startswith('log/')}
        act_space = {k: v for k, v in env.act_space.items() if k != 'reset'}
    finally:
        env.close()
    if config.random_agent:
        return random.RandomAgent(obs_space, act_space, seed=config.seed)
    return make_agent(obs_space, act_space, config)


def make_env(config, index):
    """Environment `index` of the task, with a seed of its own, wrapped and checked."""
    suite = config.task.split('_', 1)[0]
    options = dict(config.env[suite]) if suite in config.env else {}
    seed = int(np.random.SeedSequence([config.seed, index]).generate_state(1)[0])
    return wrappers.wrap(envs.make(config.task, seed=seed, **options))


def make_eval_env(config, index):
    """Environment `index` for evaluation, whose seed is none of training."""
    return make_env(config, evaluate.EVAL_INDEX + index)


def make_replay(config, folder='replay'):
    """Replay of windows that hold `consec_train` sequences and their context."""
    return replay.Replay(
        length=config.consec_train * config.batch_length + config.replay_context,
        capacity={'replay': config.replay.size, 'eval_replay': config.replay.eval_size}[folder],
        directory=pathlib.Path(config.logdir) / folder,
        chunksize=config.replay.chunksize,
        online=config.replay.online,
        selector=make_selector(config.replay, config.seed),
        name=folder,
        seed=config.seed,
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
    suite = config.task.split('_', 1)[0]
    repeat = config.env[suite].get('repeat', 1) if suite in config.env else 1
    return elements.Logger(
        elements.Counter(), outputs.make_outputs(config.logger, config.logdir), repeat
    )
