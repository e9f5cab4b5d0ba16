import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces as gs

from embodied.core import masks, random, wrappers
from embodied.envs import custom, from_gym, gym_spaces, registry, vector
from embodied.tests import contracts, masked

INF = np.inf


class Fake(gymnasium.Env):
    """Samples its observation space; the reward counts the steps. Ends as told."""

    def __init__(self, obs=None, act=None, terminated=None, truncated=None):
        self.observation_space = gs.Box(-1, 1, (3,)) if obs is None else obs
        self.action_space = gs.Discrete(3) if act is None else act
        self.ends = terminated, truncated
        self.seeds = []
        self.actions = []
        self.steps = 0
        self.closed = 0

    def reset(self, seed=None, options=None):
        super().reset(seed=seed)
        self.seeds.append(seed)
        self.steps = 0
        return self.observation_space.sample(), {'reset': True}

    def step(self, action):
        self.actions.append(action)
        self.steps += 1
        terminated, truncated = (self.steps == x for x in self.ends)
        obs = self.observation_space.sample()
        return obs, float(self.steps), terminated, truncated, {'steps': self.steps}

    def close(self):
        self.closed += 1


def reset(env):
    zeros = {k: np.zeros(v.shape, v.dtype) for k, v in env.act_space.items()}
    return env.step({**zeros, 'reset': np.bool_(True)})


def step(env, **action):
    return env.step({**action, 'reset': np.bool_(False)})


def act_once(space, **action):
    """What the environment gets for an action."""
    inner = Fake(act=space)
    env = from_gym.FromGym(inner)
    reset(env)
    step(env, **action)
    return inner.actions[0], env.act_space


class TestContract:
    @pytest.mark.parametrize(
        'task',
        ['CartPole-v1', 'Pendulum-v1', 'Acrobot-v1', 'MountainCar-v0', 'MountainCarContinuous-v0'],
    )
    def test_classic_control(self, task):
        contracts.check_env(wrappers.wrap(registry.make(f'gym_{task}', seed=0)))

    def test_toy_text(self):
        contracts.check_env(registry.make('gym_Taxi-v4', seed=0))
        contracts.check_env(registry.make('gym_Blackjack-v1', seed=0))

    def test_box2d(self):
        pytest.importorskip('Box2D', reason='box2d is not installed')
        contracts.check_env(wrappers.wrap(registry.make('gym_LunarLander-v3', seed=0)))
        env = registry.make('gym_LunarLander-v3', seed=0, continuous=True)
        assert env.act_space['action'].shape == (2,)
        contracts.check_env(wrappers.wrap(env))

    def test_minigrid(self, capsys):
        pytest.importorskip('minigrid', reason='minigrid is not installed')
        task = 'gym_minigrid:MiniGrid-Empty-5x5-v0'
        from_gym._say.cache_clear()
        env = registry.make(task, size=(16, 16), seed=0)
        assert list(env.obs_space)[:2] == ['direction', 'image']
        assert env.obs_space['image'].shape == (16, 16, 3)
        assert env.obs_space['direction'].classes == 4
        assert 'mission' not in env.obs_space
        registry.make(task)
        assert capsys.readouterr().out.count("Observation 'mission' is left out") == 1
        contracts.check_env(wrappers.wrap(env))

    def test_everything_at_once(self):
        obs = gs.Dict(
            {
                'camera': gs.Box(0, 255, (8, 12, 3), np.uint8),
                'body': gs.Dict({'joint pos': gs.Box(-INF, INF, (2,), np.float64)}),
                'pair': gs.Tuple((gs.Discrete(3, start=-1), gs.MultiBinary(4))),
                'kinds': gs.MultiDiscrete([[2, 5], [3, 1]]),
                'reward': gs.Box(0, 1, ()),
                'move': gs.Discrete(2),
                'text': gs.Text(5),
                'many': gs.Sequence(gs.Discrete(2)),
            }
        )
        act = gs.Dict(
            {
                'move': gs.Box(-2, 2, (2,), np.float64),
                'keys': gs.MultiBinary((2, 2)),
                'menu': gs.Tuple((gs.Discrete(3, start=5), gs.MultiDiscrete([2, 4]))),
                'reset': gs.Discrete(2),
            }
        )
        env = from_gym.FromGym(Fake(obs, act, terminated=7))
        assert set(env.obs_space) == {
            *('body_joint_pos', 'camera', 'kinds', 'many', 'obs_move', 'pair_0', 'pair_1'),
            *('obs_reward', 'reward', 'is_first', 'is_last', 'is_terminal'),
        } - {'many'}
        assert set(env.act_space) == {'move', 'keys', 'menu_0', 'menu_1', 'act_reset', 'reset'}
        contracts.check_env(wrappers.wrap(env))


