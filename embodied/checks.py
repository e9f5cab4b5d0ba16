"""What must hold between options, whatever the agent: told in one line before anything starts."""

import importlib.util
import math
import os
import pathlib
import re

from .core import checkpoint
from .core.logs import outputs
from .core.system import hardware, rpc

# What a changed option means to a run that goes on.
RESUMED = {
    'seed': 'only environments begin with it, agent and replay go on',
    'run.envs': 'all begin new episodes',
    'replay.size|replay.ram_gb': 'the newest steps stay',
    'replay_context|consec_train|batch_length': 'windows and batches are made anew of the replay',
    'batch_size|consec_report|report_length': 'batches are drawn anew from the replay',
}
# Scripts of roles without the agent, whose logdir another one has made.
GUESTS = ('parallel_replay', 'parallel_logger', 'parallel_env', 'parallel_envs')
# Roles at whose addresses a script listens, and those that it calls.
LISTENS = {
    'parallel': ('actor', 'replay', 'logger'),
    'parallel_agent': ('actor',),
    'parallel_replay': ('replay',),
    'parallel_logger': ('logger',),
}
CALLS = {
    'parallel_agent': ('replay', 'logger'),
    'parallel_env': ('actor',),
    'parallel_envs': ('actor',),
}


def check(config) -> None:
    """ValueError that names key, value and remedy for the first thing that cannot work."""
    image_sizes(config)
    logger(config)
    replay(config)
    roles(config)
    if config.script not in GUESTS:
        devices(config)
        cache(config.jax.cache)
        starting_point(config)


def structural(key: str, old, new) -> bool:
    """Whether a run cannot go on with another value, whatever the agent.

    Other observations or actions, another agent, or latents that replay holds or does not.
    """
    if key == 'replay_context':
        return bool(old) != bool(new)
    return (
        re.fullmatch(
            r'task|random_agent|env\..*\.(size|gray|actions|image|proprio|words|mask)', key
        )
        is not None
    )


def resumed(key: str) -> str:
    """What happens to a run that goes on with another value, where that needs words."""
    return next((text for name, text in RESUMED.items() if re.fullmatch(name, key)), '')


def starting_point(config):
    """The checkpoint to begin with, before anything is loaded that takes long."""
    try:
        re.compile(config.run.from_checkpoint_regex)
    except re.error as e:
        raise ValueError(
            f'run.from_checkpoint_regex: got {config.run.from_checkpoint_regex!r}, allowed is a '
            f'regular expression: {e}'
        ) from None
    path = config.run.from_checkpoint
    evaluating = config.script == 'eval_only'
    if not path and evaluating and not config.random_agent:
        raise ValueError(
            "run.from_checkpoint: got '', allowed for eval_only is a logdir or a checkpoint in it"
        )
    own = checkpoint.Checkpoint(pathlib.Path(config.logdir) / 'ckpt')
    # A run that goes on from its own checkpoint needs no other.
    if path and (evaluating or not own.exists()):
        try:
            checkpoint.check(path, 'agent')
        except (ValueError, OSError, RuntimeError) as e:
            raise ValueError(
                f'run.from_checkpoint: got {path!r}, allowed is a logdir or a checkpoint in it: {e}'
            ) from None


def image_sizes(config):
    for key, value in config.flat.items():
        if re.fullmatch(r'env\..*\.size', key) and len(value) != 2:
            raise ValueError(f'{key}: got {list(value)}, allowed are height and width')


def logger(config):
    names = config.logger.outputs
    if len(set(names)) != len(names):
        raise ValueError(f'logger.outputs: got {list(names)}, allowed is each once')
    for name, package in outputs.PACKAGES.items():
        if name in names and importlib.util.find_spec(package) is None:
            raise ValueError(
                f'logger.outputs: got {name!r}, which needs the package {package!r}: '
                f"pip install 'dreamerv3-embodied[{name}]'"
            )
    try:
        re.compile(config.logger.filter)
    except re.error as e:
        raise ValueError(
            f'logger.filter: got {config.logger.filter!r}, allowed is a regular expression: {e}'
        ) from None


