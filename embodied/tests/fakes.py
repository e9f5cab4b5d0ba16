"""Small environments and policies that count what they do, so that lost or doubled data is seen."""

import os
import sys

import elements
import numpy as np

from ..core import base


class Count(base.Env):
    """Counts its observations, and shows the action that it was given last.

    `count` numbers all observations of this environment from 1, `step` those of an episode from 0,
    which is also the reward. Episodes end after `length` steps, by a terminal if `terminal`.
    """

    def __init__(self, length=5, offset=0, terminal=True):
        self.length = length
        self.terminal = terminal
        self.count = offset
        self.steps = 0
        self.closed = 0

    @property
    def obs_space(self):
        return {
            'count': elements.Space(np.int32, (), 0, 1_000_000),
            'step': elements.Space(np.int32, (), 0, 1_000_000),
            'seen_act': elements.Space(np.int32, (), 0, 10),
            'seen_move': elements.Space(np.float32, (2,)),
            'image': elements.Space(np.uint8, (4, 6, 3)),
            'log/half': elements.Space(np.float32),
            'reward': elements.Space(np.float32),
            'is_first': elements.Space(bool),
            'is_last': elements.Space(bool),
            'is_terminal': elements.Space(bool),
        }

    @property
    def act_space(self):
        return {
            'act': elements.Space(np.int32, (), 0, 10),
            'move': elements.Space(np.float32, (2,), -1, 1),
            'reset': elements.Space(bool),
        }

    def step(self, action):
        self.count += 1
        self.steps = 0 if action['reset'] else self.steps + 1
        last = self.steps >= self.length
        return {
            'count': np.int32(self.count),
            'step': np.int32(self.steps),
            'seen_act': np.int32(action['act']),
            'seen_move': np.array(action['move'], np.float32),
            'image': np.full((4, 6, 3), self.count % 256, np.uint8),
            'log/half': np.float32(self.steps / 2),
            'reward': np.float32(self.steps),
            'is_first': np.bool_(action['reset']),
            'is_last': np.bool_(last),
            'is_terminal': np.bool_(last and self.terminal),
        }

    def close(self):
        self.closed += 1

    def save(self):
        return {'count': self.count, 'steps': self.steps}

    def load(self, data):
        self.count = data['count']
        self.steps = data['steps']


class Spy(Count):
    """Also tells about the process it lives in."""

    @property
    def obs_space(self):
        extra = {'log/pid': elements.Space(np.int32), 'log/jax': elements.Space(bool)}
        return {**super().obs_space, **extra}

    def step(self, action):
        extra = {'log/pid': np.int32(os.getpid()), 'log/jax': np.bool_('jax' in sys.modules)}
        return {**super().step(action), **extra}


class Failing(Count):
    """Calls `how()` instead of its n-th observation."""

    def __init__(self, how, at=3, **kwargs):
        super().__init__(**kwargs)
        self.how = how
        self.at = at

    def step(self, action):
        obs = super().step(action)
        if self.count == self.at:
            self.how()
        return obs


class CountBatch(base.BatchEnv):
    """Several of `Count` that step together, always into the same arrays. `how()` at round `at`."""

    def __init__(self, envs, how=None, at=0):
        self.envs = envs
        self.how = how
        self.at = at
        self.rounds = 0
        self.closed = 0
        self.obs_space = envs[0].obs_space
        self.act_space = envs[0].act_space
        self.buffers = {
            k: np.zeros((len(envs), *v.shape), v.dtype) for k, v in self.obs_space.items()
        }

    obs_space = None
    act_space = None

    def __len__(self):
        return len(self.envs)

    def step(self, action):
        self.rounds += 1
        if self.rounds == self.at:
            self.how()
        for i, env in enumerate(self.envs):
            for key, value in env.step({k: v[i] for k, v in action.items()}).items():
                self.buffers[key][i] = value
        return self.buffers

    def close(self):
        self.closed += 1

    def save(self):
        return [x.save() for x in self.envs]

    def load(self, data):
        for env, state in zip(self.envs, data, strict=True):
            env.load(state)


class Script(base.Env):
    """Gives the observations of a list, one per step; notes the actions. Spaces as given."""

    def __init__(self, obs_space, act_space, observations):
        flags = {k: elements.Space(bool) for k in ('is_first', 'is_last', 'is_terminal')}
        self.obs_space = {**obs_space, 'reward': elements.Space(np.float32), **flags}
        self.act_space = {**act_space, 'reset': elements.Space(bool)}
        self.observations = list(observations)
        self.actions = []

    obs_space = None
    act_space = None

    def step(self, action):
        self.actions.append(action)
        flags = {k: np.bool_(False) for k in ('is_first', 'is_last', 'is_terminal')}
        return {'reward': np.float32(0), **flags, **self.observations.pop(0)}


class CountPolicy:
    """A policy for `Count`: acts by the count it sees. The carry counts its calls.

    It hands out the same buffers each time, as policies may do.
    """

    def __init__(self):
        self.seen = []
        self.act = None
        self.move = None

    def init(self, batch_size):
        self.act = np.zeros(batch_size, np.int32)
        self.move = np.zeros((batch_size, 2), np.float32)
        return 0

    def __call__(self, carry, obs, **kwargs):
        self.seen.append((obs, kwargs))
        self.act[:] = 1 + obs['count'] % 9
        self.move[:] = 0.5
        return (
            carry + 1,
            {'act': self.act, 'move': self.move},
            {'call': np.full(len(self.act), carry)},
        )
