"""DeepMind Control: suite, manipulation and rodent, vectors or images. Package `dm_control`."""

import difflib
import functools
import importlib

import elements
import numpy as np

from ..core import base, wrappers
from . import from_dm, gl

# Where the camera 0 shows too little of what matters.
CAMERAS = {'quadruped': 2, 'locom_rodent': 1}
ALIASES = {'cup': 'ball_in_cup'}
RODENT = 'dm_control.locomotion.examples.basic_rodent_2020'
FAST = {'shadow': False, 'reflection': False}


def check(task: str) -> None:
    """Raises a ValueError for a task that does not exist."""
    names = list(_makers())
    if _resolve(task) not in names:
        close = difflib.get_close_matches(task, names, 3)
        hint = f', did you mean {" or ".join(close)}?' if close else ''
        raise ValueError(
            f'task: unknown dmc task {task!r}{hint} Allowed are DOMAIN_TASK of the suite, such as '
            'walker_walk, manip_TASK and locom_TASK'
        )


class DMC(base.Env):
    """Continuous control: vectors, a camera image, or both; the reward is 0 to 1 per physics step.

    Episodes of the suite have 1000 steps before the action repeat and no terminals.

    Arguments:
        task: DOMAIN_TASK of the suite (`walker_walk`, `ball_in_cup_catch`), `manip_` and a task of
            dm_control.manipulation (`manip_reach_site`), `locom_` and one of the rodent
            (`locom_rodent_maze_forage`), or a dm_env.Environment with `physics`.
        repeat: steps for which each action is held; their rewards are summed.
        size: height and width of the image.
        proprio: observe the vectors of the task.
        image: observe the image of a camera, and cameras that the task itself observes.
        camera: index of the camera, -1 = the one that shows what matters.
        fast: leave out shadows and reflections, several times faster with other pixels.
        seed: the same seed and actions give the same episodes.
    """

    def __init__(
        self,
        task,
        repeat=1,
        size=(64, 64),
        proprio=True,
        image=True,
        camera=-1,
        fast=False,
        seed=None,
    ):
        if not (proprio or image):
            raise ValueError('env.dmc.image: got False, allowed is True where proprio is False')
        if image:
            gl.require()
        if isinstance(task, str):
            check(task)
            inner = _makers()[_resolve(task)](seed)
            camera = camera if camera >= 0 else _camera(_resolve(task))
        else:
            inner = task
        self._physics = lambda: inner.physics
        self._camera = max(camera, 0)
        self._size = tuple(size)
        self._flags = FAST if fast else None
        self._image = image
        adapter = from_dm.FromDM(inner)
        spaces = {k: v for k, v in adapter.obs_space.items() if k not in base.FLAGS}
        self._keys = [k for k, v in spaces.items() if (image if _is_image(v) else proprio)]
        self._env = wrappers.ActionRepeat(adapter, repeat) if repeat > 1 else adapter
        self._all = len(self._keys) == len(spaces)

    @functools.cached_property
    def obs_space(self):
        spaces = {k: self._env.obs_space[k] for k in self._keys}
        if self._image:
            spaces['image'] = elements.Space(np.uint8, (*self._size, 3))
        return {**spaces, **{k: self._env.obs_space[k] for k in base.FLAGS}}

    @property
    def act_space(self):
        return self._env.act_space

    def step(self, action):
        obs = self._env.step(action)
        if not self._all:
            obs = {k: obs[k] for k in (*self._keys, *base.FLAGS)}
        return {**obs, 'image': self.render()} if self._image else obs

    def render(self):
        """The image of the camera (H, W, 3)."""
        return self._physics().render(
            *self._size, camera_id=self._camera, render_flag_overrides=self._flags
        )

    def close(self):
        self._env.close()


def _is_image(space):
    return space.dtype == np.uint8 and len(space.shape) == 3


def _resolve(task):
    first, _, rest = task.partition('_')
    return f'{ALIASES.get(first, first)}_{rest}'


def _camera(task):
    return next((v for k, v in CAMERAS.items() if task.startswith(f'{k}_')), 0)


@functools.cache
def _makers():
    """Name of a task to a function from a seed to its dm_env environment."""
    gl.setup()
    # Not at the top: the import decides how to render.
    from dm_control import manipulation, suite

    result = {}
    for domain, task in suite.ALL_TASKS:
        kwargs = lambda seed: {'task_kwargs': {'random': seed}}
        result[f'{domain}_{task}'] = lambda seed, d=domain, t=task: suite.load(d, t, **kwargs(seed))
    for name in manipulation.ALL:
        # What we render ourselves takes the place of the names that end in `_vision`.
        if name.endswith('_features'):
            make = lambda seed, name=name: manipulation.load(name, seed)
            result[f'manip_{name.removesuffix("_features")}'] = make
    for name in ('escape_bowl', 'maze_forage', 'run_gaps', 'two_touch'):
        result[f'locom_rodent_{name}'] = functools.partial(_rodent, name)
    return result


def _rodent(name, seed):
    module = importlib.import_module(RODENT)
    return getattr(module, f'rodent_{name}')(np.random.RandomState(seed))
