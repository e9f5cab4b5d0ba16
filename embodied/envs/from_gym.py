"""Any Gymnasium environment, by its id or as an object. Package `gymnasium`."""

import difflib
import functools
import importlib
import importlib.util
import os

import elements
import gymnasium
import numpy as np

from ..core import base, wrappers
from . import gym_spaces, gym_state

RENDERED = 256  # Highest image of `Rendered`.

# Environments that come with gymnasium, but need more packages: module, package to look for, extra.
EXTRAS = (
    ('gymnasium.envs.box2d', 'Box2D', 'box2d'),
    ('gymnasium.envs.mujoco', 'mujoco', 'mujoco'),
    ('gymnasium.envs.phys2d', 'jax', 'jax'),
    ('gymnasium.envs.tabular', 'jax', 'jax'),
)


def check(task: str) -> None:
    """Raises a ValueError if there is no such id, or if packages are missing that it needs."""
    module, _, name = task.rpartition(':')
    if module:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as e:
            raise ValueError(
                f'task: cannot import {module!r} of {task!r}, as {e.name!r} is not installed; '
                f'install the package that provides it{_known_install(e.name)}'
            ) from None
    if name not in gymnasium.registry:
        close = difflib.get_close_matches(name, gymnasium.registry, 3, 0.5)
        hint = f', did you mean {" or ".join(map(repr, close))}?' if close else '.'
        raise ValueError(
            f'task: gymnasium has no environment {name!r}{hint} Those of other packages are '
            'named gym_MODULE:ID, as in gym_minigrid:MiniGrid-Empty-5x5-v0'
        )
    entry = gymnasium.registry[name].entry_point
    for prefix, package, extra in EXTRAS:
        if str(entry).startswith(prefix) and importlib.util.find_spec(package) is None:
            raise ValueError(
                f"task: {name!r} needs the package {package!r}: pip install 'gymnasium[{extra}]'"
            )


def make(task, size=None, render=False, mask=False, seed=None, **kwargs) -> base.Env:
    """FromGym of an id; its images are resized to `size` (height, width) if that is given.

    With `render`, what people see of it is logged as `log/render`.
    """
    if render:
        kwargs['render_mode'] = 'rgb_array'
        # Nothing goes to a screen, and pygame looks for one otherwise, and complains.
        os.environ.setdefault('SDL_VIDEODRIVER', 'dummy')
    env = FromGym(task, seed=seed, mask=mask, **kwargs)
    resized = wrappers.ResizeImage(env, size) if size else env
    return Rendered(resized, env.env) if render else resized