class TestObservations:
    @pytest.mark.parametrize(
        'space, key, dtype, shape',
        [
            (gs.Box(0, 255, (8, 12, 3), np.uint8), 'image', np.uint8, (8, 12, 3)),
            (gs.Box(0, 255, (8, 12), np.uint8), 'image', np.uint8, (8, 12, 1)),
            (gs.Box(0, 255, (4, 8, 12), np.uint8), 'image', np.uint8, (8, 12, 4)),
            (gs.Box(0, 255, (128,), np.uint8), 'vector', np.float32, (128,)),
            (gs.Box(-1, 1, (3,), np.float64), 'vector', np.float32, (3,)),
            (gs.Box(-(2**40), 2**40, (), np.int64), 'vector', np.float32, ()),
            (gs.Box(0, 1, (2,), bool), 'vector', bool, (2,)),
            (gs.Discrete(4, start=2), 'vector', np.int32, ()),
            (gs.MultiDiscrete([2, 7]), 'vector', np.int32, (2,)),
            (gs.MultiBinary(3), 'vector', bool, (3,)),
            (gs.Tuple((gs.Discrete(2),)), 'obs_0', np.int32, ()),
        ],
    )
    def test_kinds(self, space, key, dtype, shape):
        env = from_gym.FromGym(Fake(space))
        ours = env.obs_space[key]
        assert ours.dtype == dtype and ours.shape == shape
        value = reset(env)[key]
        assert value.dtype == dtype and value.shape == shape

    def test_unequal_classes_and_offsets(self):
        space = gs.Dict(
            {'a': gs.MultiDiscrete([[2, 7], [3, 1]], start=[[0, 5], [-1, 0]]), 'b': gs.Discrete(4)}
        )
        leaves, _ = gym_spaces.observations(space, '', ())
        assert leaves['a'].space.classes.tolist() == [[2, 7], [3, 1]]
        assert leaves['a'].convert(np.array([[1, 11], [1, 0]])).tolist() == [[1, 6], [2, 0]]
        assert leaves['b'].space.classes == 4
        leaves, _ = gym_spaces.observations(gs.Discrete(4, start=2), 'x', ())
        assert [int(leaves['x'].convert(x)) for x in (2, np.int64(5))] == [0, 3]

    def test_image_with_channels_first_is_turned(self):
        image = np.arange(3 * 8 * 12, dtype=np.uint8).reshape(3, 8, 12)
        space = gs.Box(0, 255, image.shape, np.uint8)
        leaves, _ = gym_spaces.observations(space, 'x', ())
        np.testing.assert_array_equal(leaves['x'].convert(image)[:, :, 1], image[1])

    @pytest.mark.parametrize(
        'obs, message',
        [
            ({'a': np.zeros(2), 'b': 1}, r"shape \(2,\) where 'a' .* shape \(3,\)"),
            ({'a': np.zeros(3)}, "a dict where 'b' should be"),
            ({'a': [[1, 2], [3]], 'b': 1}, "a list where 'a' should be"),
            ((np.zeros(3), 1), "a tuple where 'a' should be"),
        ],
    )
    def test_what_does_not_fit_its_space_is_named(self, obs, message):
        space = gs.Dict({'a': gs.Box(0, 1, (3,)), 'b': gs.Discrete(4)})
        leaves, _ = gym_spaces.observations(space, '', ())
        with pytest.raises(ValueError, match=message):
            gym_spaces.read(obs, leaves)

    def test_explicit_key_wins(self):
        env = from_gym.FromGym('CartPole-v1', obs_key='image')
        assert 'image' in env.obs_space and 'vector' not in env.obs_space
        assert reset(env)['image'].shape == (4,)

    def test_same_names_are_an_error(self):
        space = gs.Dict({'a b': gs.Discrete(2), 'a': gs.Dict({'b': gs.Discrete(2)})})
        with pytest.raises(ValueError, match="Two values have the name 'a_b'"):
            from_gym.FromGym(Fake(space))

    def test_nothing_usable_is_an_error(self):
        with pytest.raises(ValueError, match='Nothing of the observation space'):
            from_gym.FromGym(Fake(gs.Dict({'text': gs.Text(5)})))


