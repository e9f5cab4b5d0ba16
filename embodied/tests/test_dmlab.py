"""On a stand-in for the module, as the simulator has to be built from source."""

import sys
import types

import numpy as np
import pytest

from embodied.core import wrappers
from embodied.envs import dmlab, registry
from embodied.tests import contracts


class Lab:
    """What the documentation of deepmind_lab.Lab promises; episodes have 8 frames."""

    made = []  # noqa: RUF012

    def __init__(self, level, observations, config, renderer='hardware'):
        self.level, self.names, self.config = level, observations, config
        self.size = int(config['height']), int(config['width'])
        assert all(isinstance(x, str) for x in config.values())
        self.frames, self.rng, self.acts, self.closed = None, None, [], 0
        Lab.made.append(self)

    def reset(self, episode=-1, seed=None):
        self.frames = 0
        self.rng = np.random.default_rng(seed)

    def is_running(self):
        return self.frames is not None and self.frames < 8

    def observations(self):
        assert self.is_running(), 'There are no observations at the end of an episode.'
        image = self.rng.integers(0, 255, (*self.size, 3), np.uint8)
        values = {'RGB_INTERLEAVED': image, 'INSTR': 'Find the red balloon'}
        return {k: values[k] for k in self.names}

    def step(self, action, num_steps=1):
        assert self.is_running() and action.dtype == np.intc and action.shape == (7,)
        self.acts.append(action.tolist())
        taken = min(num_steps, 8 - self.frames)
        self.frames += taken
        return float(taken)

    def close(self):
        self.closed += 1


@pytest.fixture(autouse=True)
def lab(monkeypatch):
    module = types.ModuleType('deepmind_lab')
    module.__spec__ = types.SimpleNamespace()
    module.Lab = Lab
    monkeypatch.setitem(sys.modules, 'deepmind_lab', module)
    Lab.made.clear()


def run(env, action=0):
    obs = [env.step({'action': np.int32(action), 'reset': np.bool_(True)})]
    while not obs[-1]['is_last']:
        obs.append(env.step({'action': np.int32(action), 'reset': np.bool_(False)}))
    return obs


@pytest.mark.parametrize('level', ['explore_goal_locations_small', 'language_answer_quantitative_question'])  # fmt: skip  # noqa: E501
def test_contract(level):
    make = lambda seed: registry.make(f'dmlab_{level}', size=(40, 56), repeat=1, seed=seed)
    contracts.check_env(wrappers.wrap(make(0)))
    contracts.check_seed(make)
    assert Lab.made[0].level == f'contributed/dmlab30/{level}' and Lab.made[0].closed


def test_repeat_and_the_end():
    obs = run(dmlab.DMLab('tests/empty_room_test', repeat=3))
    assert [float(x['reward']) for x in obs] == [0, 3, 3, 2]
    assert obs[-1]['is_terminal']
    np.testing.assert_array_equal(obs[-1]['image'], obs[-2]['image'])
    assert not run(dmlab.DMLab('tests/empty_room_test', episodic=False))[-1]['is_terminal']
    assert Lab.made[0].level == 'tests/empty_room_test'


def test_actions():
    assert [len(dmlab.DMLab('a/b', actions=x)._actions) for x in ('impala', 'popart')] == [9, 15]
    for table in dmlab.ACTIONS.values():
        assert len({*table}) == len(table) and {len(x) for x in table} == {7}
    run(dmlab.DMLab('a/b'), 6)
    assert Lab.made[-1].acts[0] == [-60, 0, 0, 0, 0, 0, 0]


def test_instructions():
    assert 'instr' not in dmlab.DMLab('rooms_watermaze').obs_space
    env = dmlab.DMLab('rooms_watermaze', text=True)
    first = run(env)[0]['instr']
    assert (first[:4] > 0).all() and (first[4:] == 0).all() and len({*first[:4]}) == 4
    # The same in every process, unlike hash().
    assert first[:4].tolist() == [285, 79, 456, 473]


def test_levels_that_are_held_out():
    dmlab.DMLab('rooms_collect_good_objects_train', mode='test')
    made = Lab.made[-1]
    assert made.level == 'contributed/dmlab30/rooms_collect_good_objects_test'
    assert made.config['allowHoldOutLevels'] == 'true' and int(made.config['mixerSeed'])


def test_there_are_30_levels():
    assert len({*dmlab.LEVELS}) == 30
    with pytest.raises(ValueError, match=r"unknown dmlab level 'maze', allowed are paths"):
        registry.check('dmlab_maze')


def test_without_the_module(monkeypatch):
    monkeypatch.delitem(sys.modules, 'deepmind_lab')
    if registry.importlib.util.find_spec('deepmind_lab'):
        pytest.skip('deepmind_lab is installed')
    with pytest.raises(ValueError, match=r"needs the package 'deepmind_lab': .*source") as info:
        registry.check('dmlab_rooms_watermaze')
    assert '\n' not in str(info.value) and 'pip install' not in str(info.value)
