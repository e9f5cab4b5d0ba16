"""Meta-World: 50 tasks of a robot arm. Package `metaworld`, which excludes that of dm_control.

It needs another version of MuJoCo, and so an environment of its own.
"""

import difflib
import functools

import elements
import numpy as np

from ..core import base
from . import gl


def check(task: str) -> None:
    """Raises a ValueError for a task that does not exist."""
    names = [x.removesuffix('-v3') for x in _package().ALL_V3_ENVIRONMENTS]
    if task not in names:
        close = difflib.get_close_matches(task, names, 3)
        hint = f', did you mean {" or ".join(close)}?' if close else '.'
        raise ValueError(
            f'task: unknown metaworld task {task!r}{hint} Allowed are {", ".join(names)}'
        )


class MetaWorld(base.Env):
    """The 39 numbers of the task (`state`), a camera image, or both; actions move the gripper.

    Each episode has one of the 50 places of the goal, and 500 steps before the action repeat;
    nothing is terminal. `log/success` is 1 where the task is solved.

    Arguments:
        task: name without version, `door-open`.
        repeat: steps for which each action is held; their rewards are summed.
        size: height and width of the image.
        proprio: observe the numbers, the goal included.
        image: observe the image of the camera.
        camera: `corner`, `corner2`, `corner3`, `corner4`, `topview`, `behindGripper`, `gripperPOV`.
        seed: the same seed and actions give the same episodes.
    """

    def __init__(
        self,
        task,
        repeat=1,
        size=(64, 64),
        proprio=True,
        image=True,
        camera='corner2',
        seed=None,
    ):
        check(task)
        if not (proprio or image):
            raise ValueError(
                'env.metaworld.image: got False, allowed is True where proprio is False'
            )
        if image:
            gl.require()
        self._repeat = repeat
        self._size = tuple(size)
        self._proprio = proprio
        self._image = image
        self._rng = np.random.default_rng(seed)
        benchmark = _package().MT1(f'{task}-v3', seed=int(self._rng.integers(2**31)))
        self._tasks = benchmark.train_tasks
        view = {'render_mode': 'rgb_array', 'camera_name': camera} if image else {}
        height, width = self._size
        make = benchmark.train_classes[f'{task}-v3']
        self._env = make(**view, height=height, width=width)
        self._env.set_task(self._tasks[0])
        # Most cameras hang upside down.
        camera = self._env.model.camera(camera).id
        self._turned = self._env.data.cam_xmat[camera].reshape(3, 3)[2, 1] < -0.1
        self._done = True
        self._closed = False

    @functools.cached_property
    def obs_space(self):
        spaces = {}
        if self._proprio:
            spaces['state'] = elements.Space(np.float32, self._env.observation_space.shape)
        if self._image:
            spaces['image'] = elements.Space(np.uint8, (*self._size, 3))
        return {
            **spaces,
            'log/success': elements.Space(np.float32),
            **base.FLAGS,
        }

    @property
    def act_space(self):
        space = self._env.action_space
        return {
            'action': elements.Space(np.float32, space.shape, space.low, space.high),
            'reset': elements.Space(bool),
        }

    def step(self, action):
        if action['reset'] or self._done:
            self._done = False
            self._env.set_task(self._tasks[self._rng.integers(len(self._tasks))])
            return self._obs(self._env.reset()[0], 0.0, 0.0, is_first=True)
        total, success = 0.0, 0.0
        for _ in range(self._repeat):
            state, reward, _, self._done, info = self._env.step(action['action'])
            total, success = total + reward, max(success, info['success'])
            if self._done:
                break
        return self._obs(state, total, success, is_last=self._done)

    def render(self):
        """The image of the camera (H, W, 3)."""
        image = self._env.render()
        return image[::-1, ::-1] if self._turned else image

    def close(self):
        if not self._closed:
            self._env.close()
        self._closed = True

    def _obs(self, state, reward, success, is_first=False, is_last=False):
        obs = {'state': np.asarray(state, np.float32)} if self._proprio else {}
        if self._image:
            obs['image'] = np.ascontiguousarray(self.render())
        return {
            **obs,
            'log/success': np.float32(success),
            'reward': np.float32(reward),
            'is_first': np.bool_(is_first),
            'is_last': np.bool_(is_last),
            'is_terminal': np.bool_(False),
        }


def _package():
    gl.setup()
    # Not at the top: the import decides how to render.
    import metaworld

    return metaworld