class TestActions:
    def test_discrete_with_offset(self):
        got, space = act_once(gs.Discrete(3, start=5), action=np.int32(2))
        assert got == 7 and gs.Discrete(3, start=5).contains(got)
        assert space['action'].classes == 3

    def test_multi_discrete_with_unequal_classes(self):
        theirs = gs.MultiDiscrete([[2, 7], [3, 1]], start=[[0, 5], [-1, 0]])
        got, space = act_once(theirs, action=np.int32([[1, 6], [2, 0]]))
        assert got.tolist() == [[1, 11], [1, 0]] and theirs.contains(got)
        assert space['action'].classes.tolist() == [[2, 7], [3, 1]]

    def test_multi_binary(self):
        theirs = gs.MultiBinary(3)
        got, space = act_once(theirs, action=np.array([True, False, True]))
        assert theirs.contains(got) and got.tolist() == [1, 0, 1]
        assert space['action'].dtype == bool

    def test_integer_box(self):
        theirs = gs.Box(np.array([-2, 0]), np.array([2, 1]), dtype=np.int64)
        got, space = act_once(theirs, action=np.int32([4, 0]))
        assert theirs.contains(got) and got.tolist() == [2, 0]
        assert space['action'].classes.tolist() == [5, 2]
        with pytest.raises(ValueError, match="'action' has too many values"):
            from_gym.FromGym(Fake(act=gs.Box(0, 2**40, (), np.int64)))

    def test_double_box_stays_within_its_bounds(self):
        theirs = gs.Box(np.array([-0.1, -INF]), np.array([0.1, INF]), dtype=np.float64)
        got, space = act_once(theirs, action=np.float32([0.1, 50]))
        assert float(np.float32(0.1)) > 0.1  # Rounding leads out of the bounds.
        assert theirs.contains(got) and got.dtype == np.float64
        assert space['action'].dtype == np.float32
        assert space['action'].high.tolist() == [np.float32(0.1), INF]

    def test_nested(self):
        theirs = gs.Dict(
            {'a': gs.Tuple((gs.Discrete(2), gs.Dict({'b-c': gs.Discrete(3)}))), 'd': gs.Box(-1, 1)}
        )
        got, space = act_once(theirs, a_0=1, a_1_b_c=2, d=np.float32([0.5]))
        assert got == {'a': (1, {'b-c': 2}), 'd': np.float32([0.5])}
        assert set(space) == {'a_0', 'a_1_b_c', 'd', 'reset'}

    def test_own_key(self):
        env = from_gym.FromGym(Fake(), act_key='move')
        assert set(env.act_space) == {'move', 'reset'}

    def test_unlearnable_kind_is_an_error(self):
        with pytest.raises(ValueError, match="Action 'action' is of a kind that cannot be learned"):
            from_gym.FromGym(Fake(act=gs.Text(5)))


