"""Walkers that look for a goal in a maze, seen through their own eyes. Package `dm_control`."""

import functools
import importlib
import logging

import numpy as np

from ..core import base, wrappers
from . import from_dm, gl

STEPS, SECONDS = 3000, 0.02  # Of an episode, and of a step.

# Module and class of a walker, and the side of a tile of the maze in metres.
WALKERS = {
    'ant': ('ant', 'Ant', 3.0),
    'ball': ('jumping_ball', 'RollingBallWithHead', 2.0),
    'humanoid': ('cmu_humanoid', 'CMUHumanoidPositionControlled', 2.5),
}

COLORS = ('blue', 'red', 'yellow', 'green')  # Of the walls in each quarter of the maze.

# Start P and goal G.
ARENAS = {
    'empty': """
*********
*       *
* P     *
*       *
*     G *
*       *
*********
""",
    'umaze': """
*******
*P    *
***** *
*G    *
*******
""",
    'maze_s': """
*******
*P  * *
* * * *
* *   *
* ***G*
*******
""",
    'maze_m': """
***********
*P  *     *
* * * *** *
* * *   * *
* * *** * *
* *     * *
* ******* *
*        G*
***********
""",
    'maze_l': """
***************
*P  *         *
* * * ******* *
* * *   *     *
* * *** * *** *
* *     *   * *
* ********* * *
*   *     * * *
*** * *** * * *
*     *   *  G*
***************
""",
    'maze_xl': """
*******************
*P  *     *       *
* * * *** * ***** *
* * *   * *     * *
* * *** * ***** * *
* *   * *     * * *
* *** * ***** * * *
*   * *     * * * *
*** * ***** * * * *
*   *     *   * * *
* ******* ***** * *
* *     *       * *
* * *** ********* *
*   *            G*
*******************
""",
}


def check(task: str) -> None:
    """Raises a ValueError for a walker or an arena that does not exist."""
    walker, _, arena = task.partition('_')
    if walker not in WALKERS or arena not in ARENAS:
        raise ValueError(
            f'task: unknown loconav task {task!r}, allowed are WALKER_ARENA with the walkers '
            f'{", ".join(WALKERS)} and the arenas {", ".join(ARENAS)}'
        )


class LocoNav(base.Wrapper):
    """The senses of the body, and the image of its eye; the reward is 1 at the goal.

    Reaching the goal is terminal, the limit of 3000 steps before the action repeat is not.

    Arguments:
        task: walker and arena, `ant_maze_m`.
        repeat: steps for which each action is held.
        size: height and width of the image.
        camera: index of the camera, -1 = the eye.
        again: go back to the start at the goal, instead of ending.
        termination: end, as a terminal, when the body falls.
        weaker: divides the actions.
        seed: the same seed and actions give the same episodes.
    """

    def __init__(
        self,
        task,
        repeat=1,
        size=(64, 64),
        camera=-1,
        again=False,
        termination=False,
        weaker=1.0,
        seed=None,
    ):
        check(task)
        if weaker < 1:
            raise ValueError(f'env.loconav.weaker: got {weaker}, allowed is at least 1')
        gl.require()
        logging.getLogger('absl').setLevel(logging.ERROR)  # A warning at each reset.
        self._dm = _build(task, tuple(size), again, termination, seed)
        env = wrappers.ActionRepeat(from_dm.FromDM(self._dm), repeat)
        super().__init__(env)
        self._size = tuple(size)
        self._camera = camera
        self._weaker = weaker

    @functools.cached_property
    def obs_space(self):
        return _renamed(self.env.obs_space)

    def step(self, action):
        weakened = np.asarray(action['action'], np.float32) / np.float32(self._weaker)
        obs = _renamed(self.env.step({**action, 'action': weakened}))
        if self._camera >= 0:
            obs['image'] = self._dm.physics.render(*self._size, camera_id=self._camera)
        return obs


def _renamed(values):
    names = {'walker_egocentric_camera': 'image'}
    return {names.get(k, k.removeprefix('walker_')): v for k, v in values.items()}


def _build(task, size, again, termination, seed):
    """The dm_env environment."""
    gl.setup()
    # Not at the top: the import decides how to render.
    import labmaze
    from dm_control import composer
    from dm_control.locomotion.arenas import labmaze_textures, mazes
    from dm_control.locomotion.tasks import random_goal_maze

    class Wall(labmaze_textures.WallTextures):
        def _build(self, color):
            super()._build('style_01')
            self._mjcf_root.model = f'wall_{color}'
            # One of the textures, of which the arena draws from the generator of all of NumPy.
            self._textures = [x for x in self._textures if x.name == color]

    class Task(random_goal_maze.RepeatSingleGoalMaze):
        def get_discount(self, physics):
            # The package leaves it at 1 where the goal ends the episode.
            reached = self._targets_obtained > self._max_repeats
            return 0.0 if reached else super().get_discount(physics)

    name, _, arena = task.partition('_')
    module, kind, scale = WALKERS[name]
    module = importlib.import_module(f'dm_control.locomotion.walkers.{module}')
    walker = getattr(module, kind)()
    walls = {str(i): Wall(color) for i, color in enumerate(COLORS)}
    maze = labmaze.FixedMazeWithRandomGoals(_quarters(ARENAS[arena]))
    arena = mazes.MazeWithTargets(maze, xy_scale=scale, wall_textures=walls)
    goal = Task(
        walker,
        arena,
        max_repeats=STEPS if again else 0,
        contact_termination=termination,
        aliveness_threshold=-0.5 if termination else -1.0,
        physics_timestep=0.005,
        control_timestep=SECONDS,
    )
    eye = walker.observables.egocentric_camera
    eye.height, eye.width = size
    return composer.Environment(
        goal,
        time_limit=STEPS * SECONDS - 1e-3,  # Rounding would add a step.
        random_state=np.random.RandomState(seed),
        strip_singleton_obs_buffer_dim=True,
    )


def _quarters(text):
    """The walls of a maze as numbers of its quarters."""
    rows = text.strip('\n').split('\n')
    quarter = lambda i, j: str(2 * (2 * i >= len(rows)) + (2 * j >= len(rows[0])))
    cell = lambda i, j: quarter(i, j) if rows[i][j] == '*' else rows[i][j]
    return ''.join(
        ''.join(cell(i, j) for j in range(len(rows[0]))) + '\n' for i in range(len(rows))
    )
