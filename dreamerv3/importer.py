"""Official DreamerV3 checkpoints to logdirs of this project.

    python -m dreamerv3.importer OFFICIAL_CKPT LOGDIR

OFFICIAL_CKPT is a checkpoint folder (with agent.pkl), the `ckpt` folder around it, or the logdir.
Parameters keep their names, so importing is reading, checking and writing. The official files are
pickles, which can hold code, so an unpickler reads them that makes plain arrays and nothing else.
"""

import argparse
import pathlib
import pickle
import sys

import elements
import numpy as np

from embodied import config as configlib
from embodied import logdir as logdirs
from embodied.core import checkpoint

CONFIGS = pathlib.Path(__file__).parent / 'configs.yaml'

# What official pickles refer to; NumPy moved the module in version 2.
ALLOWED = {
    ('numpy.core.multiarray', '_reconstruct'): np._core.multiarray._reconstruct,
    ('numpy._core.multiarray', '_reconstruct'): np._core.multiarray._reconstruct,
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
}


# Options that are not about the agent and its data.
OURS = ('jax.', 'logger.', 'run.', 'script', 'random_agent', 'logdir')


class Unpickler(pickle.Unpickler):
    """Builtin types and plain NumPy arrays only; everything else is a ValueError."""

    def find_class(self, module, name):
        if (module, name) not in ALLOWED:
            raise ValueError(f'the pickle asks for {module}.{name}, which is not allowed')
        return ALLOWED[module, name]


class Imported:
    """A part of a checkpoint that is only saved."""

    def __init__(self, data):
        self.save = lambda: data


def load_pickle(path):
    """Content of an official pickle. ValueError if it is damaged or holds more than arrays."""
    path = pathlib.Path(path)
    try:
        with path.open('rb') as f:
            return Unpickler(f).load()
    except Exception as e:
        raise ValueError(f'Cannot import {path}: {e}') from e


def load_agent(path):
    """State for `Agent.load` from an official agent.pkl: parameters and counters."""
    data = load_pickle(path)
    try:
        params = {str(k): np.asarray(v) for k, v in data['params'].items()}
        updates, actions = (int(data['counters'][k]) for k in ('updates', 'actions'))
    except (TypeError, KeyError, AttributeError, ValueError) as e:
        raise ValueError(f'Cannot import {path}: not an official agent ({e!r}).') from e
    for name, value in params.items():
        if value.dtype.kind not in 'fiub':
            raise ValueError(f'Cannot import {path}: {name} has type {value.dtype}.')
    return {'params': params, 'counters': {'updates': updates, 'actions': actions, 'reports': 0}}


def translate(official):
    """Config of an official one (nested dict) on top of our defaults, and the keys left out.

    What belongs to the machine and the loop stays at our defaults. Numbers do not change:
    `policy.unimix` is in every official config, but its heads do not apply it.
    """
    schema = configlib.Schema(CONFIGS)
    try:
        flat = dict(elements.Config(official).flat)
    except (TypeError, AssertionError) as e:
        raise ValueError(f'The config.yaml is not that of an official run: {e}') from e
    if 'agent.policy.unimix' in flat:
        flat['agent.policy.unimix'] = 0.0
    known = {k: v for k, v in flat.items() if k in schema.options and not k.startswith(OURS)}
    return schema.resolve((), known), sorted(flat.keys() - known.keys())


def find(path):
    """Checkpoint folder (with agent.pkl) and config file of a path that people would give."""
    path = pathlib.Path(path).expanduser()
    for folder in (path, path / 'ckpt'):
        if (folder / 'latest').is_file():
            folder = folder / (folder / 'latest').read_text().strip()
        if (folder / 'agent.pkl').is_file():
            break
    else:
        raise ValueError(
            f'{path}: no agent.pkl there, nor in a ckpt folder. Give an official logdir.'
        )
    if not (folder / 'done').exists():
        raise ValueError(f'{folder}: not a complete checkpoint (no file `done`).')
    config = [p / 'config.yaml' for p in (folder, *list(folder.parents)[:2])]
    return folder, next((p for p in config if p.is_file()), None)


def load_step(path):
    """Environment steps of an official step.pkl, 0 if there is none."""
    step = load_pickle(path) if path.is_file() else 0
    if type(step) is not int or step < 0:
        raise ValueError(f'Cannot import {path}: not a number of steps ({step!r:.80}).')
    return step


def convert(source, logdir):
    """Write a logdir with the parameters, step and config of an official checkpoint."""
    folder, config_file = find(source)
    parts = {'agent': load_agent(folder / 'agent.pkl'), 'step': load_step(folder / 'step.pkl')}
    config, left_out = translate(configlib.load(config_file)) if config_file else (None, [])
    logdir = logdirs.resolve(str(logdir))
    target = checkpoint.Checkpoint(logdir / 'ckpt', **{k: Imported(v) for k, v in parts.items()})
    if target.exists():
        raise ValueError(f'{logdir}: there is a checkpoint already. Give a new folder.')
    # All has been read and fits, so only the disk can fail from here on.
    logdirs.create(logdir)
    if config:
        logdirs.keep_config(logdir, config.update(logdir=str(logdir)))
    target.save(parts['step'])
    print(f'Imported {len(parts["agent"]["params"])} parameters at step {parts["step"]}: {logdir}')
    ours = [k for k in left_out if k.startswith(('agent.', 'replay.'))]
    if not config:
        print('No config.yaml beside the checkpoint: give the options of its run yourself.')
    elif ours:
        print(f'Options without a counterpart, left out: {", ".join(ours)}')


def main(argv=None):
    parser = argparse.ArgumentParser(prog='python -m dreamerv3.importer', description=__doc__)
    parser.add_argument('checkpoint', help='official checkpoint folder or logdir')
    parser.add_argument('logdir', help='new logdir of this project')
    args = parser.parse_args(argv)
    try:
        convert(args.checkpoint, args.logdir)
    except (ValueError, OSError) as e:
        print(f'Error: {" ".join(str(e).split())}', file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == '__main__':
    main()