class TestEpisodes:
    @pytest.mark.parametrize(
        'terminated, truncated, last, terminal',
        [(2, None, 2, True), (None, 2, 2, False), (2, 2, 2, True), (3, 2, 2, False)],
    )
    def test_terminated_and_truncated_stay_apart(self, terminated, truncated, last, terminal):
        env = from_gym.FromGym(Fake(terminated=terminated, truncated=truncated))
        obs = [reset(env), *[step(env, action=0) for _ in range(last)]]
        assert [bool(x['is_last']) for x in obs] == [False, False, True]
        assert bool(obs[-1]['is_terminal']) == terminal
        assert [float(x['reward']) for x in obs] == [0, 1, 2]
        assert step(env, action=0)['is_first']  # Starts over also without being told.

    def test_time_limit_of_the_registry_is_no_terminal(self):
        env = from_gym.FromGym('Pendulum-v1', seed=0)
        obs = [reset(env), *[step(env, action=np.float32([0])) for _ in range(200)]]
        assert obs[-1]['is_last'] and not obs[-1]['is_terminal']
        assert not any(x['is_last'] for x in obs[:-1])

    def test_seed_goes_to_the_first_reset_only(self):
        inner = Fake()
        env = from_gym.FromGym(inner, seed=7)
        for _ in range(3):
            reset(env)
        assert inner.seeds == [7, None, None]

    def test_seed_decides(self):
        first = []
        for seed in (1, 1, 2):
            env = from_gym.FromGym('CartPole-v1', seed=seed)
            first.append([reset(env)['vector'].tolist() for _ in range(2)])
        assert first[0] == first[1] != first[2]
        assert first[0][0] != first[0][1]

    def test_rewards_of_odd_types(self):
        class Odd(Fake):
            def step(self, action):
                obs, _, *rest = super().step(action)
                return obs, np.array([2.5]), *rest

        env = from_gym.FromGym(Odd())
        reset(env)
        reward = step(env, action=0)['reward']
        assert reward.shape == () and reward.dtype == np.float32 and reward == 2.5

    def test_info_env_and_close(self):
        inner = Fake()
        env = from_gym.FromGym(inner)
        reset(env)
        assert env.info == {'reset': True} and env.env is inner
        step(env, action=0)
        assert env.info == {'steps': 1}
        env.close()
        assert inner.closed == 1

    def test_render(self):
        pytest.importorskip('pygame', reason='pygame is not installed')
        env = from_gym.FromGym('CartPole-v1', seed=0, render_mode='rgb_array')
        reset(env)
        assert env.render().shape == (400, 600, 3)
        env.close()
        with pytest.raises(ValueError, match="render_mode='rgb_array'"):
            from_gym.FromGym(Fake()).render()


class TestState:
    @pytest.mark.parametrize(
        'task',
        ['CartPole-v1', 'Pendulum-v1', 'Acrobot-v1', 'MountainCar-v0', 'MountainCarContinuous-v0'],
    )
    def test_continues_to_the_bit_in_a_fresh_environment(self, task):
        env = from_gym.FromGym(task, seed=0, max_episode_steps=12)
        rng = np.random.default_rng(0)
        space = env.act_space['action']
        draw = (
            (lambda: np.int32(rng.integers(space.classes)))
            if space.discrete
            else (lambda: rng.uniform(-1, 1, space.shape).astype(np.float32))
        )
        reset(env)
        for steps in (0, 3, 9, 1):  # At the start, within, at the limit of time, after it.
            for _ in range(steps):
                step(env, action=draw())
            other = from_gym.FromGym(task, seed=5, max_episode_steps=12)
            other.load(env.save())
            state, actions = env.save(), [draw() for _ in range(20)]
            want = [step(env, action=x) for x in actions]
            assert any(x['is_last'] for x in want)
            for action, obs in zip(actions, want, strict=True):
                contracts.assert_same(obs, step(other, action=action))
            env.load(state)

    def test_before_the_first_reset(self):
        env = from_gym.FromGym('MountainCar-v0', seed=3)
        other = from_gym.FromGym('MountainCar-v0', seed=5)
        other.load(env.save())
        contracts.assert_same(reset(env), reset(other))

    def test_others_offer_none(self):
        env = wrappers.wrap(from_gym.FromGym(Fake()))
        assert not hasattr(env, 'save') and not hasattr(env, 'load')
        assert hasattr(wrappers.wrap(from_gym.FromGym('CartPole-v1')), 'save')