class FromGym(base.Env):
    """A Gymnasium environment: `terminated` becomes `is_terminal`, `truncated` only `is_last`.

    Observations: Box with uint8 and two or three axes is an image (H, W, C); other Box values are
    float32; Discrete and MultiDiscrete are int32 from 0; MultiBinary is bool. Text and other values
    without a fixed shape are left out. Actions: Box with floats is continuous, Box with integers,
    Discrete and MultiDiscrete are int32 from 0, MultiBinary is bool.

    Dict and Tuple are flattened. Names are joined by `_`, and other characters than letters, digits
    and underscores become `_`. A name that the runtime needs for itself gets the prefix `obs_` or
    `act_`, as in `obs_reward`.

    Arguments:
        env: an id (`CartPole-v1`, `module:Env-v0`) or a gymnasium.Env.
        obs_key: name of an observation that has none of its own; by default `image` for an image
            and `vector` for anything else.
        act_key: the same for the action.
        seed: given to the first reset of the environment, later ones go on from there.
        mask: whether `info['action_mask']` says which values of its one action, which is discrete,
            may be taken. An observation Dict that has an `action_mask` tells it without asking.
        kwargs: for gymnasium.make.

    Environments of classic control can be saved and loaded.
    """

    def __init__(self, env, obs_key=None, act_key='action', seed=None, mask=False, **kwargs):
        self._env = _make(env, kwargs)
        self._seed = seed
        self._done = True
        self._info = None
        obs_space, act_space = self._env.observation_space, self._env.action_space
        self._acts = gym_spaces.actions(act_space, act_key, ('reset',))
        reserved = (*base.FLAGS, 'reset', *self._acts)
        root = obs_key or default_key(obs_space)
        leaves, left_out = gym_spaces.observations(obs_space, root, reserved)
        self._obs = gym_spaces.masked(leaves, self._acts)
        self._told = dict([gym_spaces.mask(self._acts)]) if mask else {}  # By the info.
        for line in left_out:
            _say(line)

    @property
    def env(self):
        """The Gymnasium environment."""
        return self._env

    @property
    def info(self):
        """The `info` of the last step."""
        return self._info

    @functools.cached_property
    def obs_space(self):
        return {
            **{key: leaf.space for key, leaf in {**self._obs, **self._told}.items()},
            **base.FLAGS,
        }

    @functools.cached_property
    def act_space(self):
        spaces = {key: leaf.space for key, leaf in self._acts.items()}
        return {**spaces, 'reset': elements.Space(bool)}

    def step(self, action):
        if action['reset'] or self._done:
            return self._reset()
        values = {leaf.path: leaf.convert(action[key]) for key, leaf in self._acts.items()}
        result = self._env.step(gym_spaces.assemble(self._env.action_space, values))
        if not isinstance(result, tuple) or len(result) != 5:
            raise ValueError(_old_api(self._env, 'step', 'five values'))
        obs, reward, terminated, truncated, self._info = result
        self._done = bool(terminated or truncated)
        return self._convert(obs, reward, is_last=self._done, is_terminal=terminated)

    def render(self):
        """An image (H, W, 3), if the environment was made with render_mode='rgb_array'."""
        if self._env.render_mode != 'rgb_array':
            raise ValueError(
                f'{self._env} was made with render_mode={self._env.render_mode!r}; '
                "images need render_mode='rgb_array'."
            )
        return self._env.render()

    def close(self):
        self._env.close()

    @property
    def save(self):
        if not gym_state.supported(self._env):
            raise AttributeError(f'The state of {self._env} cannot be saved.')
        return lambda: {
            'done': self._done,
            'seed': self._seed,
            'env': gym_state.save(self._env),
        }

    @property
    def load(self):
        if not gym_state.supported(self._env):
            raise AttributeError(f'The state of {self._env} cannot be loaded.')

        def load(data):
            gym_state.load(self._env, data['env'])
            self._done = data['done']
            self._seed = data['seed']

        return load

    def _reset(self):
        result = self._env.reset(seed=self._seed)
        if not isinstance(result, tuple) or len(result) != 2 or not isinstance(result[1], dict):
            raise ValueError(_old_api(self._env, 'reset', 'observation and info'))
        self._seed = None
        self._done = False
        obs, self._info = result
        return self._convert(obs, 0.0, is_first=True)

    def _convert(self, obs, reward, is_first=False, is_last=False, is_terminal=False):
        values = gym_spaces.read(obs, self._obs)
        for key, leaf in self._told.items():
            if gym_spaces.MASK not in self._info:
                raise ValueError(f"{self._env} has no info['action_mask'], which is asked for.")
            values[key] = leaf.convert(self._info[gym_spaces.MASK])
        return {
            **values,
            'reward': np.asarray(reward, np.float32).reshape(()),
            'is_first': np.bool_(is_first),
            'is_last': np.bool_(is_last),
            'is_terminal': np.bool_(is_terminal),
        }


class Rendered(base.Wrapper):
    """Adds a rendered image (H, W, 3) of each step, every n-th pixel if it is large."""

    def __init__(self, env, source):
        super().__init__(env)
        self._stride = 1
        source.reset()  # Nothing can be rendered before; the first episode resets again.
        self._stride = max(1, -(-self._frame().shape[0] // RENDERED))
        space = elements.Space(np.uint8, self._frame().shape)
        self.obs_space = {**self.env.obs_space, 'log/render': space}

    def step(self, action):
        return {**self.env.step(action), 'log/render': self._frame()}

    def _frame(self):
        try:
            frame = self.env.render()
        except gymnasium.error.DependencyNotInstalled as e:
            raise ValueError(f'env.gym.render: {e}') from None
        return np.ascontiguousarray(frame[:: self._stride, :: self._stride])


def _make(env, kwargs):
    if not isinstance(env, str):
        if kwargs:
            raise ValueError(f'Options {sorted(kwargs)} need an id, not a finished environment.')
        for name in ('observation_space', 'action_space'):
            if not isinstance(getattr(env, name, None), gymnasium.Space):
                raise ValueError(_old_api(env, name, 'a gymnasium.Space'))
        return env
    try:
        # What Gymnasium's checker would check is checked by our wrappers.
        return gymnasium.make(env, **{'disable_env_checker': True, **kwargs})
    except (TypeError, gymnasium.error.Error) as e:
        raise ValueError(f'Cannot make {env!r} with the options {kwargs}: {e}') from e


def default_key(space):
    """Name of an observation that has none of its own."""
    image = isinstance(space, gymnasium.spaces.Box) and space.dtype == np.uint8
    if isinstance(space, gymnasium.spaces.Tuple):
        return 'obs'
    return 'image' if image and len(space.shape) in (2, 3) else 'vector'


def _old_api(env, name, wanted):
    return (
        f'{env} does not have the API of gymnasium ({name} has to give {wanted}). If it was made '
        'for the old gym package, make it by way of the package shimmy: '
        "gymnasium.make('GymV21Environment-v0', env=env)."
    )


def _known_install(module):
    return ": pip install 'dreamerv3-embodied[gym]'" if module == 'minigrid' else ''


@functools.cache
def _say(line):
    """Print a line once per process, however many environments there are."""
    print(line, flush=True)
