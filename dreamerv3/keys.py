"""Which key of a keyboard does which action. No JAX here.

Codes are those of KeyboardEvent in a browser, which are places on the keyboard.
"""

import itertools
import re
from typing import NamedTuple

import numpy as np

DIRECTIONS = {'left': 'ArrowLeft', 'right': 'ArrowRight', 'up': 'ArrowUp', 'down': 'ArrowDown'}
KNOWN = {**DIRECTIONS, 'forward': 'ArrowUp', 'do': 'Space', 'fire': 'Space', 'toggle': 'Space'}
FREE = [f'Digit{x}' for x in '1234567890'] + [f'Key{x}' for x in 'QWERTYUIOPASDFGHJKLZXCVBNM']
# Lowest and highest value of a continuous action, one after the other.
PAIRS = ('ArrowLeft ArrowRight', 'ArrowDown ArrowUp', 'KeyA KeyD', 'KeyS KeyW', 'KeyF KeyH')
PAIRS += ('KeyG KeyT', 'KeyJ KeyL', 'KeyK KeyI', 'KeyZ KeyX', 'KeyC KeyV', 'KeyB KeyN')
SYMBOLS = {'ArrowLeft': '←', 'ArrowRight': '→', 'ArrowUp': '↑', 'ArrowDown': '↓', 'Space': 'space'}

CRAFTER = 'noop left right up down do sleep place_stone place_table place_furnace place_plant '
CRAFTER += 'wood_pickaxe stone_pickaxe iron_pickaxe wood_sword stone_sword iron_sword'
ATARI = 'noop fire up right left down up_right up_left down_right down_left up_fire right_fire '
ATARI += 'left_fire down_fire up_right_fire up_left_fire down_right_fire down_left_fire'
# Names of actions by task, used where their number fits.
NAMES = (
    ('crafter_', CRAFTER),
    ('atari', ATARI),
    ('.*CartPole', 'left right'),
    ('.*MountainCar', 'left noop right'),
    ('.*FrozenLake', 'left down right up'),
    ('.*(MiniGrid|BabyAI)', 'left right forward pickup drop toggle done'),
    ('minigrid_', 'left right forward pickup drop toggle done'),
)


class Binding(NamedTuple):
    """A key that sets one element of one action."""

    code: str  # '' if there are no keys left.
    text: str
    name: str
    index: tuple
    value: float

    @property
    def symbol(self):
        return SYMBOLS.get(self.code) or self.code.removeprefix('Digit').removeprefix('Key').lower()


def bind(act_space: dict, task: str = '') -> list[Binding]:
    """A key for every value of each discrete action and both ends of each continuous one.

    Where there are several elements, one that no key sets is as in `rest`, and the space bar sets
    none.
    """
    parts = [(k, i) for k, s in act_space.items() for i in np.ndindex(s.shape)]
    several = len(parts) > 1
    pairs, bindings = iter(PAIRS), []
    for name, index in parts:
        space = act_space[name]
        if not space.discrete:
            codes = next(pairs, ' ').split(' ')
            low, high = ends(space, index)
            title = label(name, index)
            bindings += [
                Binding(codes[0], f'{title} {low:g}', name, index, low),
                Binding(codes[1], f'{title} {high:g}', name, index, high),
            ]
    free = iter(code for code in FREE if code not in {x.code for x in bindings})
    for name, index in parts:
        if act_space[name].discrete:
            bindings += choices(act_space[name], name, index, task, several, free)
    if several or any(not s.discrete for s in act_space.values()):
        bindings.append(Binding('Space', 'nothing', '', (), 0))
    return bindings


def choices(space, name, index, task, several, free):
    """Bindings of an element of a discrete action; its first value is what happens without one."""
    low = int(np.broadcast_to(space.low, space.shape)[index])
    count = int(np.broadcast_to(space.classes, space.shape)[index])
    names = names_of(task, count) if not several else None
    for i in range(several, count):
        title = names[i].replace('_', ' ') if names else f'{label(name, index)} {low + i}'
        if names:
            code = KNOWN.get(names[i]) or next(free, '')
        elif count == 2 and not several:
            code = ('ArrowLeft', 'ArrowRight')[i]
        else:
            code = next(free, '')
        yield Binding(code, title, name, index, low + i)


def names_of(task, count):
    """Names of the values of the action of a task, None if they are not known."""
    for pattern, text in NAMES:
        if re.match(pattern, task) and len(text.split()) == count:
            return text.split()
    return None


def label(name, index):
    return name + ''.join(f' {i + 1}' for i in index)


def ends(space, index):
    """Lowest and highest value that keys give; where there are no bounds, -1 and 1."""
    values = (np.broadcast_to(x, space.shape)[index] for x in (space.low, space.high))
    low, high = ((x if np.isfinite(x) else end) for x, end in zip(values, (-1, 1), strict=True))
    return float(low), float(high)


def rest(act_space: dict) -> dict:
    """What happens without a key: the first value, and 0 or what is next to it."""
    result = {}
    for name, space in act_space.items():
        start = np.where(np.isfinite(space.low), space.low, 0) if space.discrete else 0
        value = start if space.discrete else np.clip(0, space.low, space.high)
        result[name] = np.broadcast_to(value, space.shape).astype(space.dtype).copy()
    return result


def action(act_space: dict, pressed: list[Binding]) -> dict:
    """The action of keys that are held together; of those for the same element the last counts."""
    result = rest(act_space)
    for binding in pressed:
        if binding.name:
            result[binding.name][binding.index] = binding.value
    return result


def describe(act_space: dict, act: dict, bindings: list[Binding]) -> str:
    """An action in words."""
    parts = []
    for name, space in act_space.items():
        for index in np.ndindex(space.shape):
            value = act[name][index] if index else act[name]
            same = [x for x in bindings if (x.name, x.index) == (name, index)]
            named = [x.text for x in same if space.discrete and x.value == value]
            if named:
                parts += named
            elif not space.discrete or len(act_space) == 1:
                parts.append(f'{label(name, index)} {float(value):.2g}')
    return ', '.join(itertools.islice(parts, 8)) or 'nothing'
