import builtins

import elements
import numpy as np
import pytest

from embodied.core import base, wrappers
from embodied.tests import contracts, fakes

INF = np.inf
NO = np.bool_(False)
YES = np.bool_(True)


def box(low, high, dtype=np.float32):
    return elements.Space(dtype, np.shape(low), np.array(low), np.array(high))


def script(observations=(), act=None, **spaces):
    """An environment that gives these observations, with continuous `action` unless told."""
    act = act or elements.Space(np.float32, (2,), -1, 1)
    return fakes.Script(spaces, {'action': act}, observations)


def count_action(reset=False):
    return {'act': np.int32(1), 'move': np.zeros(2, np.float32), 'reset': np.bool_(reset)}


def rollout(env, resets):
    return [env.step(count_action(x)) for x in resets]


class TestClipAction:
    def test_clips_what_the_environment_gets_and_leaves_the_rest(self):
        inner = script([{}])
        env = wrappers.ClipAction(inner)
        action = {'action': np.array([-3, 0.5], np.float32), 'reset': NO}
        env.step(action)
        np.testing.assert_array_equal(inner.actions[0]['action'], np.float32([-1, 0.5]))
        assert inner.actions[0]['action'].dtype == np.float32
        assert action['action'][0] == -3

    def test_bounds_can_be_arrays(self):
        inner = script([{}])
        env = wrappers.ClipAction(inner, 'action', np.array([-INF, 0]), np.array([INF, 2]))
        env.step({'action': np.array([-50, 3], np.float32), 'reset': NO})
        assert inner.actions[0]['action'].tolist() == [-50, 2]

    def test_unknown_key_is_named(self):
        with pytest.raises(ValueError, match=r"no action 'torque'.*\['action', 'reset'\]"):
            wrappers.ClipAction(script(), 'torque')


class TestNormalizeAction:
    def test_maps_to_the_bounds_where_both_are_finite(self):
        inner = script([{}] * 3, box([-2, -INF, 0, 10], [4, 5, INF, 11]))
        env = wrappers.NormalizeAction(inner)
        space = env.act_space['action']
        assert space.low.tolist() == [-1, -INF, 0, -1]
        assert space.high.tolist() == [1, 5, INF, 1]
        for value, want in (
            ([-1, -7, 3, -1], [-2, -7, 3, 10]),
            ([1, 5, 0, 1], [4, 5, 0, 11]),
            ([0, 0, 1, 0.5], [1, 0, 1, 10.75]),
        ):
            env.step({'action': np.float32(value), 'reset': NO})
            assert inner.actions[-1]['action'].tolist() == want
            assert inner.actions[-1]['action'].dtype == np.float32

    def test_bounds_are_hit_exactly(self):
        low, high = np.float32([-0.1, 1e-7, -3e38]), np.float32([0.3, 3.3, 3e38])
        inner = script([{}] * 2, box(low, high))
        env = wrappers.NormalizeAction(inner)
        for value, want in ((-1, low), (1, high)):
            env.step({'action': np.full(3, value, np.float32), 'reset': NO})
            np.testing.assert_array_equal(inner.actions[-1]['action'], want)

    def test_discrete_action_is_an_error(self):
        with pytest.raises(ValueError, match="'act' is discrete"):
            wrappers.NormalizeAction(fakes.Count(), 'act')


class TestDiscretizeAction:
    def test_several_dimensions_with_own_bounds(self):
        inner = script([{}] * 2, box([-1, 0], [1, 8]))
        env = wrappers.DiscretizeAction(inner, bins=5)
        space = env.act_space['action']
        assert space.shape == (2,) and space.classes.tolist() == [5, 5]
        for index, want in (([0, 4], [-1, 8]), ([3, 1], [0.5, 2])):
            env.step({'action': np.int32(index), 'reset': NO})
            assert inner.actions[-1]['action'].tolist() == want
            assert inner.actions[-1]['action'].dtype == np.float32

    def test_without_dimensions(self):
        inner = script([{}], box(-1, 1))
        env = wrappers.DiscretizeAction(inner, bins=3)
        assert env.act_space['action'].classes == 3
        env.step({'action': np.int32(2), 'reset': NO})
        assert inner.actions[0]['action'] == 1 and inner.actions[0]['action'].shape == ()

    def test_wrong_arguments(self):
        with pytest.raises(ValueError, match='infinite bounds'):
            wrappers.DiscretizeAction(script(act=box([0], [INF])))
        with pytest.raises(ValueError, match='bins=1'):
            wrappers.DiscretizeAction(script(), bins=1)


