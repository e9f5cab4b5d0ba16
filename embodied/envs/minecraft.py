"""Minecraft: get a diamond, collect wood, climb. Package `minerl` 0.4.4, built from source.

Written from that package and tested on a stand-in, not run with the game itself;
docs/environments.md says how to build it.
"""

import functools

import elements
import numpy as np

from ..core import base, wrappers
from . import minecraft_spec

# Name of an action to what it does, in the terms of MineRL; looking is pitch and yaw in degrees.
MOVES = {
    'noop': {},
    'attack': {'attack': 1},
    'turn_up': {'camera': (-15.0, 0.0)},
    'turn_down': {'camera': (15.0, 0.0)},
    'turn_left': {'camera': (0.0, -15.0)},
    'turn_right': {'camera': (0.0, 15.0)},
    'forward': {'forward': 1},
    'back': {'back': 1},
    'left': {'left': 1},
    'right': {'right': 1},
    'jump': {'jump': 1, 'forward': 1},
    'place_dirt': {'place': 'dirt'},
}
TOOLS = {
    'craft_planks': {'craft': 'planks'},
    'craft_stick': {'craft': 'stick'},
    'craft_crafting_table': {'craft': 'crafting_table'},
    'place_crafting_table': {'place': 'crafting_table'},
    'craft_wooden_pickaxe': {'nearbyCraft': 'wooden_pickaxe'},
    'craft_stone_pickaxe': {'nearbyCraft': 'stone_pickaxe'},
    'craft_iron_pickaxe': {'nearbyCraft': 'iron_pickaxe'},
    'equip_wooden_pickaxe': {'equip': 'wooden_pickaxe'},
    'equip_stone_pickaxe': {'equip': 'stone_pickaxe'},
    'equip_iron_pickaxe': {'equip': 'iron_pickaxe'},
    'craft_furnace': {'nearbyCraft': 'furnace'},
    'place_furnace': {'place': 'furnace'},
    'smelt_iron_ingot': {'nearbySmelt': 'iron_ingot'},
}
# On the way to a diamond, 1 for the first of each.
MILESTONES = (
    *('log', 'planks', 'stick', 'crafting_table', 'wooden_pickaxe', 'cobblestone'),
    *('stone_pickaxe', 'iron_ore', 'furnace', 'iron_ingot', 'iron_pickaxe', 'diamond'),
)
LOGGED = ('log', 'cobblestone', 'iron_ingot', 'diamond')
TASKS = {'diamond': {**MOVES, **TOOLS}, 'wood': MOVES, 'climb': MOVES}
PITCH = 60.0  # How far up and down it can look.


def check(task: str) -> None:
    """Raises a ValueError for a task that does not exist."""
    if task not in TASKS:
        raise ValueError(f'task: unknown minecraft task {task!r}, allowed are {", ".join(TASKS)}')


def make(task, length=36000, **kwargs) -> base.Env:
    """Minecraft that cuts episodes off after `length` steps."""
    return wrappers.TimeLimit(Minecraft(task, **kwargs), length)


