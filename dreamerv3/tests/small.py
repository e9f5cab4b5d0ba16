"""Agents and batches that are small enough to be compiled in tests."""

import pathlib

import elements
import jax
import ninjax as nj
import numpy as np

import dreamerv3
from dreamerv3 import agent, imagine, importer
from embodied import config
from embodied.core import checkpoint, spaces
from embodied.jax import Agent

SCHEMA = config.Schema(pathlib.Path(dreamerv3.__file__).parent / 'configs.yaml')
SEED = np.zeros(2, np.uint32)
# On top of the block debug: images of 12 pixels, short dreams, and few layers, as the time goes to
# compiling, and the time to compile grows with the number of parameters.
FLAGS = {
    r'agent\..*\.mults': (4,),
    r'agent\.(rewhead|conhead|value)\.layers': 0,
    'agent.dec.simple.layers': 0,
    'agent.dyn.rssm.imglayers': 1,
    'agent.imag_length': 3,
    'agent.opt.warmup': 0,
}
REWARD = {
    'reward': elements.Space(np.float32),
    **{k: elements.Space(bool) for k in ('is_first', 'is_last', 'is_terminal')},
}
VECTOR = {'vector': elements.Space(np.float32, (3,)), **REWARD}
IMAGE = {'image': elements.Space(np.uint8, (12, 12, 3)), **REWARD}
CHOICE = {'action': elements.Space(np.int32, (), 0, 4)}
MOVE = {'action': elements.Space(np.float32, (2,), -1, 1)}


def make_model(obs_space=None, act_space=None, flags=(), replay_context=1):
    options = SCHEMA.resolve(['debug'], {**FLAGS, **dict(flags)})
    settings = elements.Config(**options.agent, replay_context=replay_context)
    return agent.Dreamer(obs_space or VECTOR, act_space or CHOICE, settings)


def make_agent(*args, seed=0, **kwargs):
    return Agent(make_model(*args, **kwargs), seed=seed)


def write(folder, obs_space=None, act_space=None, flags=(), step=7, task='dummy_disc', seed=0):
    """Logdir of a run that saved this agent with random parameters. Returns the parameters."""
    options = SCHEMA.resolve(
        ['debug'], {**FLAGS, 'task': task, 'logdir': str(folder), **dict(flags)}
    )
    obs_space, act_space = obs_space or VECTOR, act_space or CHOICE
    rng = np.random.default_rng(seed)
    shapes = imagine.params(make_model(obs_space, act_space, flags), SEED)
    params = {k: random_parameter(k, v.shape, rng) for k, v in shapes.items()}
    saved = {'obs': spaces.save(obs_space), 'act': spaces.save(act_space)}
    parts = {'agent': importer.Imported({'params': params, 'spaces': saved})}
    folder.mkdir(parents=True, exist_ok=True)
    config.save(options, folder / 'config.yaml')
    checkpoint.Checkpoint(folder / 'ckpt', **parts).save(step)
    return params


def random_parameter(name, shape, rng):
    """Scales around 1, others around 0, such that outputs are about as large as inputs."""
    value = rng.standard_normal(shape).astype(np.float32)
    if name.endswith('scale'):
        return 1 + value / 10
    return value / np.sqrt(shape[-2]) if len(shape) > 1 else value / 10


def draw(space, shape, rng):
    """Values of a space, (*shape, *space.shape)."""
    shape = (*shape, *space.shape)
    if space.dtype == bool:
        return rng.integers(0, 2, shape).astype(bool)
    if space.discrete:
        return rng.integers(space.low, space.high, shape).astype(space.dtype)
    return rng.standard_normal(shape).astype(space.dtype)


def batch(model, rows=2, steps=5, seed=0, consec=0):
    """Data of an update: random values, no ends of episodes, latents as the policy stores them."""
    rng = np.random.default_rng(seed)
    spaces = {**model.obs_space, **model.act_space, **model.entry_space}
    data = {k: draw(s, (rows, steps), rng) for k, s in spaces.items()}
    for key in ('is_first', 'is_last', 'is_terminal'):
        data[key][:] = False
    data['consec'] = np.full((rows, steps), consec, np.int32)
    data['stepid'] = rng.integers(0, 256, (rows, steps, 20), np.uint8)
    return data


def observation(model, rows=2, seed=0, first=False):
    rng = np.random.default_rng(seed)
    obs = {k: draw(s, (rows,), rng) for k, s in model.obs_space.items()}
    for key in ('is_first', 'is_last', 'is_terminal'):
        obs[key][:] = first and key == 'is_first'
    return obs


def create(model, rows=2):
    """Fresh parameters and state of a model."""
    data = batch(model, rows)
    return nj.init(lambda: model.train(model.initial(rows), data))({}, seed=SEED)


def compiled(fn):
    """A function of modules as `(params, *args) -> (params, results)`."""
    program = jax.jit(nj.pure(fn))
    return lambda params, *args: program(dict(params), *args, seed=SEED)