class TestTimeLimit:
    def test_limit_is_last_but_not_terminal(self):
        env = wrappers.TimeLimit(fakes.Count(length=100), 3)
        obs = rollout(env, [1, 0, 0, 0, 1, 0, 0, 0, 1])
        assert [int(x['step']) for x in obs] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
        assert [bool(x['is_last']) for x in obs] == [False, False, False, True] * 2 + [False]
        assert not any(x['is_terminal'] for x in obs)

    def test_own_end_stays_terminal(self):
        env = wrappers.TimeLimit(fakes.Count(length=3), 3)
        assert rollout(env, [1, 0, 0, 0])[-1]['is_terminal']
        env = wrappers.TimeLimit(fakes.Count(length=2), 3)
        obs = rollout(env, [1, 0, 0, 1, 0, 0])
        assert [bool(x['is_last']) for x in obs] == [False, False, True] * 2

    def test_reset_in_the_middle_starts_the_time_anew(self):
        env = wrappers.TimeLimit(fakes.Count(length=100), 3)
        obs = rollout(env, [1, 0, 0, 1, 0, 0, 0])
        assert [bool(x['is_last']) for x in obs] == [False] * 6 + [True]

    def test_first_step_resets_also_without_being_told(self):
        env = wrappers.TimeLimit(fakes.Count(), 3)
        assert rollout(env, [0])[0]['is_first']

    def test_zero_is_no_limit_and_negative_an_error(self):
        env = wrappers.TimeLimit(fakes.Count(length=10**6), 0)
        assert not any(x['is_last'] for x in rollout(env, [1] + [0] * 50))
        with pytest.raises(ValueError, match='duration=-1'):
            wrappers.TimeLimit(fakes.Count(), -1)

    def test_without_reset_the_environment_goes_on(self):
        inner = fakes.Count(length=5)
        env = wrappers.TimeLimit(inner, 2, reset=False)
        obs = rollout(env, [1, 0, 0, 1, 0, 0, 1, 0, 1])
        #                   real cut   soft  cut  soft own end, real
        assert [int(x['step']) for x in obs] == [0, 1, 2, 2, 3, 4, 4, 5, 0]
        assert [int(x['count']) for x in obs] == [1, 2, 3, 3, 4, 5, 5, 6, 7]
        assert [int(x['reward']) for x in obs] == [0, 1, 2, 0, 3, 4, 0, 5, 0]
        assert [bool(x['is_first']) for x in obs] == [bool(x) for x in (1, 0, 0, 1, 0, 0, 1, 0, 1)]
        assert [bool(x['is_last']) for x in obs] == [bool(x) for x in (0, 0, 1, 0, 0, 1, 0, 1, 0)]
        assert [bool(x['is_terminal']) for x in obs] == [False] * 7 + [True, False]

    @pytest.mark.parametrize('reset', [True, False])
    def test_state_goes_along(self, reset):
        def make():
            return wrappers.TimeLimit(fakes.Count(length=100), 3, reset)

        for steps in range(5):  # Also right at the limit.
            env, other = make(), make()
            rollout(env, ([1, 0, 0, 0, 1])[:steps])
            other.load(env.save())
            resets = ([1, 0, 0, 0] * 3)[steps:]
            for a, b in zip(rollout(env, resets), rollout(other, resets), strict=True):
                contracts.assert_same(a, b)

    def test_no_state_without_that_of_the_environment(self):
        env = wrappers.TimeLimit(script(), 3)
        assert not hasattr(env, 'save') and not hasattr(env, 'load')