class TestErrors:
    def test_old_api(self):
        class Old(Fake):
            def step(self, action):
                return self.observation_space.sample(), 0.0, False, {}

        env = from_gym.FromGym(Old())
        reset(env)
        with pytest.raises(ValueError, match=r'step has to give five values.*shimmy'):
            step(env, action=0)

        class Older(Fake):
            def reset(self, seed=None, options=None):
                return self.observation_space.sample()

        with pytest.raises(ValueError, match=r'reset has to give observation and info.*shimmy'):
            reset(from_gym.FromGym(Older()))

        class Other:
            observation_space = action_space = 'gym.spaces.Box'

        with pytest.raises(ValueError, match=r'observation_space has to give.*shimmy'):
            from_gym.FromGym(Other())

    def test_options(self):
        with pytest.raises(ValueError, match=r"'color': 3.*unexpected keyword argument 'color'"):
            registry.make('gym_CartPole-v1', color=3)
        with pytest.raises(ValueError, match=r"Options \['color'\] need an id"):
            from_gym.FromGym(Fake(), color=3)

    @pytest.mark.parametrize(
        'task, message',
        [
            ('gym_CartPol-v1', "no environment 'CartPol-v1', did you mean 'CartPole-v1'"),
            ('gym_CartPole', "no environment 'CartPole', did you mean .*'CartPole-v1'"),
            ('gym_zzz', r"no environment 'zzz'\. Those of other packages are named gym_MODULE:ID"),
            ('gym_no_such_module:Env-v0', "cannot import 'no_such_module'.*is not installed"),
        ],
    )
    def test_unknown_task(self, task, message):
        with pytest.raises(ValueError, match=message) as info:
            registry.check(task)
        assert '\n' not in str(info.value)

    @pytest.mark.parametrize(
        'task, package, extra',
        [('LunarLander-v3', 'Box2D', 'box2d'), ('HalfCheetah-v5', 'mujoco', 'mujoco')],
    )
    def test_missing_extras_of_gymnasium(self, task, package, extra, monkeypatch):
        original = from_gym.importlib.util.find_spec
        absent = lambda name: None if name == package else original(name)
        monkeypatch.setattr(from_gym.importlib.util, 'find_spec', absent)
        with pytest.raises(ValueError) as info:
            registry.check(f'gym_{task}')
        assert str(info.value) == (
            f"task: '{task}' needs the package '{package}': pip install 'gymnasium[{extra}]'"
        )

    def test_ids_with_a_module(self, tmp_path, monkeypatch):
        (tmp_path / 'my_own_games.py').write_text(
            'import gymnasium\n'
            "gymnasium.register('own/Pole_2-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
        )
        monkeypatch.syspath_prepend(tmp_path)
        registry.check('gym_my_own_games:own/Pole_2-v0')
        assert reset(registry.make('gym_my_own_games:own/Pole_2-v0'))['vector'].shape == (4,)
        del gymnasium.registry['own/Pole_2-v0']

    def test_check_does_not_import_jax(self):
        code = (
            f'import sys; sys.path[:] = {[x for x in sys.path if x]!r}; '
            "from embodied.envs import registry; registry.check('gym_CartPole-v1'); "
            'assert "jax" not in sys.modules'
        )
        subprocess.run([sys.executable, '-c', code], check=True)


def test_rendered_images_are_only_logged():
    plain = from_gym.make('CartPole-v1', seed=3)
    env = from_gym.make('CartPole-v1', size=(64, 64), seed=3, render=True)
    assert env.act_space.keys() == plain.act_space.keys()
    assert env.obs_space['log/render'].shape == (200, 300, 3)
    frames = []
    for i in range(4):
        action = {'action': np.int32(1), 'reset': i == 0}
        obs = env.step(action)
        frames.append(obs.pop('log/render'))
        contracts.assert_same(obs, plain.step(action))
        assert frames[-1] in env.obs_space['log/render']
    assert (frames[0] != frames[-1]).any()
    env.close()


