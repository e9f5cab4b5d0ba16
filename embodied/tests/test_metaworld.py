"""Runs where metaworld is installed, which excludes dm_control."""

import importlib.util

import numpy as np
import pytest

from embodied.envs import gl, metaworld, registry

if importlib.util.find_spec('metaworld') is None:
    pytest.skip('metaworld is not installed', allow_module_level=True)


def step(env, reset=False):
    return env.step({'action': np.full(4, 0.1, np.float32), 'reset': np.bool_(reset)})


def test_limit_is_not_terminal_and_repeat_sums_rewards():
    rewards = []
    for repeat in (1, 2):
        env = metaworld.MetaWorld('door-open', repeat=repeat, image=False, seed=0)
        assert 'image' not in env.obs_space and step(env, True)['reward'] == 0
        obs = [step(env) for _ in range(500 // repeat)]
        assert [bool(x['is_last']) for x in obs] == [False] * (len(obs) - 1) + [True]
        assert not any(x['is_terminal'] for x in obs)
        rewards.append([float(x['reward']) for x in obs])
        env.close()
    np.testing.assert_allclose(np.reshape(rewards[0], (250, 2)).sum(1), rewards[1], rtol=1e-5)


@pytest.mark.skipif(gl.setup() == 'disable', reason=gl.HINT)
def test_image_is_upright():
    env = metaworld.MetaWorld('door-open', size=(48, 64), proprio=False, seed=0)
    image = step(env, True)['image'].astype(float)
    assert image.shape == (48, 64, 3) and 'state' not in env.obs_space
    wood = (image[..., 0] > 1.2 * image[..., 2]) & (image[..., 0] < 1.9 * image[..., 1])
    assert wood[24:].sum() > 4 * wood[:16].sum()  # The table is below.
    env.close()


def test_goals_differ_between_episodes():
    env = metaworld.MetaWorld('reach', image=False, seed=0)
    goals = {step(env, True)['state'][-3:].tobytes() for _ in range(8)}
    assert len(goals) > 3


def test_names():
    with pytest.raises(ValueError, match=r"'dor-open', did you mean door-open"):
        registry.check('metaworld_dor-open')
    with pytest.raises(ValueError, match=r'^env.metaworld.image: got False'):
        metaworld.MetaWorld('door-open', proprio=False, image=False)