class TestActionRepeat:
    def test_sums_rewards_and_stops_at_the_end(self):
        env = wrappers.ActionRepeat(fakes.Count(length=5), 3)
        obs = rollout(env, [1, 0, 0, 1, 0])
        assert [int(x['count']) for x in obs] == [1, 4, 6, 7, 10]
        assert [float(x['reward']) for x in obs] == [0, 1 + 2 + 3, 4 + 5, 0, 6]
        assert [bool(x['is_last']) for x in obs] == [False, False, True, False, False]
        assert obs[1]['reward'].dtype == np.float32

    def test_has_to_be_positive(self):
        with pytest.raises(ValueError, match='repeat=0'):
            wrappers.ActionRepeat(fakes.Count(), 0)


class TestUnifyDtypes:
    def test_values_and_spaces(self):
        spaces = {
            'f64': elements.Space(np.float64, (2,), -0.1, 0.1),
            'f16': elements.Space(np.float16),
            'i64': elements.Space(np.int64),
            'i8': elements.Space(np.int8, (2,), 0, 5),
            'u16': elements.Space(np.uint16),
            'u64': elements.Space(np.uint64),
            'u8': elements.Space(np.uint8, (2, 2, 3)),
            'flag': elements.Space(bool),
        }
        obs = {k: np.zeros(v.shape, v.dtype) for k, v in spaces.items()}
        obs['f64'] = np.array([-0.1, 0.1])
        env = wrappers.UnifyDtypes(script([obs], **spaces))
        got = env.step({'action': np.zeros(2, np.float32), 'reset': NO})
        want = dict.fromkeys(['f64', 'f16', 'reward'], np.float32)
        want |= dict.fromkeys(['i64', 'i8', 'u16', 'u64'], np.int32)
        want |= {'u8': np.uint8, 'flag': bool}
        for key, dtype in want.items():
            assert env.obs_space[key].dtype == dtype, key
            assert got[key].dtype == dtype, key
            assert got[key] in env.obs_space[key], key
        assert env.obs_space['i8'].classes.tolist() == [5, 5]

    def test_actions_go_back_to_the_dtype_of_the_environment(self):
        inner = script([{}], elements.Space(np.int64, (), 0, 5))
        env = wrappers.UnifyDtypes(inner)
        assert env.act_space['action'].dtype == np.int32 and env.act_space['action'].classes == 5
        env.step({'action': np.int32(3), 'reset': NO})
        assert inner.actions[0]['action'].dtype == np.int64

    def test_python_numbers(self):
        env = wrappers.UnifyDtypes(script([{'n': 3, 'reward': 1}], n=elements.Space(np.int32)))
        obs = env.step({'action': np.zeros(2, np.float32), 'reset': NO})
        assert obs['n'].dtype == np.int32 and obs['reward'].dtype == np.float32

    @pytest.mark.parametrize('value', [0.5, 2**40, None, 'text'])
    def test_damage_is_left_to_the_check(self, value):
        inner = script([{'n': value}], n=elements.Space(np.int64))
        env = wrappers.CheckSpaces(wrappers.UnifyDtypes(inner))
        with pytest.raises(ValueError, match="Observation 'n' has dtype"):
            env.step({'action': np.zeros(2, np.float32), 'reset': NO})


SPACES = {
    'vec': box([0, -INF], [1, INF]),
    'cls': elements.Space(np.int32, (2,), 0, np.array([2, 3])),
    'img': elements.Space(np.uint8, (2, 2, 3)),
}
GOOD = {
    'vec': np.float32([1, -9]),
    'cls': np.int32([1, 2]),
    'img': np.full((2, 2, 3), 255, np.uint8),
}


