"""The folder of a run: its name, whether it can be written, and the config.yaml in it."""

import pathlib
import tempfile

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
    logdir = logdir.replace('{timestamp}', elements.timestamp())
    try:
        return pathlib.Path(logdir).expanduser().absolute()
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


def keep_config(logdir: pathlib.Path, config) -> list[str]:
    """Save config.yaml; returns one line per key that differs from the one that was there.

    An old config that differs stays beside it as config-<n>.yaml.
    """
    filename = logdir / 'config.yaml'
    lines = []
    if filename.exists():
        lines = _differences(filename, config)
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


def _differences(filename, config):
    try:
        old = options.load(filename)
    except ValueError as e:
        return [str(e)]
    new = config.flat
    absent = 'absent'
    return [
        f'Changed {key}: {old.get(key, absent)} -> {new.get(key, absent)}'
        for key in {**old, **new}
        if old.get(key, absent) != new.get(key, absent)
    ]
