"""Wrappers that decide when an episode ends and how many steps an action lasts."""

import collections
import time

import numpy as np

from .. import base


class Stateful(base.Wrapper):
    """A wrapper with a state of its own, saved beside that of the environment if it has one.

    The attributes named in `state` hold numbers, strings, arrays, None or dicts of these.
    """

    state = ()

    @property
    def save(self):
        inner = self.env.save  # An AttributeError says that the environment cannot be saved.
        return lambda: {'env': inner(), **{k: getattr(self, k) for k in self.state}}

    @property
    def load(self):
        inner = self.env.load

        def load(data):
            inner(data['env'])
            for key in self.state:
                setattr(self, key, data[key])

        return load


class TimeLimit(Stateful):
    """Ends episodes after `duration` steps, the reset not counted; 0 means no limit.

    The limit sets `is_last` but not `is_terminal`: the return goes on behind it. With `reset` the
    next episode begins in a fresh environment. Without, the environment goes on from where it was:
    the last observation is handed out once more, as the first of the next episode and with reward
    0, and the environment takes no step for it. An environment that ends by itself is always reset.
    """

    state = ('_step', '_cut')

    def __init__(self, env, duration, reset=True):
        super().__init__(env)
        if duration < 0:
            raise ValueError(f'duration={duration} cannot be negative; 0 means no limit.')
        self._duration = duration
        self._reset = reset
        self._step = None  # Steps in this episode; None asks for a reset.
        self._cut = None  # Observation to go on from after the limit.

    def step(self, action):
        if self._cut is not None:
            obs, self._cut, self._step = self._cut, None, 0
            flags = {'is_first': True, 'is_last': False, 'is_terminal': False}
            flags = {k: np.bool_(v) for k, v in flags.items()}
            return {**obs, 'reward': np.float32(0), **flags}
        if action['reset'] or self._step is None:
            self._step = 0
            obs = self.env.step({**action, 'reset': np.bool_(True)})
        else:
            self._step += 1
            obs = self.env.step(action)
        if obs['is_last']:
            self._step = None
        elif self._duration and self._step >= self._duration:
            obs = {**obs, 'is_last': np.bool_(True)}
            self._step = None
            self._cut = None if self._reset else {k: np.array(v) for k, v in obs.items()}
        return obs


class ActionRepeat(base.Wrapper):
    """Takes each action `repeat` times, sums the rewards, and stops early at an episode's end."""

    def __init__(self, env, repeat):
        super().__init__(env)
        if repeat < 1:
            raise ValueError(f'repeat={repeat} has to be at least 1.')
        self._repeat = repeat

    def step(self, action):
        if action['reset']:
            return self.env.step(action)
        reward = 0.0
        for _ in range(self._repeat):
            obs = self.env.step(action)
            reward += float(obs['reward'])
            if obs['is_last'] or obs['is_first']:  # A first one: it has started over by itself.
                break
        return {**obs, 'reward': np.float32(reward)}


class RestartOnException(base.Wrapper):
    """Makes the environment anew when a step raises one of `exceptions`.

    The abandoned episode ends without `is_last`, as its last observation is already out; the new
    one begins with `is_first`, by which replay and statistics see it.

    Arguments:
        ctor: makes the environment.
        window, maxfails: gives up with a RuntimeError at more than `maxfails` failures within
            `window` seconds.
        wait: seconds before the environment is made again.
    """

    def __init__(self, ctor, exceptions=(Exception,), window=300, maxfails=2, wait=20):
        super().__init__(ctor())
        self._ctor = ctor
        self._exceptions = tuple(exceptions)
        self._window = window
        self._maxfails = maxfails
        self._wait = wait
        self._fails = collections.deque()  # Times of recent failures.

    def step(self, action):
        while True:
            try:
                if self.env is None:
                    self.env = self._ctor()
                    action = {**action, 'reset': np.bool_(True)}
                return self.env.step(action)
            except self._exceptions as e:
                self._abandon(e)

    def _abandon(self, error):
        now = time.monotonic()
        self._fails.append(now)
        while self._fails[0] < now - self._window:
            self._fails.popleft()
        cause = f'{type(error).__name__}: {error}'
        if len(self._fails) > self._maxfails:
            raise RuntimeError(
                f'The environment failed {len(self._fails)} times within {self._window} seconds, '
                f'more than the {self._maxfails} allowed. The last time: {cause}'
            ) from error
        print(f'Restarting the environment in {self._wait} seconds after {cause}', flush=True)
        env, self.env = self.env, None
        if env is not None:
            try:
                env.close()
            except self._exceptions as e:
                print(f'Closing it failed too: {type(e).__name__}: {e}', flush=True)
        time.sleep(self._wait)

    def close(self):
        if self.env is not None:
            self.env.close()
