import functools
import itertools
import os
import signal

import elements
import numpy as np
import pytest

from embodied.core import driver
from embodied.core.workers import envset, worker
from embodied.tests import contracts, fakes


def collect(fns, parallel, policy, calls, **kwargs):
    """Transitions per worker of a driver that is called with each of `calls`."""
    trans = [[] for _ in fns]
    drv = driver.Driver(fns, parallel, **kwargs)
    drv.on_step(lambda tran, i, **kw: trans[i].append(tran))
    try:
        drv.reset(policy.init)
        for call in calls:
            drv(policy, **call)
    finally:
        drv.close()
    return trans


def counters(n=3):
    return [functools.partial(fakes.Count, length=3 + i, offset=100 * i) for i in range(n)]


def test_transition_holds_the_action_chosen_after_its_observation():
    (trans,) = collect([fakes.Count], False, fakes.CountPolicy(), [{'steps': 14}])
    assert [int(x['count']) for x in trans] == list(range(1, 15))  # Nothing lost or doubled.
    for prev, tran in itertools.pairwise(trans):
        assert tran['seen_act'] == prev['act']
        np.testing.assert_array_equal(tran['seen_move'], prev['move'])
        if not prev['is_last']:
            assert prev['act'] == 1 + prev['count'] % 9
    assert 'reset' not in trans[0]


def test_last_step_zeroes_actions_and_next_one_is_first():
    (trans,) = collect([fakes.Count], False, fakes.CountPolicy(), [{'steps': 14}])
    assert [int(x['step']) for x in trans] == [*range(6), *range(6), 0, 1]
    for i, tran in enumerate(trans):
        assert tran['is_first'] == (i % 6 == 0)
        assert tran['is_last'] == tran['is_terminal'] == (i % 6 == 5)
        if tran['is_last']:
            assert tran['act'] == 0 and (tran['move'] == 0).all()
        else:
            assert tran['act'] > 0 and (tran['move'] == 0.5).all()


def test_policy_sees_no_log_keys_and_callbacks_do():
    policy = fakes.CountPolicy()
    trans = collect(counters(2), False, policy, [{'steps': 4}], mode='eval')
    obs, kwargs = policy.seen[0]
    assert 'log/half' not in obs and 'count' in obs and obs['image'].shape == (2, 4, 6, 3)
    assert kwargs == {'mode': 'eval'}
    assert trans[0][1]['log/half'] == 0.5
    assert [int(x['call']) for x in trans[1]] == [0, 1]  # Carry and outputs of the policy.


def test_callbacks_get_worker_index_and_kwargs_in_order():
    calls = []
    drv = driver.Driver(counters(2), parallel=False, flag=7)
    drv.on_step(lambda tran, i, flag: calls.append(('a', i, flag, int(tran['count']))))
    drv.on_step(lambda tran, i, flag: calls.append(('b', i, flag, int(tran['count']))))
    policy = fakes.CountPolicy()
    drv.reset(policy.init)
    drv(policy, steps=1)
    assert calls == [('a', 0, 7, 1), ('b', 0, 7, 1), ('a', 1, 7, 101), ('b', 1, 7, 101)]


def test_steps_count_single_environments_and_rounds_are_whole():
    calls = [{'steps': 7}, {'steps': 3}, {}, {'steps': 1}]
    trans = collect(counters(3), False, fakes.CountPolicy(), calls)
    assert [len(x) for x in trans] == [3 + 1 + 0 + 1] * 3


def test_episodes_count_over_all_environments():
    trans = collect(counters(3), False, fakes.CountPolicy(), [{'episodes': 2}])
    # Lengths 3 and 4 end with the rounds 4 and 5.
    assert sum(int(x['is_last']) for ts in trans for x in ts) == 2
    assert len(trans[0]) == 5
    trans = collect(counters(3), False, fakes.CountPolicy(), [{'episodes': 1, 'steps': 30}])
    assert len(trans[0]) == 10


def test_reset_begins_new_episodes_with_a_new_carry():
    drv = driver.Driver(counters(2), parallel=False)
    trans, policy = [], fakes.CountPolicy()
    drv.on_step(lambda tran, i: trans.append(tran))
    for _ in range(2):
        drv.reset(policy.init)
        drv(policy, steps=4)
    assert [bool(x['is_first']) for x in trans] == [True, True, False, False] * 2
    assert [int(x['call']) for x in trans] == [0, 0, 1, 1] * 2


def test_transitions_are_never_overwritten():
    class Reusing(fakes.Count):
        buffer = np.zeros((4, 6, 3), np.uint8)

        def step(self, action):
            obs = super().step(action)
            action['move'][:] = 99  # Rude, but possible.
            self.buffer[:] = obs['image']
            return {**obs, 'image': self.buffer}

    (trans,) = collect([Reusing], False, fakes.CountPolicy(), [{'steps': 6}])
    assert [int(x['image'][0, 0, 0]) for x in trans] == [1, 2, 3, 4, 5, 6]
    assert [int(x['act']) for x in trans] == [2, 3, 4, 5, 6, 0]
    assert all((x['move'] == 0.5).all() for x in trans[:-1])


