"""Parameters of all sizes against the recorded counts. Only shapes are computed."""

import pathlib

import elements
import jax
import ninjax as nj
import numpy as np
import pytest

import dreamerv3
from dreamerv3 import agent
from dreamerv3.tests import recordings
from embodied import config

pytestmark = pytest.mark.golden

SCHEMA = config.Schema(pathlib.Path(dreamerv3.__file__).parent / 'configs.yaml')
SIZES = ['size1m', 'size12m', 'size25m', 'size50m', 'size100m', 'size200m', 'size400m']
FLOAT = np.float32
SPACES = {
    'crafter': ({'image': elements.Space(np.uint8, (64, 64, 3))}, (np.int32, (), 0, 17)),
    'atari': ({'image': elements.Space(np.uint8, (96, 96, 1))}, (np.int32, (), 0, 18)),
    'dmc_proprio_walker': (
        {
            'orientations': elements.Space(FLOAT, (14,)),
            'height': elements.Space(FLOAT, ()),
            'velocity': elements.Space(FLOAT, (9,)),
        },
        (FLOAT, (6,), -1, 1),
    ),
}


def shapes(name, size):
    """Name to shape of everything that a training step of the model holds."""
    seen, action = SPACES[name]
    flags = {k: elements.Space(bool) for k in ('is_first', 'is_last', 'is_terminal')}
    obs_space = {**seen, 'reward': elements.Space(FLOAT), **flags}
    options = SCHEMA.resolve([size])
    settings = elements.Config(**options.agent, replay_context=1)
    model = agent.Dreamer(obs_space, {'action': elements.Space(*action)}, settings)
    spaces = {**obs_space, **model.act_space, **model.entry_space}
    data = {k: np.zeros((1, 3, *s.shape), s.dtype) for k, s in spaces.items()}
    data['consec'] = np.zeros((1, 3), np.int32)
    data['stepid'] = np.zeros((1, 3, 20), np.uint8)

    def create(seed):
        run = lambda: model.train(model.initial(1), data)
        return nj.pure(run)({}, seed=seed, create=True)[0]

    params = jax.eval_shape(create, np.zeros(2, np.uint32))
    return model, {k: v.shape for k, v in params.items()}


def count(params):
    return sum(int(np.prod(x)) for x in params.values())


def cases():
    """Every size on every space; with images only the smallest in the fast suite."""
    for name in SPACES:
        for size in SIZES:
            fast = size == 'size1m' or name == 'dmc_proprio_walker'
            yield pytest.param(name, size, marks=() if fast else pytest.mark.slow)


@pytest.mark.parametrize('name, size', [*cases()])
def test_counts(name, size):
    want = recordings.load_json(recordings.require('param_counts')[0])[f'{name}/{size}']
    model, params = shapes(name, size)
    trained = {k: v for k, v in params.items() if k.startswith(model.opt.paths)}
    assert count(trained) == want['optimized']
    modules = {}
    for key, shape in params.items():
        modules.setdefault(key.split('/')[0], {})[key] = shape
    # The recordings leave out the state of the optimiser and the counter of the slow critic.
    ours = {k: v for k, v in modules.items() if k not in ('opt', 'slowval_count')}
    assert {k: count(v) for k, v in ours.items()} == want['modules']
    acting = {k: v for k, v in params.items() if k.startswith(('enc/', 'dyn/', 'dec/', 'pol/'))}
    assert count(acting) == want['policy_keys']
    if 'shapes' in want:
        ours = {k: list(v) for module in ours.values() for k, v in module.items()}
        assert ours == want['shapes']


def test_all_recorded_cases_are_here():
    want = recordings.load_json(recordings.require('param_counts')[0])
    assert set(want) == {f'{name}/{size}' for name in SPACES for size in SIZES}