def replay(config):
    length = config.consec_train * config.batch_length
    if config.replay.eval_size < length + config.replay_context:
        raise ValueError(
            f'replay.eval_size: got {config.replay.eval_size}, allowed is at least '
            f'{length + config.replay_context}: consec_train * batch_length + replay_context'
        )
    if config.replay_context > config.batch_length:
        raise ValueError(
            f'replay_context: got {config.replay_context}, allowed is at most batch_length '
            f'{config.batch_length}'
        )
    needed = config.batch_size * (length + config.replay_context)
    if config.replay.size < needed:
        raise ValueError(
            f'replay.size: got {config.replay.size}, allowed is at least {needed}, one batch: '
            'batch_size * (consec_train * batch_length + replay_context)'
        )
    # Reports are cut from the windows that training samples.
    if config.consec_report * config.report_length > length:
        raise ValueError(
            f'report_length: got {config.report_length}, allowed is at most '
            f'{length // config.consec_report}: consec_train * batch_length / consec_report'
        )
    fracs = dict(config.replay.fracs)
    if not math.isclose(sum(fracs.values()), 1, abs_tol=1e-6):
        raise ValueError(f'replay.fracs: got {fracs}, allowed are shares that sum to 1')


def devices(config):
    hardware.check(config.jax.platform)
    mocked, platform = config.jax.mock_devices, hardware.kind(config.jax.platform)
    if mocked and platform != 'cpu':
        raise ValueError(f'jax.mock_devices: got {mocked}, allowed with --jax.platform cpu')
    amount = mocked or hardware.count(platform)
    for name, key, size in (
        ('train_devices', 'batch_size', config.batch_size),
        ('policy_devices', 'run.envs', config.run.envs),
    ):
        ids = config.jax[name]
        if len(set(ids)) != len(ids):
            raise ValueError(f'jax.{name}: got {list(ids)}, allowed is each device once')
        if amount and max(ids) >= amount:
            raise ValueError(
                f'jax.{name}: got {list(ids)}, allowed is 0 to {amount - 1}, the devices of '
                f'{platform}' + (' as of jax.mock_devices' if mocked else '')
            )
        if size % len(ids):
            raise ValueError(f'{key}: got {size}, allowed are multiples of the {len(ids)} {name}')


def cache(name):
    """The folder of compiled programs, of which JAX only warns at each of them."""
    if name in ('auto', 'off'):
        return
    try:
        folder = pathlib.Path(name).expanduser().absolute()
        existing = next(x for x in (folder, *folder.parents) if x.exists())
        good = existing.is_dir() and os.access(existing, os.W_OK)
    except (OSError, RuntimeError):
        good = False
    if not good:
        raise ValueError(
            f'jax.cache: got {name!r}, allowed is auto, off or a folder that can be written'
        )


def roles(config):
    """Addresses of the processes of a run, and the secret that they share."""
    run, script = config.run, config.script
    if not run.actor_batch:
        raise ValueError('run.actor_batch: got 0, allowed is 1 or more, or -1 for all')
    try:
        token = rpc.token(run.token_file)
    except ValueError as e:
        raise ValueError(f'run.token_file: {e}') from None
    except RuntimeError as e:
        raise ValueError(
            f'run.token_file: got {run.token_file!r}, allowed is a file with a secret: {e}'
        ) from None
    if run.public and not token:
        raise ValueError(
            'run.public: got True, allowed with a secret in run.token_file or $EMBODIED_TOKEN'
        )
    # Roles that are started apart on other machines; of those, only the actor listens here.
    apart = {'actor': run.remote_envs, 'replay': run.remote_replay, 'logger': False}
    used = {}
    for name in (*LISTENS.get(script, ()), *CALLS.get(script, ())):
        key, address = f'run.{name}_addr', run[f'{name}_addr']
        if address == 'auto':
            if script != 'parallel' or apart[name]:
                raise ValueError(
                    f"{key}: got 'auto', allowed is host:port where processes are started apart"
                )
            continue
        try:
            rpc.split(address)
        except ValueError as e:
            raise ValueError(f'{key}: {e}') from None
        if address in used:
            raise ValueError(f'{key}: got {address!r}, allowed is another one than {used[address]}')
        used[address] = key
        listens = name in LISTENS.get(script, ()) and not (name == 'replay' and apart[name])
        if listens and not run.public and not rpc.is_loopback(address):
            raise ValueError(
                f'{key}: got {address!r}, allowed are addresses of this machine such as '
                '127.0.0.1:5551, or any with --run.public True and a secret in run.token_file'
            )
