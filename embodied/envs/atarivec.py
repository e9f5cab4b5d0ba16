"""Atari games that step in C++, as a batch. Package `ale_py`."""

import gymnasium
import numpy as np

from . import atari, vector

check = atari.check


class AtariVec(vector.VectorEnv):
    """Images of the screen, actions and scores as those of suite `atari`, several times as fast.

    The end of the game is terminal, the limit of time is not. Lives and the way that frames are
    merged and scaled cannot be chosen: frames of which a step keeps the highest pixels are scaled
    by the mean of what a pixel covers.

    Arguments:
        seeds: one for each game.
        repeat: frames per step, in which the action is held.
        size: height and width of the image.
        gray: one channel instead of three.
        noops: highest number of frames without an action at the start, drawn at random.
        sticky: each frame keeps the action of the frame before with probability 0.25.
        actions: `all` or `needed`, those that do something in this game.
        length: steps after which the episode is cut off.
    """

    def __init__(
        self,
        task,
        seeds,
        repeat=4,
        size=(64, 64),
        gray=False,
        noops=0,
        sticky=True,
        actions='all',
        length=108000,
    ):
        from ale_py import vector_env

        env = vector_env.AtariVectorEnv(
            atari.ALIASES.get(task, task),
            num_envs=len(seeds),
            frameskip=repeat,
            img_height=size[0],
            img_width=size[1],
            grayscale=gray,
            noop_max=noops,
            repeat_action_probability=0.25 if sticky else 0.0,
            full_action_space={'all': True, 'needed': False}[actions],
            max_num_frames_per_episode=length * repeat,
            stack_num=1,
            reward_clipping=False,
            use_fire_reset=False,
        )
        shape = (*size, 1 if gray else 3)
        env.single_observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)
        super().__init__(env, seed=np.array([x % 2**31 for x in seeds]))
        self._shape = (len(seeds), *shape)

    def _convert(self, obs, *flags):
        # The axis of stacked frames is in front of the image.
        return super()._convert(obs.reshape(self._shape), *flags)
