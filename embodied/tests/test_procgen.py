import numpy as np
import pytest

from embodied.envs import procgen, registry
from embodied.tests import contracts

for name in ('procgen', 'gym3', 'cffi'):
    if registry.importlib.util.find_spec(name) is None:
        pytest.skip(f'{name} is not installed', allow_module_level=True)


def act(action=4, reset=False):
    return {'action': np.int32(action), 'reset': np.bool_(reset)}


def play(env, action, steps=10000):
    obs = [env.step(act(reset=True))]
    while not obs[-1]['is_last'] and len(obs) <= steps:
        obs.append(env.step(act(action)))
    return obs


def test_games_are_those_of_the_package():
    module = procgen.packages.part('procgen.env')
    assert sorted(module.ENV_NAMES) == sorted(procgen.GAMES)


def test_time_limit_is_not_terminal():
    # Waiting in a maze, or at the lower edge of the roads, ends by the limit alone.
    for game in ('maze', 'leaper'):
        obs = play(procgen.ProcGen(game, seed=0), 4)
        assert len(obs) - 1 == procgen.LIMITS[game] == 500
        assert not obs[-1]['is_terminal']


def test_death_is_terminal_and_shows_no_other_level():
    env = procgen.ProcGen('starpilot', seed=0)
    obs = play(env, 4)
    assert len(obs) < 900 and obs[-1]['is_terminal']
    np.testing.assert_array_equal(obs[-1]['image'], obs[-2]['image'])
    first = env.step(act())
    assert first['is_first'] and (first['image'] != obs[-1]['image']).any()


def test_reset_within_an_episode_goes_to_another_level():
    env = procgen.ProcGen('coinrun', seed=0)
    obs = [env.step(act(reset=True)) for _ in range(3)]
    assert all(x['is_first'] for x in obs)
    assert not any(x['is_last'] for x in [env.step(act()) for _ in range(5)])


def test_levels():
    one = procgen.ProcGen('heist', levels=1, start=7, seed=0)
    two = procgen.ProcGen('heist', levels=1, start=7, seed=5)
    other = procgen.ProcGen('heist', levels=1, start=8, seed=0)
    images = [x.step(act(reset=True))['image'] for x in (one, one, two, other)]
    assert images[0].tobytes() == images[1].tobytes() == images[2].tobytes()
    assert images[0].tobytes() != images[3].tobytes()
    easy = procgen.ProcGen('heist', mode='easy', levels=1, start=7, seed=0)
    assert easy.step(act(reset=True))['image'].tobytes() != images[0].tobytes()


def test_continues_to_the_bit_in_a_fresh_environment():
    env = procgen.ProcGen('starpilot', seed=3)
    obs = play(env, 4)
    for extra in range(3):  # At the end of an episode, at the start of the next, within it.
        other = procgen.ProcGen('starpilot', seed=9)
        other.load(env.save())
        state = env.save()
        for i in range(20):
            contracts.assert_same(env.step(act(i % 15)), other.step(act(i % 15)))
        env.load(state)
        if extra < 2:
            obs.append(env.step(act()))
