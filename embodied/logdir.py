"""The folder of a run: its name, whether it can be written, and the config.yaml in it."""

import pathlib
import re
import tempfile
from collections.abc import Callable

import elements

from . import config as options

# Options of which an agent and its task are made.
TRAINED = ('task', 'random_agent', 'replay_context', 'jax.compute_dtype')
TRAINED_BLOCKS = ('agent.', 'env.')


def resolve(logdir: str) -> pathlib.Path:
    """Path with the home folder and `{timestamp}` filled in."""
    if '://' in logdir:
        raise ValueError(f'logdir: got {logdir!r}, allowed is a folder of this machine')
    if not logdir.strip():
        raise ValueError(f'logdir: got {logdir!r}, allowed is a folder')
    filled = logdir.replace('{timestamp}', elements.timestamp())
    if re.search('{.*}', filled):
        raise ValueError(f'logdir: got {logdir!r}, allowed in braces is {{timestamp}}')
    try:
        return pathlib.Path(filled).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f'logdir: got {logdir!r}, allowed is a folder, no such home') from None


def create(logdir: pathlib.Path) -> None:
    """Make the folder; ValueError of one line if it cannot be written."""
    try:
        logdir.mkdir(parents=True, exist_ok=True)
        # Only writing tells: permissions, a full disk and a read-only disk all look alike before.
        with tempfile.TemporaryFile(dir=logdir) as f:
            f.write(b'test')
    except OSError as e:
        raise ValueError(
            f'logdir: got {str(logdir)!r}, allowed is a folder that can be written: {e.strerror}'
        ) from None


def incompatible(logdir: pathlib.Path, config, structural: Callable) -> list[str]:
    """One line per option with which the training run of the logdir cannot go on.

    structural   called with key, old and new value of each option that differs: whether what was
                 saved does not fit the new one

    Options that one of the two versions does not have are left out.
    """
    try:
        old = options.load(logdir / 'config.yaml')
    except ValueError:
        return []  # It is not there or cannot be read, which `keep_config` tells.
    new = config.flat
    return [
        f'{key}: got {_text(new[key])}, allowed is {_text(old[key])} as in {logdir}: give '
        f'--{key} {_text(old[key])} to go on with it, or another --logdir to begin anew'
        for key in old
        if key in new and old[key] != new[key] and structural(key, old[key], new[key])
    ]


def keep_config(logdir: pathlib.Path, config, note: Callable = lambda key: '') -> list[str]:
    """Save config.yaml; returns one line per key that differs from the one that was there.

    An old config that differs stays beside it as config-<n>.yaml. What `note(key)` says about a key
    is added to its line.
    """
    filename = logdir / 'config.yaml'
    lines = []
    if filename.exists():
        lines = _differences(filename, config, note)
        if not lines:
            return []
        count = 1
        while (logdir / f'config-{count}.yaml').exists():
            count += 1
        filename.rename(logdir / f'config-{count}.yaml')
        lines.append(f'The old config is kept as config-{count}.yaml.')
    options.save(config, filename)
    return lines


def holds_run(logdir: pathlib.Path) -> bool:
    """Whether checkpoints of a training run are in the folder."""
    return (logdir / 'ckpt').is_dir()


def trained_with(checkpoint: pathlib.Path) -> dict:
    """Options of agent and environment by key, from the config.yaml beside a checkpoint.

    Others, such as folders, are not taken over. ValueError if there is no such file.
    """
    folder = checkpoint.parent
    folder = folder.parent if folder.name == 'ckpt' else folder
    if not (folder / 'config.yaml').is_file():
        raise ValueError(f'{folder} has no config.yaml; --configs gives the options of the agent')
    values = options.load(folder / 'config.yaml')
    return {k: v for k, v in values.items() if k in TRAINED or k.startswith(TRAINED_BLOCKS)}


def _differences(filename, config, note):
    try:
        old = options.load(filename)
    except ValueError as e:
        return [str(e)]
    new = config.flat
    absent = 'absent'
    return [
        f'Changed {key}: {old.get(key, absent)} -> {new.get(key, absent)}'
        + (f' ({note(key)})' if note(key) else '')
        for key in {**old, **new}
        if old.get(key, absent) != new.get(key, absent)
    ]


def _text(value):
    """As it is given on the command line."""
    return ' '.join(map(str, value)) if isinstance(value, tuple) else str(value)
