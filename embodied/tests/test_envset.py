import functools

import elements
import numpy as np
import pytest

from embodied.core import driver, wrappers
from embodied.core.workers import supervisor, worker
from embodied.tests import contracts, fakes


def make_batch(n=3, how=None, at=0):
    envs = [fakes.Count(length=3 + i, offset=100 * i) for i in range(n)]
    return fakes.CountBatch(envs, how, at)


def play(envs, calls, **kwargs):
    """Transitions of each environment, and the driver."""
    drv, policy = driver.Driver(envs, False, **kwargs), fakes.CountPolicy()
    trans = [[] for _ in range(drv.length)]
    drv.on_step(lambda tran, i: trans[i].append(tran))
    drv.reset(policy.init)
    for steps in calls:
        drv(policy, steps=steps)
    return trans, drv


def test_a_batch_gives_the_transitions_of_single_environments():
    singles = [functools.partial(fakes.Count, length=3 + i, offset=100 * i) for i in range(3)]
    ours, theirs = (play(x, [30, 3])[0] for x in (make_batch, singles))
    assert len(ours) == 3 and len(ours[0]) == 11
    for left, right in zip(ours, theirs, strict=True):
        for a, b in zip(left, right, strict=True):
            contracts.assert_same(a, b)


def test_a_batch_that_writes_to_its_arrays_changes_no_transition():
    trans, _ = play(make_batch, [9])
    assert [int(x['image'][0, 0, 0]) for x in trans[0]] == [1, 2, 3]


def test_a_batch_is_saved_and_loaded():
    _, drv = play(make_batch, [12])
    state = drv.save()
    after = []
    drv.on_step(lambda tran, i: after.append(int(tran['count'])))
    drv(count_policy(), steps=6)
    trans, other = play(make_batch, [])
    assert other.load(state)
    other(count_policy(), steps=6)
    assert [int(single[i]['count']) for i in range(2) for single in trans] == after
    small = driver.Driver(functools.partial(make_batch, 2), False)
    assert not small.load(state)


def count_policy():
    policy = fakes.CountPolicy()
    policy.init(3)
    return policy


def test_a_batch_that_fails_is_made_anew_as_a_whole():
    made, told = [], []

    def fail():
        raise OSError('the server is gone')

    def make():
        made.append(make_batch(3, fail, at=0 if made else 4))
        return made[-1]

    tolerance = supervisor.Tolerance('many_games', restarts=1, tell=told.append)
    trans, _ = play(make, [18], tolerance=tolerance)
    assert [x.closed for x in made] == [1, 0]
    assert told == [
        'The batch of environments (many_games) failed at its step 4: OSError: the server is gone, '
        'starting it again (0 restarts left)'
    ]
    for single in trans:
        assert [bool(x['is_first']) for x in single[3:5]] == [True, False]
    assert [int(x['count']) for x in trans[1]] == [101, 102, 103, 101, 102, 103]


def test_values_of_a_batch_are_checked():
    class Bad(fakes.CountBatch):
        def step(self, action):
            obs = super().step(action)
            if self.rounds == 2:
                obs['reward'][1] = np.nan
            return obs

    make = lambda: Bad([fakes.Count(), fakes.Count()])
    with pytest.raises(worker.EnvError, match="step 2: ValueError: Observation 'reward' holds NaN"):
        play(make, [20])

    class Flag(fakes.CountBatch):
        def step(self, action):
            obs = super().step(action)
            obs['is_terminal'][1] = True
            return obs

    with pytest.raises(worker.EnvError, match="'is_terminal' is true while"):
        play(lambda: Flag([fakes.Count(), fakes.Count()]), [20])


def test_wrappers_take_batches():
    env = wrappers.wrap(make_batch())
    assert len(env) == 3
    move = np.full((3, 2), 5, np.float32)
    act = {'act': np.zeros(3, np.int32), 'move': move, 'reset': np.zeros(3, bool)}
    obs = env.step(act)
    assert (obs['seen_move'] == 1).all()  # Clipped.
    act['act'] = np.array([0, 10, 0], np.int32)
    with pytest.raises(ValueError, match=r"Action 'act' is 10 at \[1\], allowed is 0 to below 10"):
        env.step(act)


def test_images_of_a_batch_are_resized():
    env = wrappers.ResizeImage(make_batch(), (8, 8))
    acts = {'act': np.zeros(3, np.int32), 'move': np.zeros((3, 2)), 'reset': np.ones(3, bool)}
    obs = wrappers.check(env).step(acts)
    assert obs['image'].shape == (3, 8, 8, 3)
    assert obs['image'][:, 0, 0, 0].tolist() == [1, 101, 201]


def test_a_batch_of_one_is_an_environment():
    env = wrappers.Single(make_batch(1))
    contracts.check_env(wrappers.wrap(env))
    assert env.envs[0].count > 0 and bool(env)
    with pytest.raises(ValueError, match='has 3 environments, allowed is one'):
        wrappers.Single(make_batch(3))


def test_makers_take_what_steps_together():
    class Make:
        def __call__(self, index):
            return fakes.Count(offset=100 * index)

        def batch(self, indices):
            return fakes.CountBatch([self(x) for x in indices])

    make = Make()
    for envs in (driver.makers(make, [4, 7]), driver.makers(make.__call__, [4, 7])):
        trans, drv = play(envs, [2])
        assert [int(x[0]['count']) for x in trans] == [401, 701]
        assert drv.length == 2 and isinstance(drv.obs_space['count'], elements.Space)
