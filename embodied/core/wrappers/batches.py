"""A wrapper for environments that step together."""

import numpy as np

from .. import base


class Single(base.Wrapper):
    """A batch of one as an environment by itself."""

    batched = False

    def __init__(self, env):
        super().__init__(env)
        if len(env) != 1:
            raise ValueError(f'The batch has {len(env)} environments, allowed is one.')

    def __len__(self):
        raise TypeError('A single environment has no length.')

    def __bool__(self):
        return True

    def step(self, action):
        obs = self.env.step({k: np.asarray(v)[None] for k, v in action.items()})
        return {k: np.array(v[0]) for k, v in obs.items()}  # The batch may use its arrays again.