class TestMasks:
    def test_of_the_info(self):
        env = wrappers.wrap(from_gym.FromGym(masked.MaskedCartPole(), mask=True, seed=0))
        assert env.obs_space['mask/action'].shape == (4,) and 'vector' in env.obs_space
        contracts.check_env(env)
        agent, obs, lengths, length = random.RandomAgent({}, env.act_space), None, [], 0
        while len(lengths) < 20:
            reset = obs is None or obs['is_last']
            obs = env.step({**agent.act(obs), 'reset': np.bool_(reset)})
            if obs['is_first']:
                length = 0
            want = np.arange(4) // 2 == length % 2
            np.testing.assert_array_equal(obs['mask/action'], want)
            length += 1
            if obs['is_last']:
                assert obs['reward'] == 1  # It fell, and was not ended by a wrong button.
                lengths.append(length)
        assert np.mean(lengths) > 10

    def test_that_is_not_asked_for(self):
        assert 'mask/action' not in from_gym.FromGym(masked.MaskedCartPole()).obs_space

    def test_own_environment(self):
        task = 'embodied.tests.masked:MaskedCartPole'
        assert masks.of(custom.make(task, mask=True, seed=1).obs_space).keys() == {'action'}
        assert not masks.of(custom.make(task).obs_space)
        with pytest.raises(
            ValueError, match=r'^env.custom.mask: got True, allowed for .*Gymnasium'
        ):
            custom.make('embodied.tests.fakes:Count', mask=True)

    @pytest.mark.parametrize('space', [gs.MultiBinary(3), gs.Box(0, 1, (3,), np.int8)])
    def test_of_the_observation(self, space):
        obs = gs.Dict({'observation': gs.Box(-1, 1, (2,)), 'action_mask': space})
        inner = Fake(obs, gs.Discrete(3, start=5))
        env = from_gym.FromGym(inner)
        assert env.obs_space.keys() >= {'observation', 'mask/action'}
        assert env.obs_space['mask/action'].shape == (3,)
        inner.observation_space.sample = lambda: {
            'observation': np.zeros(2, np.float32),
            'action_mask': np.array([0, 1, 1], np.int8),
        }
        assert reset(env)['mask/action'].tolist() == [False, True, True]

    def test_of_several_elements(self):
        name, leaf = gym_spaces.mask(gym_spaces.actions(gs.MultiDiscrete([2, 3]), 'turn', ()))
        assert name == 'mask/turn' and leaf.space.shape == (2, 3)
        got = leaf.convert(np.array([0, 1, 1, 0, 1]))
        np.testing.assert_array_equal(got, np.array([[0, 1, 0], [1, 0, 1]], bool))

    def test_of_environments_that_step_together(self):
        class Masked(Fake):
            def __init__(self):
                mask = gs.MultiBinary(3)
                super().__init__(gs.Dict({'x': gs.Box(-1, 1, (2,)), 'action_mask': mask}))

        env = vector.VectorEnv(gymnasium.vector.SyncVectorEnv([Masked, Masked]))
        assert env.obs_space['mask/action'].shape == (3,)
        obs = env.step({'action': np.zeros(2, np.int32), 'reset': np.ones(2, bool)})
        assert obs['mask/action'].shape == (2, 3) and obs['mask/action'].dtype == bool
        env.close()

    def test_that_is_another_observation(self):
        obs = gs.Dict({'x': gs.Box(-1, 1, (2,)), 'action_mask': gs.Box(-1, 1, (4,))})
        assert 'action_mask' in from_gym.FromGym(Fake(obs, gs.Discrete(3))).obs_space
        assert 'action_mask' in from_gym.FromGym(Fake(obs, gs.Box(-1, 1, (4,)))).obs_space

    def test_mistakes(self):
        with pytest.raises(
            ValueError, match=r'^action_mask: got actions action, allowed is a discr'
        ):
            from_gym.FromGym(Fake(act=gs.Box(-1, 1, (4,))), mask=True)
        with pytest.raises(ValueError, match=r'action_mask.* which is asked for'):
            reset(from_gym.FromGym(Fake(), mask=True))
        inner = masked.MaskedCartPole()
        inner.action_space = gs.Discrete(6)
        with pytest.raises(ValueError, match=r'^action_mask: got 4 values, allowed are 6, one for'):
            reset(from_gym.FromGym(inner, mask=True))
