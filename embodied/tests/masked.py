"""An environment in which only some of the actions may be taken, and others end the episode."""

import gymnasium
import numpy as np
from gymnasium.envs.classic_control import cartpole


class MaskedCartPole(cartpole.CartPoleEnv):
    """CartPole with two pairs of buttons, left and right, that work in turns.

    In even steps these are 0 and 1, in odd ones 2 and 3. The others end the episode at once without
    a reward. `info['action_mask']` tells which may be pressed; nothing in the observation does.
    """

    def __init__(self):
        super().__init__()
        self.action_space = gymnasium.spaces.Discrete(4)

    def reset(self, *, seed=None, options=None):
        obs, _ = super().reset(seed=seed, options=options)
        self.count = 0
        return obs, self.told()

    def step(self, action):
        allowed = self.told()['action_mask'][action]
        self.count += 1
        if not allowed:
            return np.array(self.state, np.float32), 0.0, True, False, self.told()
        obs, reward, terminated, truncated, _ = super().step(int(action) % 2)
        return obs, reward, terminated, truncated, self.told()

    def told(self):
        return {'action_mask': (np.arange(4) // 2 == self.count % 2).astype(np.int8)}
