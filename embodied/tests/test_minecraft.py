"""On a stand-in for the game, which has to be built from source."""

import collections
import sys
import types

import numpy as np
import pytest

from embodied.core import wrappers
from embodied.envs import minecraft, minecraft_spec, registry
from embodied.tests import contracts

ITEMS = sorted({*minecraft.MILESTONES, 'dirt', 'stone'})
KEYS = ('forward', 'back', 'left', 'right', 'jump', 'attack')


class Game:
    """What MineRL promises, with the interface of the old gym; the test sets what happens."""

    def __init__(self, size):
        self.size, self.seeds, self.acts, self.closed = size, [], [], 0
        self.rng = self.items = None
        self.life, self.height, self.over = 20, 64.0, False
        self.action_space = types.SimpleNamespace(noop=self.noop)

    def noop(self):
        choices = dict.fromkeys(('place', 'equip', 'craft', 'nearbyCraft', 'nearbySmelt'), 'none')
        return {**dict.fromkeys(KEYS, 0), 'camera': np.zeros(2), **choices}

    def seed(self, seed):
        self.seeds.append(seed)

    def reset(self):
        self.rng = np.random.default_rng(self.seeds[-1])
        self.items = collections.Counter()
        self.life, self.height, self.over = 20, 64.0, False
        return self.look()

    def step(self, action):
        assert action.keys() == self.noop().keys()
        self.acts.append(action)
        return self.look(), 0.0, self.over, {}

    def look(self):
        return {
            'pov': self.rng.integers(0, 255, (*self.size, 3), np.uint8),
            'inventory': {k: np.array(self.items[k]) for k in ITEMS},
            'equipped_items': {'mainhand': {'type': 'air', 'damage': 0, 'maxDamage': 0}},
            'life_stats': {'life': self.life, 'food': 20, 'air': 300},
            'location_stats': {'ypos': self.height},
        }

    def close(self):
        self.closed += 1


@pytest.fixture(autouse=True)
def game(monkeypatch):
    module = types.ModuleType('minerl')
    module.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, 'minerl', module)
    monkeypatch.setattr(minecraft_spec, 'make', lambda size, speed: (Game(size), ITEMS))


def start(task='diamond', **kwargs):
    env = minecraft.Minecraft(task, seed=0, **kwargs)
    first = env.step({'action': np.int32(0), 'reset': np.bool_(True)})
    return env, env._env, first


def do(env, name='noop'):
    index = list(minecraft.TASKS['diamond']).index(name)
    return env.step({'action': np.int32(index), 'reset': np.bool_(False)})


@pytest.mark.parametrize('task', minecraft.TASKS)
def test_contract(task):
    make = lambda seed: registry.make(f'minecraft_{task}', size=(40, 56), logs=True, seed=seed)
    contracts.check_env(wrappers.wrap(make(0)))
    contracts.check_seed(make)
    assert make(0).act_space['action'].classes == (25 if task == 'diamond' else 12)


def test_first_of_each_milestone_is_rewarded():
    env, game, _ = start(logs=True)
    rewards = []
    for item in ('log', 'log', 'planks', 'dirt', 'diamond'):
        game.items[item] += 1
        obs = do(env)
        rewards.append(float(obs['reward']))
    assert rewards == [1, 0, 1, 0, 1]
    assert obs['log/inventory_log'] == 2 and obs['log/inventory_diamond'] == 1
    game.items.clear()
    obs = do(env)
    assert obs['inventory'].sum() == 0 and obs['inventory_max'].sum() == 5
    env.step({'action': np.int32(0), 'reset': np.bool_(True)})
    game.items['log'] += 1
    assert do(env)['reward'] == 1


def test_hearts_and_death():
    env, game, _ = start()
    rewards = []
    for life in (18, 20, 0):
        game.life = life
        game.over = life == 0
        obs = do(env)
        rewards.append(float(obs['reward']))
    assert rewards == pytest.approx([-0.01, 0.01, -0.1])
    assert obs['is_last'] and obs['is_terminal'] and do(env)['is_first']


def test_wood_and_climbing():
    env, game, _ = start('wood')
    game.items['log'] = 3
    assert do(env)['reward'] == 3 and do(env)['reward'] == 0
    env, game, _ = start('climb')
    heights = (66.0, 60.0, 65.0, 67.5)
    rewards = []
    for game.height in heights:
        rewards.append(float(do(env)['reward']))
    assert rewards == [2, 0, 0, 1.5]


def test_actions():
    env, game, _ = start()
    for name, want in minecraft.TASKS['diamond'].items():
        do(env, name)
        assert all(np.all(game.acts[-1][k] == v) for k, v in want.items() if k != 'camera'), name


def test_keys_are_held():
    env, game, _ = start(break_speed=1.0, sticky_attack=2, sticky_jump=1)
    for name in ('attack', 'noop', 'jump', 'noop', 'noop'):
        do(env, name)
    assert [x['attack'] for x in game.acts] == [1, 1, 1, 0, 0]
    assert [x['jump'] for x in game.acts] == [0, 0, 1, 1, 0]
    env, game, _ = start()
    for name in ('attack', 'noop'):
        do(env, name)
    assert [x['attack'] for x in game.acts] == [1, 0]  # Blocks break at once.


def test_pitch_is_limited():
    env, game, _ = start()
    for _ in range(6):
        do(env, 'turn_down')
    do(env, 'turn_left')
    assert [float(x['camera'][0]) for x in game.acts] == [15, 15, 15, 15, 0, 0, 0]
    assert game.acts[-1]['camera'][1] == -15


def test_length_is_not_terminal():
    env = minecraft.make('diamond', length=3, seed=0)
    obs = [env.step({'action': np.int32(0), 'reset': np.bool_(i == 0)}) for i in range(4)]
    assert [bool(x['is_last']) for x in obs] == [False, False, False, True]
    assert not obs[-1]['is_terminal']


def test_without_the_package(monkeypatch):
    monkeypatch.delitem(sys.modules, 'minerl')
    if registry.importlib.util.find_spec('minerl'):
        pytest.skip('minerl is installed')
    with pytest.raises(ValueError, match=r"needs the package 'minerl': .*Java 8") as info:
        registry.check('minecraft_diamond')
    assert '\n' not in str(info.value)


def test_unknown_task():
    with pytest.raises(ValueError, match=r"'gold', allowed are diamond, wood, climb"):
        registry.check('minecraft_gold')
