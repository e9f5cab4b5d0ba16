"""What is known of a trained agent on disk: its options, spaces and parameters. No JAX here.

It is in a logdir, in a checkpoint, or in a folder that `export` has written. Nothing in there is
run, and the task is not looked up.
"""

import json
import pathlib
from typing import NamedTuple

import elements
import numpy as np
import safetensors

from embodied import config as configlib
from embodied import logdir as logdirs
from embodied.core import checkpoint, spaces, trees
from embodied.envs import registry
from embodied.run import evaluate

from . import inputs

CONFIGS = pathlib.Path(__file__).parent / 'configs.yaml'
WEIGHTS, SPACES, OPTIONS = 'weights.safetensors', 'spaces.json', 'config.yaml'
OPTIMIZER = 'opt/'


class Stored(NamedTuple):
    """An agent as it was saved.

    folder    the checkpoint or the exported folder that was read
    options   those of agent and environment by key, as they were written
    config    all options, with the defaults for those of the machine and the loop
    step      environment steps it was trained for
    params    arrays by name, without those of the optimizer
    """

    folder: pathlib.Path
    options: dict
    config: elements.Config
    step: int
    obs_space: dict
    act_space: dict
    params: dict


def read(path) -> Stored:
    """The agent of a path. ValueError of one line if there is none, or none that is intact."""
    try:
        folder = pathlib.Path(path).expanduser()
        stored = read_exported(folder) if (folder / WEIGHTS).is_file() else read_checkpoint(folder)
    except (OSError, RuntimeError) as e:
        raise ValueError(f'{path} cannot be read: {getattr(e, "strerror", None) or e}') from None
    return stored


def read_checkpoint(path):
    """The newest intact checkpoint of a logdir."""
    folder, step, data = checkpoint.read(path, 'agent')
    options = logdirs.trained_with(folder)
    if not isinstance(data.get('params'), dict):
        raise ValueError(f'{path} holds an agent without parameters, which cannot be loaded')
    if 'spaces' not in data:
        raise ValueError(
            f'{folder} was saved without its spaces, by another program or an older version. Go on '
            f'with the run for a moment, which saves it anew: --logdir {path}'
        )
    return store(folder, options, step, data['spaces'], data['params'])


def read_exported(folder):
    """A folder that `export` has written."""
    options = configlib.load(folder / OPTIONS)
    try:
        params = trees.read_tensors(folder / WEIGHTS)
        saved = json.loads((folder / SPACES).read_text())
        step = int(saved.pop('step'))
    except (safetensors.SafetensorError, ValueError, KeyError, AttributeError, TypeError) as e:
        raise ValueError(f'{folder} holds no agent that can be read: {e!r}') from None
    return store(folder, options, step, saved, params)


def store(folder, options, step, saved, params):
    try:
        config = configlib.Schema(CONFIGS).resolve(flags=options)
        obs_space, act_space = spaces.load(saved['obs']), spaces.load(saved['act'])
    except (ValueError, LookupError, TypeError) as e:
        raise ValueError(f'{e} (of the agent in {folder})') from None
    params = {k: v for k, v in params.items() if not k.startswith(OPTIMIZER)}
    return Stored(folder, options, config, step, obs_space, act_space, params)


def make_env(stored: Stored, task: str = '', render: bool = False):
    """An environment of the task, with a seed of evaluation, wrapped as in training.

    It has to have what the policy acts on, and may lack what is only predicted. What is code from
    elsewhere is only imported if the user names it by `task`. With `render`, what people see of it
    is among the observations, if the suite can draw it.
    """
    # Here, as this brings all environments and loops.
    from embodied import build

    config = stored.config.update(task=task or stored.config.task)
    if not task and registry.foreign(config.task):
        raise ValueError(
            f'task: the agent was trained on {config.task!r}, which is code from elsewhere. It is '
            f'only imported if you say so: --task {config.task}'
        )
    registry.check(config.task)
    suite = registry.split(config.task)[0]
    if render and 'render' in config.env.get(suite, {}):
        config = config.update({f'env.{suite}.render': True})
    env = build.make_env(config, evaluate.EVAL_INDEX)
    encoder = stored.config.agent.enc.simple
    needed = inputs.acting(stored.obs_space, encoder.include, encoder.exclude)
    for name, want, have in (
        ('observations', needed, env.obs_space),
        ('actions', stored.act_space, env.act_space),
    ):
        form = lambda x: (np.dtype(x.dtype), tuple(x.shape))
        if any(k not in have or form(have[k]) != form(s) for k, s in want.items()):
            env.close()
            raise ValueError(f'task: got {config.task!r}, whose {name} are not those of the agent')
    return env