def test_parallel_gives_the_same_transitions():
    runs = [
        collect(counters(3), parallel, fakes.CountPolicy(), [{'steps': 30}, {'episodes': 2}])
        for parallel in (False, True)
    ]
    assert len(runs[0][0]) > 10
    for ours, theirs in zip(*runs, strict=True):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            contracts.assert_same(a, b)


@pytest.mark.parametrize('parallel', [False, True])
def test_failing_constructor_names_the_environment(parallel):
    def broken():
        raise KeyError('no such level')

    with pytest.raises(worker.EnvError, match=r"(?s)Environment 1 could not.*KeyError: 'no such"):
        driver.Driver([fakes.Count, broken], parallel)


@pytest.mark.parametrize('parallel', [False, True])
def test_failing_step_names_environment_step_and_cause(parallel):
    def fail():
        raise OSError('lost connection')

    fns = [fakes.Count, functools.partial(fakes.Failing, fail, at=3)]
    drv = driver.Driver(fns, parallel)
    policy, trans = fakes.CountPolicy(), []
    drv.on_step(lambda tran, i: trans.append(tran))
    drv.reset(policy.init)
    with pytest.raises(worker.EnvError) as info:
        drv(policy, steps=100)
    drv.close()
    first, *rest = str(info.value).splitlines()
    assert first == 'Environment 1 failed at its step 3: OSError: lost connection'
    assert any('in fail' in line for line in rest)
    assert len(trans) == 4  # Two whole rounds, nothing of the third.


def test_failure_of_one_does_not_mix_up_the_others():
    def fail():
        raise ValueError('once')

    drv = driver.Driver([functools.partial(fakes.Failing, fail, at=2), fakes.Count], False)
    policy, counts = fakes.CountPolicy(), []
    drv.on_step(lambda tran, i: counts.append((i, int(tran['count']))))
    drv.reset(policy.init)
    with pytest.raises(worker.EnvError, match='once'):
        drv(policy, steps=6)
    drv(policy, steps=2)
    assert counts == [(0, 1), (1, 1), (0, 3), (1, 3)]


def test_bad_observations_are_named():
    spaces = {'x': elements.Space(np.float32)}, {'act': elements.Space(np.int32, (), 0, 2)}

    def policy(carry, obs):
        return carry, {'act': np.zeros(1, np.int32)}, {}

    for obs, message in (
        ({'x': np.float32(1), 'y': 2}, r"unknown keys \['y'\]"),
        ({}, r"missing keys \['x'\]"),
    ):
        drv = driver.Driver([lambda: fakes.Script(*spaces, [obs])], parallel=False)
        with pytest.raises(worker.EnvError, match=f'Environment 0.*{message}'):
            drv(policy, steps=1)


@pytest.mark.parametrize(
    'change, message',
    [
        ({'act': None}, "did not return the action 'act'"),
        ({'move': np.zeros((2, 3))}, r"'move' with shape \(2, 3\).*\(2, 2\)"),
        ({'act': np.zeros(3)}, r"'act' with shape \(3,\).*\(2,\)"),
        ({'jump': np.zeros(2)}, "the action 'jump', which the environment does not have"),
    ],
)
def test_wrong_actions_are_named(change, message):
    def policy(carry, obs):
        acts = {'act': np.zeros(2, np.int32), 'move': np.zeros((2, 2)), **change}
        return carry, {k: v for k, v in acts.items() if v is not None}, {}

    with pytest.raises(ValueError, match=message):
        driver.Driver(counters(2), parallel=False)(policy, steps=1)


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_action_that_is_not_finite_is_not_blamed_on_an_environment(value):
    def policy(carry, obs):
        move = np.zeros((2, 2), np.float32)
        move[1, 0] = value
        return carry, {'act': np.zeros(2, np.int32), 'move': move}, {}

    drv = driver.Driver(counters(2), parallel=False)
    drv.on_step(lambda tran, i: pytest.fail('It would reach replay.'))
    message = rf"the action 'move' with \[{value}, 0.0\] for environment 1"
    with pytest.raises(FloatingPointError, match=message):
        drv(policy, steps=1)


def test_environments_have_to_agree_in_their_spaces():
    class Other(fakes.Count):
        @property
        def act_space(self):
            return {**super().act_space, 'act': elements.Space(np.int32, (), 0, 11)}

    with pytest.raises(worker.EnvError, match=r"Environment 1 differs .* space of 'act'"):
        driver.Driver([fakes.Count, Other], parallel=False)


def test_no_environment_is_an_error():
    with pytest.raises(ValueError, match='at least one'):
        driver.Driver([])


def test_close_reaches_every_environment_once():
    envs = [fakes.Count(), fakes.Count()]
    drv = driver.Driver([lambda: envs[0], lambda: envs[1]], parallel=False)
    drv.close()
    drv.close()
    assert [x.closed for x in envs] == [1, 1]


def test_close_does_not_wait_for_each_that_hangs(monkeypatch):
    class Hanging(fakes.Spy):
        def close(self):
            signal.pause()

    monkeypatch.setattr(envset, 'CLOSE_SECONDS', 0)
    drv = driver.Driver([Hanging, Hanging])
    pids = []
    drv.on_step(lambda tran, i: pids.append(int(tran['log/pid'])))
    policy = fakes.CountPolicy()
    drv.reset(policy.init)
    drv(policy, steps=2)
    drv.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