class TestCheckSpaces:
    def step(self, change, act=None):
        obs = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
        env = wrappers.CheckSpaces(script([obs], **SPACES))
        action = {'action': np.zeros(2, np.float32), 'reset': NO}
        return env.step({**action, **(act or {})})

    def test_good_ones_pass_unchanged(self):
        obs = self.step({})
        assert obs['img'] is GOOD['img']

    @pytest.mark.parametrize(
        'change, message',
        [
            ({'vec': np.float32([np.nan, 0])}, "'vec' holds NaN; its space is float32 "),
            ({'vec': np.float32([0, INF])}, "'vec' holds infinity"),
            (
                {'vec': np.float32([1.5, 0])},
                r"'vec' is 1.5 at \[0\], allowed is 0.0 to 1.0; .* float32 \(2,\)",
            ),
            ({'vec': np.float64([0, 0])}, r"'vec' has dtype float64 and shape \(2,\)"),
            ({'vec': np.float32([[0, 0]])}, r"'vec' has dtype float32 and shape \(1, 2\)"),
            ({'cls': np.int32([1, 3])}, r"'cls' is 3 at \[1\], allowed is 0 to below 3"),
            ({'cls': np.int32([-1, 0])}, r"'cls' is -1 at \[0\], allowed is 0 to below 2"),
            ({'img': np.zeros((2, 2, 3), np.int32)}, "'img' has dtype int32"),
            ({'img': None}, r"missing keys \['img'\]"),
            ({'extra': np.float32(0)}, r"unknown keys \['extra'\]"),
            ({'is_terminal': YES}, "'is_terminal' is true while 'is_last' is false"),
            ({'reward': np.float32(np.nan)}, "'reward' holds NaN"),
        ],
    )
    def test_bad_observations_are_named(self, change, message):
        with pytest.raises(ValueError, match=message):
            self.step(change)

    @pytest.mark.parametrize(
        'act, message',
        [
            (
                {'action': np.float32([2, 0])},
                r"Action 'action' is 2.0 at \[0\], allowed is -1.0 to 1.0",
            ),
            ({'action': np.float32([np.nan, 0])}, "Action 'action' holds NaN"),
            ({'jump': np.float32(0)}, r"action does not fit .* unknown keys \['jump'\]"),
        ],
    )
    def test_bad_actions_are_named(self, act, message):
        with pytest.raises(ValueError, match=message):
            self.step({}, act)

    def test_actions_of_a_reset_do_not_matter(self):
        self.step({}, {'action': np.float32([7, 7]), 'reset': YES})

    def test_observation_has_to_be_a_dict(self):
        class Nothing(base.Wrapper):
            def step(self, action):
                return None

        for env in (Nothing(fakes.Count()), wrappers.UnifyDtypes(Nothing(fakes.Count()))):
            with pytest.raises(ValueError, match='None instead of a dict'):
                wrappers.CheckSpaces(env).step(count_action())

    def test_spaces_have_to_be_complete_and_apart(self):
        env = script()
        del env.obs_space['is_first']
        with pytest.raises(ValueError, match=r"obs_space of Script lacks \['is_first'\]"):
            wrappers.CheckSpaces(env)
        env = script(action=elements.Space(np.float32))
        with pytest.raises(ValueError, match=r"both observation and action.*\['action'\]"):
            wrappers.CheckSpaces(env)