class Minecraft(base.Env):
    """Images, what is carried and how one feels; 25 actions for the diamond, 12 else.

    The diamond gives 1 for the first of each of twelve things on the way to it, and 0.01 for each
    heart that is gained, as wood does beside 1 for each log; climbing gives the height gained
    beyond that of the episode so far. Death is terminal.

    Arguments:
        task: `diamond`, `wood` or `climb`.
        size: height and width of the image.
        break_speed: how much faster than usual blocks break.
        sticky_attack: steps for which an attack goes on, where breaking is not faster than usual.
        sticky_jump: steps for which a jump goes on.
        logs: adds `log/inventory_<item>`.
        seed: of the world and of what is in it.
    """

    def __init__(
        self,
        task,
        size=(64, 64),
        break_speed=100.0,
        sticky_attack=30,
        sticky_jump=10,
        logs=False,
        seed=None,
    ):
        check(task)
        self._task = task
        self._size = tuple(size)
        self._moves = list(TASKS[task].values())
        self._sticky = {'attack': sticky_attack if break_speed <= 1 else 0, 'jump': sticky_jump}
        self._logs = LOGGED if logs else ()
        self._env, self._items = minecraft_spec.make(self._size, break_speed)
        self._rng = np.random.default_rng(seed)
        self._done = True
        self._begin()

    @functools.cached_property
    def obs_space(self):
        amount = elements.Space(np.float32, (len(self._items),))
        return {
            'image': elements.Space(np.uint8, (*self._size, 3)),
            'inventory': amount,
            'inventory_max': amount,
            'equipped': elements.Space(np.int32, (), 0, len(self._items) + 1),
            'health': elements.Space(np.float32),
            'hunger': elements.Space(np.float32),
            'breath': elements.Space(np.float32),
            **{f'log/inventory_{k}': elements.Space(np.float32) for k in self._logs},
            **base.FLAGS,
        }

    @property
    def act_space(self):
        return {
            'action': elements.Space(np.int32, (), 0, len(self._moves)),
            'reset': elements.Space(bool),
        }

    def step(self, action):
        if action['reset'] or self._done:
            self._env.seed(int(self._rng.integers(2**31)))
            self._begin()
            raw = self._env.reset()
            self._reward(raw)  # What is there at the start is no achievement.
            return self._obs(raw, 0.0, is_first=True)
        raw, _, self._done, _ = self._env.step(self._translate(int(action['action'])))
        # The game ends an episode by death only.
        return self._obs(raw, self._reward(raw), is_last=self._done, is_terminal=self._done)

    def close(self):
        self._env.close()

    def _begin(self):
        self._done = False
        self._held = dict.fromkeys(self._sticky, 0)  # Steps for which a key is still held.
        self._pitch = 0.0
        self._most = np.zeros(len(self._items), np.float32)
        self._health = self._height = None

    def _translate(self, index):
        """The action of MineRL, with keys that go on being held and a limited pitch."""
        result = self._env.action_space.noop()
        result.update(self._moves[index])
        for key, steps in self._sticky.items():
            if key in self._moves[index]:
                self._held[key] = steps
            elif self._held[key]:
                self._held[key] -= 1
                result[key] = 1
        pitch, yaw = result['camera']
        allowed = float(np.clip(self._pitch + pitch, -PITCH, PITCH))
        result['camera'] = np.array([allowed - self._pitch, yaw], np.float32)
        self._pitch = allowed
        return result

    def _reward(self, raw):
        amounts = self._amounts(raw)
        first = (amounts > 0) & (self._most == 0)
        more = np.maximum(amounts - self._most, 0)
        self._most = np.maximum(self._most, amounts)
        life, height = float(raw['life_stats']['life']), float(raw['location_stats']['ypos'])
        healed = 0.0 if self._health is None else (life - self._health) / 2
        climbed = 0.0 if self._height is None else max(height - self._height, 0.0)
        self._health = life
        self._height = height if self._height is None else max(height, self._height)
        if self._task == 'climb':
            return climbed
        gained = {
            'diamond': sum(first[self._items.index(x)] for x in MILESTONES),
            'wood': more[self._items.index('log')],
        }
        return float(gained[self._task]) + 0.01 * healed

    def _obs(self, raw, reward, is_first=False, is_last=False, is_terminal=False):
        amounts, life = self._amounts(raw), raw['life_stats']
        held = raw['equipped_items']['mainhand']['type']
        known = self._items.index(held) if held in self._items else len(self._items)
        logs = {f'log/inventory_{k}': amounts[self._items.index(k)] for k in self._logs}
        return {
            'image': np.array(raw['pov']),
            'inventory': amounts,
            'inventory_max': self._most.copy(),
            'equipped': np.int32(known),
            'health': np.float32(life['life'] / 20),
            'hunger': np.float32(life['food'] / 20),
            'breath': np.float32(life['air'] / 300),
            **logs,
            'reward': np.float32(reward),
            'is_first': np.bool_(is_first),
            'is_last': np.bool_(is_last),
            'is_terminal': np.bool_(is_terminal),
        }

    def _amounts(self, raw):
        return np.array([raw['inventory'][x] for x in self._items], np.float32)
