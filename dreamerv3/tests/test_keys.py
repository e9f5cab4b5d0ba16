"""Which keys do which actions."""

import elements
import numpy as np
import pytest

from dreamerv3 import keys
from embodied.core.wrappers.spaces import fit
from embodied.envs import dummy

CHOICE = {'action': elements.Space(np.int32, (), 0, 2)}
MOVE = {'action': elements.Space(np.float32, (2,), -1, 1)}


def named(bindings):
    return {x.text: x.code for x in bindings}


def test_two_choices_are_left_and_right():
    bindings = keys.bind({'lever': CHOICE['action']})
    assert named(bindings) == {'lever 0': 'ArrowLeft', 'lever 1': 'ArrowRight'}
    assert keys.action({'lever': CHOICE['action']}, [bindings[1]]) == {'lever': 1}


@pytest.mark.parametrize(
    'task, count, some',
    [
        ('gym_CartPole-v1', 2, {'left': 'ArrowLeft', 'right': 'ArrowRight'}),
        ('crafter_reward', 17, {'noop': 'Digit1', 'do': 'Space', 'up': 'ArrowUp'}),
        ('atari_pong', 18, {'fire': 'Space', 'up right': 'Digit2', 'down left fire': 'KeyE'}),
        ('gym_minigrid:MiniGrid-Empty-5x5-v0', 7, {'forward': 'ArrowUp', 'toggle': 'Space'}),
        ('atari_pong', 6, {'action 0': 'Digit1', 'action 5': 'Digit6'}),
        ('other_task', 3, {'action 0': 'Digit1', 'action 2': 'Digit3'}),
    ],
)
def test_known_tasks(task, count, some):
    bindings = keys.bind({'action': elements.Space(np.int32, (), 0, count)}, task)
    assert [x.value for x in bindings] == list(range(count))
    assert some.items() <= named(bindings).items()


def test_names_are_those_of_crafter():
    crafter = pytest.importorskip('crafter')
    short = [x.removeprefix('move_').removeprefix('make_') for x in crafter.constants.actions]
    assert short == keys.CRAFTER.split()


@pytest.mark.parametrize('task', dummy.ACTIONS)
def test_every_key_is_one_action(task):
    spaces = dummy.ACTIONS[task]
    bindings = keys.bind(spaces)
    codes = [x.code for x in bindings]
    assert len(set(codes)) == len(codes) and all(codes)
    assert not {'Enter', 'Backspace'} & set(codes)  # They belong to the page.
    seen = set()
    for binding in bindings:
        action = keys.action(spaces, [binding])
        fit('Action', action, spaces)
        seen.add(str(action))
    assert len(seen) == len(bindings)


def test_keys_are_held_together():
    left, right, down, up, nothing = keys.bind(MOVE)
    assert (left.code, down.code, nothing.code) == ('ArrowLeft', 'ArrowDown', 'Space')
    act = lambda *pressed: keys.action(MOVE, pressed)['action'].tolist()
    assert act(right, up) == [1, 1]
    assert act(left, right) == [1, 0]
    assert act(nothing) == act() == [0, 0]


def test_more_actions_than_keys():
    bindings = keys.bind({'action': elements.Space(np.float32, (20,), -1, 1)})
    assert len(bindings) == 41
    assert [x.code for x in bindings].count('') == 18
    assert bindings[-2].symbol == ''


def test_without_bounds():
    space = {'action': elements.Space(np.float32)}
    low, high, _ = keys.bind(space)
    assert (low.value, high.value) == (-1, 1)
    assert keys.rest(space) == {'action': 0}
    assert keys.rest({'action': elements.Space(np.float32, (), 2, 5)}) == {'action': 2}


def test_description():
    bindings = keys.bind(CHOICE, 'gym_CartPole-v1')
    assert keys.describe(CHOICE, {'action': np.int32(1)}, bindings) == 'right'
    moves = keys.bind(MOVE)
    text = keys.describe(MOVE, {'action': np.float32([0.5, -1])}, moves)
    assert text == 'action 1 0.5, action 2 -1'