class TestResizeImage:
    def env(self, image, **kwargs):
        obs = {'image': image, 'vec': np.float32([1]), 'log/image': image}
        spaces = {
            'image': elements.Space(np.uint8, image.shape),
            'log/image': elements.Space(np.uint8, image.shape),
            'vec': elements.Space(np.float32, (1,)),
        }
        return wrappers.ResizeImage(script([obs] * 2, **spaces), **kwargs)

    def step(self, env):
        obs = env.step({'action': np.zeros(2, np.float32), 'reset': NO})
        assert obs['image'].shape == env.obs_space['image'].shape
        assert obs['image'].dtype == env.obs_space['image'].dtype == np.uint8
        return obs

    def test_height_and_width_are_not_exchanged(self):
        image = np.zeros((8, 16, 3), np.uint8)
        image[4:] = 200  # The lower half.
        obs = self.step(self.env(image, size=(4, 32)))
        assert obs['image'].shape == (4, 32, 3)
        assert (obs['image'][0] == 0).all() and (obs['image'][-1] == 200).all()
        assert obs['log/image'].shape == (8, 16, 3)
        assert obs['vec'].shape == (1,)

    @pytest.mark.parametrize('channels', [1, 2, 3, 4, 6])
    def test_channels_do_not_mix(self, channels):
        image = np.zeros((6, 10, channels), np.uint8)
        image[:] = np.arange(channels) * 40
        obs = self.step(self.env(image, size=(3, 5)))
        assert (obs['image'] == np.arange(channels) * 40).all()

    def test_right_size_passes(self):
        image = np.ones((4, 6, 3), np.uint8)
        assert self.step(self.env(image, size=[4, 6]))['image'] is image

    def test_missing_pillow_is_named(self, monkeypatch):
        original = builtins.__import__

        def missing(name, *args, **kwargs):
            if name.partition('.')[0] == 'PIL':
                raise ImportError(name)
            return original(name, *args, **kwargs)

        monkeypatch.setattr(builtins, '__import__', missing)
        with pytest.raises(ValueError, match='pip install pillow'):
            self.env(np.zeros((4, 6, 3), np.uint8))
        self.env(np.zeros((64, 64, 3), np.uint8))  # Nothing to do, nothing to need.

    def test_zeros_leave_sizes_as_they_are(self):
        image = np.zeros((4, 6, 3), np.uint8)
        env = self.env(image, size=(0, 0))
        assert env.obs_space['image'].shape == (4, 6, 3) and self.step(env)['image'] is image

    def test_size_is_two_numbers(self):
        for size in ((64,), (0, 4), (1, 2, 3)):
            with pytest.raises(ValueError, match='height and width'):
                self.env(np.zeros((4, 6, 3), np.uint8), size=size)


class TestBackwardReturn:
    def test_worked_example(self):
        env = wrappers.BackwardReturn(fakes.Count(length=3), horizon=4)
        got = [float(x['bwreturn']) for x in rollout(env, [1, 0, 0, 0, 1, 0])]
        want = [0, 1, 0.75 + 2, 0.75 * 2.75 + 3, 0, 1]
        np.testing.assert_allclose(got, want)
        assert env.obs_space['bwreturn'].dtype == np.float32

    def test_state_goes_along(self):
        env, other = (wrappers.BackwardReturn(fakes.Count(), 4) for _ in range(2))
        rollout(env, [1, 0, 0])
        other.load(env.save())
        contracts.assert_same(rollout(env, [0])[0], rollout(other, [0])[0])


class TestAddObs:
    def test_adds_a_constant(self):
        env = wrappers.AddObs(
            fakes.Count(), 'task', np.int32(3), elements.Space(np.int32, (), 0, 9)
        )
        assert env.obs_space['task'].classes == 9
        assert all(x['task'] == 3 for x in rollout(env, [1, 0]))

    def test_key_has_to_be_new(self):
        with pytest.raises(ValueError, match="already is an observation 'count'"):
            wrappers.AddObs(fakes.Count(), 'count', 0, elements.Space(np.int32))


