import json

import numpy as np
import pytest

from embodied.core import wrappers
from embodied.envs import crafter, registry
from embodied.tests import contracts

pytest.importorskip('crafter', reason='crafter is not installed')


def act(action=0, reset=False):
    return {'action': np.int32(action), 'reset': np.bool_(reset)}


def rollout(env, steps, seed=0):
    rng = np.random.default_rng(seed)
    obs = [env.step(act(reset=True))]
    for _ in range(steps - 1):
        obs.append(env.step(act(rng.integers(0, 17), obs[-1]['is_last'])))
    return obs


def test_contract():
    env = wrappers.wrap(registry.make('crafter_reward', seed=0, logs=True))
    contracts.check_env(env, steps=30, seed=1)
    assert sum(x.startswith('log/achievement_') for x in env.obs_space) == 22


def test_seed_decides():
    one, two = (rollout(crafter.Crafter('reward', seed=1), 100) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        contracts.assert_same(a, b)
    other = rollout(crafter.Crafter('reward', seed=2), 1)
    assert (one[0]['image'] != other[0]['image']).any()


def test_draws_do_not_depend_on_memory_addresses():
    # The package keeps creatures in sets; here their order is turned round in one of two runs.
    def run(turn):
        env = crafter.Crafter('reward', seed=6)
        env.step(act(reset=True))
        inner, maps = env._env, []
        balance = inner._balance_chunk
        inner._balance_chunk = lambda chunk, objs: balance(
            chunk, sorted(objs, key=id, reverse=turn)
        )
        for _ in range(60):
            env.step(act())
            maps.append(inner._world._obj_map.tobytes())
        return maps

    assert run(False) == run(True)


def test_size_is_height_and_width():
    env = crafter.Crafter('noreward', size=(32, 96), seed=0)
    obs = env.step(act(reset=True))
    assert obs['image'].shape == env.obs_space['image'].shape == (32, 96, 3)
    assert env.render().shape == (32, 96, 3)
    # The inventory is at the bottom: black there, except for the four icons at its left.
    assert (obs['image'][-3:, 60:] == 0).all()
    assert (obs['image'][:20, 60:] != 0).any()


def test_death_is_terminal_and_the_length_limit_is_not():
    env = crafter.Crafter('reward', seed=0)
    env.step(act(reset=True))
    env._env._step = 9998
    assert not env.step(act())['is_last']
    obs = env.step(act())
    assert obs['is_last'] and not obs['is_terminal']
    assert env.step(act(reset=True))['is_first']
    env._env._player.health = 0
    obs = env.step(act())
    assert obs['is_last'] and obs['is_terminal']
    assert env.step(act())['is_first']  # Starts over also without being told.


def test_achievements_and_stats(tmp_path):
    envs = [
        crafter.Crafter(task, logs=True, logdir=tmp_path / 'stats', seed=5)
        for task in ('reward', 'noreward')
    ]
    for env, reward in zip(envs, (1.0, 0.0), strict=True):
        env.step(act(reset=True))
        env._env._player.achievements['collect_wood'] = 2
        obs = env.step(act())
        assert obs['log/achievement_collect_wood'] == 2
        assert obs['log/achievement_place_table'] == 0
        assert obs['reward'] == reward
        env._env._player.health = 0
        env.step(act())
    lines = (tmp_path / 'stats' / 'stats_5.jsonl').read_text().splitlines()
    first, second = map(json.loads, lines)
    assert first == second
    assert first['length'] == 2 and first['achievement_collect_wood'] == 2
    assert first['reward'] == pytest.approx(0.1)  # 1 for the wood, -0.9 for nine lost health.


def test_score_is_the_geometric_mean_of_success_rates():
    assert crafter.score(np.zeros(22)) == 0 and crafter.score(np.ones(22)) == pytest.approx(100)
    assert crafter.score([0.5, 0.0]) == pytest.approx(51**0.5 - 1)
    env = crafter.Crafter('reward', logs=True, seed=0)
    scores = []
    for i in range(3):
        env.step(act(reset=True))
        env._env._player.achievements['collect_wood'] = i % 2
        env._env._player.health = 0
        scores.append(float(env.step(act())['log/crafter_score']))
    rates = ([0], [1 / 2], [1 / 3])  # Of one of 22.
    assert scores == pytest.approx([crafter.score(x + [0] * 21) for x in rates])
    env.close()


def test_worlds_are_made_ahead_and_are_those_of_the_package(monkeypatch):
    monkeypatch.setattr(crafter, 'AHEAD', 2)
    env = crafter.Crafter('reward', seed=4)
    plain = crafter._make((64, 64), True, 4)
    for _ in range(2):
        image = env.step(act(reset=True))['image']
        np.testing.assert_array_equal(image, plain.reset())
        assert env._next is None
        for _ in range(2):
            np.testing.assert_array_equal(env.step(act(3))['image'], plain.step(3)[0])
        assert env._next.result().shape == (64, 64, 3)
        assert env._spare._step == 0  # The next one waits.
    env.close()


def test_unknown_task_is_named():
    with pytest.raises(ValueError, match="'win', allowed are reward, noreward"):
        registry.make('crafter_win')
