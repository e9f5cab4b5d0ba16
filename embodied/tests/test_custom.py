import sys

import numpy as np
import pytest

from embodied import envs
from embodied.core import driver, wrappers
from embodied.envs import custom, registry
from embodied.tests import contracts, fakes

MODULE = """
import elements
import embodied
import numpy as np

SEEDS = []


class Mine(embodied.Env):
    obs_space = {
        'image': elements.Space(np.uint8, (10, 20, 3)),
        'reward': elements.Space(np.float32),
        **{k: elements.Space(bool) for k in ('is_first', 'is_last', 'is_terminal')},
    }
    act_space = {'action': elements.Space(np.int32, (), 0, 3), 'reset': elements.Space(bool)}

    def __init__(self, seed=None):
        SEEDS.append(seed)
        self.count = 0

    def step(self, action):
        self.count = 0 if action['reset'] else self.count + 1
        flags = {'is_first': self.count == 0, 'is_last': self.count == 5, 'is_terminal': False}
        return {'image': np.zeros((10, 20, 3), np.uint8), 'reward': np.float32(0), **flags}


def make_env():
    return Mine()


def level(name, seed):
    return Mine()


def nothing():
    return {'a': 1}


class Half:
    obs_space = {'x': (3,)}
    act_space = {}


instance = Mine()
"""
GYMNASIUM = """
import gymnasium
import numpy as np


class Walk(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}

    def step(self, action):
        self.steps += 1
        return np.zeros(2, np.float32), 1.0, False, self.steps == 4, {}


gymnasium.register('OursOfATest-v0', Walk)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with modules of a user, forgotten afterwards."""
    (tmp_path / 'mine.py').write_text(MODULE)
    (tmp_path / 'walks.py').write_text(GYMNASIUM)
    (tmp_path / 'needs.py').write_text('import no_such_package\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [x for x in sys.path if x])
    monkeypatch.setattr(sys, 'dont_write_bytecode', True)
    yield tmp_path
    for name in ('mine', 'walks', 'needs'):
        sys.modules.pop(name, None)


def message(task):
    with pytest.raises(ValueError) as info:
        registry.make(task)
    text = str(info.value)
    assert text.startswith('task: ') and '\n' not in text
    return text


@pytest.mark.parametrize('task', ['mine:Mine', 'mine:make_env', 'custom_mine:Mine'])
def test_function_or_class_of_a_module_in_this_folder(folder, task):
    env = envs.make(task, seed=3)
    assert env.obs_space['image'].shape == (10, 20, 3)
    contracts.check_env(env)


def test_seed_and_size_arrive(folder):
    env = envs.make('mine:Mine', seed=3, size=(8, 8))
    assert env.obs_space['image'].shape == (8, 8, 3)
    assert sys.modules['mine'].SEEDS == [None, 3]  # The first is the instance of the module.


def test_gymnasium_environments(folder):
    pytest.importorskip('gymnasium')
    for task in ('walks:Walk', 'walks:OursOfATest-v0'):
        env = envs.make(task, seed=3)
        action = {'action': np.int32(0), 'reset': np.bool_(True)}
        first = env.step(action)
        again = envs.make(task, seed=3).step(action)
        contracts.assert_same(first, again)
        contracts.check_env(env)


def test_runs_in_a_process_of_its_own(folder):
    # A task is checked here first, by which the folder becomes a part of the path.
    registry.check('mine:Mine')
    drv = driver.Driver([lambda: wrappers.wrap(envs.make('mine:Mine', seed=1))], parallel=True)
    assert drv.obs_space['image'].shape == (10, 20, 3)
    drv.close()


@pytest.mark.parametrize(
    'task, text',
    [
        ('mina:Mine', "there is no module 'mina' for 'mina:Mine', neither installed nor in"),
        ('mine.more:x', "there is no module 'mine.more'"),
        ('mine:Mina', "no 'Mina' in the module 'mine' (FOLDER/mine.py), did you mean 'Mine'?"),
        ('mine:instance', "'mine:instance' is a Mine, allowed is a function or class"),
        ('mine:level', "'mine:level' needs the arguments name, allowed are none or seed"),
        ('mine:nothing', "'mine:nothing' gave a builtins.dict, allowed are an embodied.Env"),
        ('mine:Half', "'mine:Half' has (3,) as the space of 'x', allowed is an elements.Space"),
        ('needs:x', "cannot import 'needs' for 'needs:x', as 'no_such_package' is not installed"),
        ('mi ne:x', "got 'mi ne:x', allowed is MODULE:NAME"),
        (':x', "got ':x', allowed is MODULE:NAME"),
    ],
)
def test_mistakes_are_one_line(folder, task, text):
    assert text.replace('FOLDER', str(folder)) in message(task)


def test_batches_are_not_taken_for_environments():
    class Batch(fakes.Count):
        batched = True

    with pytest.raises(ValueError, match='Batch, allowed are an embodied'):
        custom.convert(Batch(), 'a:b')


def test_files_here_do_not_take_the_place_of_modules_of_python(folder):
    (folder / 'wave.py').write_text('')
    (folder / 'mine.py').write_text(f'import wave\nassert wave.open\n{MODULE}')
    sys.modules.pop('wave', None)
    assert envs.make('mine:Mine').obs_space


def test_which_tasks_are_code_from_elsewhere():
    for task in ('mine:Mine', 'gym_mine:Env-v0', 'custom_mine:Mine', 'nowhere_task'):
        assert registry.foreign(task)
    for task in ('dummy_disc', 'gym_CartPole-v1', 'CartPole-v1'):
        assert not registry.foreign(task)


def test_ids_of_gymnasium_alone():
    assert registry.split('CartPole-v1') == ('gym', 'CartPole-v1')
    assert registry.split('gym_CartPole-v1') == ('gym', 'CartPole-v1')
    assert 'vector' in envs.make('CartPole-v1').obs_space
    assert "no environment 'CartPol-v1', did you mean 'CartPole-v1'" in message('CartPol-v1')
