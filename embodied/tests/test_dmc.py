import numpy as np
import pytest

from embodied.core import base, wrappers
from embodied.envs import dmc, gl, registry
from embodied.tests import contracts

pytest.importorskip('dm_control', reason='dm_control is not installed')
rendered = pytest.mark.skipif(gl.setup() == 'disable', reason=gl.HINT)


def step(env, reset=False, value=0.5):
    space = env.act_space['action']
    return env.step({'action': np.full(space.shape, value, np.float32), 'reset': np.bool_(reset)})


@pytest.mark.parametrize(
    'task, shape',
    [
        ('walker_walk', (6,)),
        ('ball_in_cup_catch', (2,)),
        ('cup_catch', (2,)),
        ('point_mass_easy', (2,)),
        ('humanoid_CMU_stand', (56,)),
        ('manipulator_bring_ball', (5,)),
        ('manip_reach_site', (9,)),
    ],
)
def test_names(task, shape):
    env = dmc.DMC(task, image=False, seed=0)
    assert env.act_space['action'].shape == shape
    first = step(env, reset=True)
    assert first['is_first'] and all(first[k] in v for k, v in env.obs_space.items())
    env.close()


@pytest.mark.slow
@rendered
@pytest.mark.parametrize('task', ['locom_rodent_run_gaps', 'manip_lift_brick'])
def test_composed_environments(task):
    env = wrappers.wrap(dmc.DMC(task, size=(32, 48), seed=0))
    contracts.check_env(env, steps=30)


@rendered
def test_vectors_and_images():
    both = dmc.DMC('walker_walk', size=(32, 48), seed=0)
    vision = dmc.DMC('walker_walk', size=(32, 48), proprio=False, seed=0)
    vectors = dmc.DMC('walker_walk', image=False, seed=0)
    names = {'orientations', 'height', 'velocity'}
    assert {*both.obs_space} == {*names, 'image', *base.FLAGS}
    assert {*vision.obs_space} == {'image', *base.FLAGS}
    assert {*vectors.obs_space} == {*names, *base.FLAGS}
    one, two, three = (step(x, reset=True) for x in (both, vision, vectors))
    np.testing.assert_array_equal(one['image'], two['image'])
    np.testing.assert_array_equal(one['velocity'], three['velocity'])
    assert one['image'].shape == (32, 48, 3) and one['image'].std() > 10
    with pytest.raises(ValueError, match=r'^env.dmc.image: got False'):
        dmc.DMC('walker_walk', proprio=False, image=False)


def test_action_repeat_and_time_limit():
    once, twice = (dmc.DMC('cartpole_balance', repeat=x, image=False, seed=0) for x in (1, 2))
    rewards = []
    for env, steps in ((once, 1000), (twice, 500)):
        step(env, reset=True)
        obs = [step(env) for _ in range(steps)]
        assert [bool(x['is_last']) for x in obs] == [False] * (steps - 1) + [True]
        assert not any(x['is_terminal'] for x in obs)
        rewards.append([float(x['reward']) for x in obs])
    np.testing.assert_allclose(np.reshape(rewards[0], (500, 2)).sum(1), rewards[1], rtol=1e-5)


@rendered
def test_cameras():
    make = lambda **kwargs: dmc.DMC('quadruped_walk', size=(32, 32), seed=0, **kwargs)
    default, second, zero = (
        step(make(**x), reset=True)['image'] for x in ({}, {'camera': 2}, {'camera': 0})
    )
    np.testing.assert_array_equal(default, second)
    assert (default != zero).any()


@rendered
def test_fast_rendering_leaves_out_shadows():
    images = [
        step(dmc.DMC('walker_walk', fast=x, seed=0), reset=True)['image'] for x in (False, True)
    ]
    assert (images[0] != images[1]).any()
    assert np.abs(images[0].astype(int) - images[1]).mean() < 20


def test_a_finished_environment():
    from dm_control import suite

    env = dmc.DMC(suite.load('pendulum', 'swingup'), image=False)
    assert env.obs_space['orientation'].shape == (2,)


def test_unknown_task_has_the_nearest_names():
    with pytest.raises(ValueError, match=r"unknown dmc task 'walker_wlk', did you mean walker_wal"):
        registry.check('dmc_walker_wlk')


def test_rendering_that_is_not_possible(monkeypatch):
    monkeypatch.setattr(gl, 'setup', lambda: 'disable')
    with pytest.raises(ValueError, match=r'^rendering needs EGL or OSMesa: apt install') as info:
        dmc.DMC('walker_walk')
    assert '\n' not in str(info.value)
    dmc.DMC('walker_walk', image=False)