class TestRestartOnException:
    def fails(self, *points):
        """A constructor whose n-th environment fails at the n-th of `points`, and all of them."""
        points, envs = list(points), []

        def fail():
            raise OSError('gone')

        def ctor():
            envs.append(fakes.Failing(fail, at=points.pop(0) if points else -1))
            return envs[-1]

        return ctor, envs

    def test_begins_a_new_episode_in_a_new_environment(self, capsys):
        ctor, envs = self.fails(3)
        env = wrappers.RestartOnException(ctor, wait=0)
        obs = rollout(env, [1, 0, 0, 0])
        assert [int(x['step']) for x in obs] == [0, 1, 0, 1]
        assert [bool(x['is_first']) for x in obs] == [True, False, True, False]
        assert not any(x['is_last'] for x in obs)
        assert len(envs) == 2 and envs[0].closed == 1
        assert 'OSError: gone' in capsys.readouterr().out
        env.close()
        assert envs[1].closed == 1

    def test_gives_up_after_too_many_failures_in_the_window(self):
        ctor, envs = self.fails(1, 1, 1, 1)
        env = wrappers.RestartOnException(ctor, maxfails=2, wait=0)
        with pytest.raises(RuntimeError, match=r'failed 3 times within 300 seconds.*OSError: gone'):
            rollout(env, [1])
        assert len(envs) == 3

    def test_old_failures_are_forgotten(self, monkeypatch):
        now = [0.0]
        monkeypatch.setattr('time.monotonic', lambda: now[0])
        ctor, envs = self.fails(2, 2, 2, 2)
        env = wrappers.RestartOnException(ctor, window=10, maxfails=1, wait=0)
        for _ in range(8):
            now[0] += 16
            env.step(count_action())
        assert len(envs) == 5

    def test_constructor_may_fail_too(self):
        calls = []

        def ctor():
            calls.append(1)
            if len(calls) == 2:
                raise OSError('port in use')
            return fakes.Failing(lambda: 1 / 0, at=1 if len(calls) == 1 else -1)

        env = wrappers.RestartOnException(ctor, wait=0)
        assert rollout(env, [0])[0]['is_first']
        assert len(calls) == 3

    def test_other_exceptions_pass(self):
        ctor, envs = self.fails(1)
        env = wrappers.RestartOnException(ctor, (KeyError,), wait=0)
        with pytest.raises(OSError, match='gone'):
            rollout(env, [1])
        assert len(envs) == 1


class TestWrap:
    def env(self):
        spaces = {
            'a': box([-2, -INF], [4, INF], np.float64),
            'b': elements.Space(np.int64, (), 0, 5),
            'c': box(0, 10),
        }
        inner = fakes.Script({'x': elements.Space(np.float64)}, spaces, [{'x': 0.5}] * 3)
        return inner, wrappers.wrap(inner)

    def test_clipped_within_and_unclipped_outside(self):
        inner, env = self.env()
        assert env.act_space['a'].low.tolist() == [-1, -INF]
        assert env.act_space['a'].dtype == np.float32
        action = {'a': np.float32([3, 500]), 'b': np.int32(4), 'c': np.float32(-7), 'reset': NO}
        kept = {k: np.array(v) for k, v in action.items()}
        obs = env.step(action)
        got = inner.actions[0]
        assert got['a'].tolist() == [4, 500] and got['a'].dtype == np.float64
        assert got['b'] == 4 and got['b'].dtype == np.int64
        assert got['c'] == 0
        contracts.assert_same({k: np.array(v) for k, v in action.items()}, kept)
        assert obs['x'].dtype == np.float32

    def test_nan_action_does_not_reach_the_environment(self):
        inner, env = self.env()
        action = {'a': np.float32([np.nan, 0]), 'b': np.int32(4), 'c': np.float32(0), 'reset': NO}
        with pytest.raises(ValueError, match="Action 'a' holds NaN"):
            env.step(action)
        assert not inner.actions

    def test_passes_the_contract_and_the_state(self):
        env = wrappers.wrap(fakes.Count())
        assert env.save() == {'count': 0, 'steps': 0}
        contracts.check_env(env)

    def test_observations_are_checked_once(self):
        inner = fakes.Count()
        wrapped = wrappers.wrap(inner)
        assert wrappers.check(wrapped) is wrapped
        checked = wrappers.check(inner)
        assert type(checked) is wrappers.CheckObs
        assert wrappers.check(checked) is checked
        # What lies outside of a check may change what it has seen.
        spoiled = wrappers.ActionRepeat(wrapped, 2)
        assert type(wrappers.check(spoiled)) is wrappers.CheckObs

    def test_check_of_observations_lets_actions_pass(self):
        action = {**count_action(True), 'move': np.ones(2)}
        assert wrappers.check(fakes.Count()).step(action)['seen_move'].tolist() == [1, 1]
        with pytest.raises(ValueError, match="Action 'move' has dtype float64"):
            wrappers.CheckSpaces(fakes.Count()).step({**action, 'reset': NO})
