"""The world model as a game: what keys, policy and reset do, in the dream and beside it."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

import dreamerv3
from dreamerv3 import game, stored
from dreamerv3.tests import test_stored
from embodied.core import wrappers
from embodied.envs import dummy


@pytest.fixture(scope='module')
def loaded(tmp_path_factory):
    return dreamerv3.load(test_stored.dummy(tmp_path_factory.mktemp('game')))


@pytest.fixture
def world(loaded):
    env = stored.make_env(loaded.stored)
    yield game.Game(loaded, env)
    env.close()


def decode(address):
    kind, data = address.split(',')
    assert kind == 'data:image/png;base64'
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_description(world):
    about = world.describe()
    assert (about['task'], about['trained'], about['real']) == ('dummy_disc', 7, True)
    assert [x['symbol'] for x in about['keys']] == ['1', '2', '3', '4', '5']


def test_begins_with_what_the_environment_shows(world):
    state = world.reset()
    assert state['step'] == 0
    assert (decode(state['real']['images']['image']) == world.real.obs['image']).all()
    assert decode(state['dream']['images']['image']).shape == (12, 12, 3)
    assert state['real']['vectors']['step'] == [0]
    assert state['dream']['vectors'].keys() == state['real']['vectors'].keys()
    # Of what is observed only: no flags, and nothing that is logged.
    assert 'is_first' not in state['dream']['vectors']
    json.dumps(state, allow_nan=False)


def test_steps_by_keys_and_by_the_policy(world):
    states = [world.reset(), world.press([4]), world.press([0, 2]), world.pilot()]
    assert [x['step'] for x in states] == [0, 1, 2, 3]
    assert [x['action'] for x in states[:3]] == ['', 'action 4', 'action 2']
    assert len({x['dream']['images']['image'] for x in states}) == 4
    # Dummy counts its steps, and its reward is how high the action is.
    assert [x['real']['vectors']['step'] for x in states] == [[0], [1], [2], [3]]
    assert [x['real']['reward'] for x in states[:3]] == [0, 1, 0.5]
    for side in ('dream', 'real'):
        total = sum(x[side]['reward'] for x in states)
        assert states[-1][side]['score'] == pytest.approx(total)
    assert all(0 <= x['dream']['cont'] <= 1 for x in states)


def test_goes_on_dreaming_after_the_end(loaded):
    env = wrappers.wrap(dummy.Dummy('disc', size=(12, 12), length=2))
    world = game.Game(loaded, env)
    states = [world.press([0]) for _ in range(4)]
    assert [x['real']['cont'] for x in states] == [1, 0, 0, 0]
    assert states[1]['real'] == states[3]['real']
    assert states[1]['dream'] != states[3]['dream']
    assert world.reset()['real']['cont'] == 1


def test_without_environment(loaded):
    world = game.Game(loaded)
    first = world.reset()
    assert first['real'] is None
    assert world.reset()['dream'] != first['dream']  # The model makes up another beginning.
    assert world.pilot()['step'] == 1


@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_pictures(channels):
    image = np.random.default_rng(0).integers(0, 256, (4, 6, channels)).astype(np.uint8)
    shown = decode(game.picture(image))
    want = image[..., :3] if channels >= 3 else image[..., :1].repeat(3, -1)
    np.testing.assert_array_equal(shown, want)


def test_numbers_that_are_none():
    obs = {'vector': np.float32([np.inf, 1, np.nan])}
    shown = game.Side(obs, np.nan, 1).show({'vector': None})
    json.dumps(shown, allow_nan=False)
    assert (shown['reward'], shown['vectors']['vector'][1:]) == (0, [1, 0])
