"""The contracts of the runtime: Env, BatchEnv, Agent, Stream and Wrapper.

Everything that flows is a dict of NumPy arrays. An interface names what a part promises; the parts
know each other by these names only. No JAX here.
"""

from typing import Any, ClassVar, Self

import elements
import numpy as np

# Spaces of what every observation carries, see Env.
FLAGS = {
    'reward': elements.Space(np.float32),
    'is_first': elements.Space(bool),
    'is_last': elements.Space(bool),
    'is_terminal': elements.Space(bool),
}


class Env:
    """An environment: it is told to step, and also told when to start over.

    There is no reset method. An action with `reset` true starts a new episode, and the observation
    that comes back is its first. One loop thus drives any number of episodes:

        act = {k: v.sample() for k, v in env.act_space.items()}
        act['reset'] = True
        while True:
            obs = env.step(act)
            act = {**choose(obs), 'reset': obs['is_last']}

    Every observation carries

        reward       float32 ()  received on arriving here, 0 after a reset
        is_first     bool ()     first observation of an episode
        is_last      bool ()     last observation of an episode, for whatever reason
        is_terminal  bool ()     the episode ended by itself: the return from here on is 0.
                                 A time limit sets is_last but not is_terminal.

    Keys that begin with `log/` are logged per episode and never trained on.

    An environment may also offer `save() -> data` and `load(data)` for its inner state.
    """

    batched = False  # See BatchEnv.

    def __repr__(self):
        return f'{type(self).__name__}(obs_space={self.obs_space}, act_space={self.act_space})'

    @property
    def obs_space(self) -> dict:
        """Name to elements.Space of every observation, with the four flags above."""
        raise NotImplementedError('Return the observation spaces by name.')

    @property
    def act_space(self) -> dict:
        """Name to elements.Space of every action, with `reset` (bool, ())."""
        raise NotImplementedError('Return the action spaces by name.')

    def step(self, action: dict) -> dict:
        """Take one action per key of `act_space`, return one value per key of `obs_space`."""
        raise NotImplementedError('Return an observation for an action.')

    def close(self) -> None:
        """Free what the environment holds. May be called more than once."""


class BatchEnv(Env):
    """Environments that step together, `len(env)` of them, such as those that are compiled.

    The spaces are those of a single environment, and every value of actions and observations has a
    leading axis for the environments. Each begins a new episode where its `reset` is true, which is
    after its `is_last`, or for all of them at once. What `step` returns may be written to by the
    next step.
    """

    batched = True

    def __len__(self):
        raise NotImplementedError('Return the number of environments.')


class Agent:
    """What acts and learns. The loop that calls it:

        agent = Agent(obs_space, act_space, config)
        acting, learning = agent.init_policy(envs), agent.init_train(batch_size)
        batches = agent.stream(replay_stream)
        while True:
            acting, act, out = agent.policy(acting, obs, mode='train')
            learning, out, metrics = agent.train(learning, next(batches))

    Carries belong to the agent; callers only hand them back. `B` is the batch, `T` is time. Those
    of `policy` are nested data of arrays (B, ...), so that environments can be batched anew.
    Observations from other processes are checked against `obs_space`, where an agent tells it.
    """

    obs_space: ClassVar[dict] = {}

    def __init__(self, obs_space: dict, act_space: dict, config):
        raise NotImplementedError('An agent is made from spaces and a config.')

    def init_policy(self, batch_size: int) -> Any:
        """Carry for `policy` at the start of a run."""
        raise NotImplementedError('Return the first carry of policy().')

    def init_train(self, batch_size: int) -> Any:
        """Carry for `train` at the start of a run."""
        raise NotImplementedError('Return the first carry of train().')

    def init_report(self, batch_size: int) -> Any:
        """Carry for `report` at the start of a run."""
        raise NotImplementedError('Return the first carry of report().')

    def policy(self, carry, obs: dict, mode: str = 'train') -> tuple[Any, dict, dict]:
        """Choose actions for observations (B, ...) in mode `train` or `eval`.

        Returns carry, actions (B, ...) and outputs (B, ...). Outputs are stored in replay beside
        the transition; those that begin with `log/` are only logged.
        """
        raise NotImplementedError('Return carry, actions and outputs.')

    def train(self, carry, *batches: dict) -> tuple[Any, dict, dict]:
        """Learn from one batch (B, T, ...), or from several in turn where a run is told to.

        Returns carry, outputs and metrics, of several batches joined by rows and averaged. The
        output `replay`, if there, is handed to `Replay.update`.
        """
        raise NotImplementedError('Return carry, outputs and metrics.')

    def report(self, carry, data: dict) -> tuple[Any, dict]:
        """Evaluate one batch without learning. Returns carry and metrics."""
        raise NotImplementedError('Return carry and metrics.')

    def stream(self, source: 'Stream') -> 'Stream':
        """Turn a stream of NumPy batches into what `train` and `report` take."""
        raise NotImplementedError('Return a stream of prepared batches.')

    def save(self) -> Any:
        """State as nested dicts of arrays, numbers and strings."""
        raise NotImplementedError('Return the state.')

    def load(self, data: Any, regex: str | None = None) -> None:
        """Take over a state of `save`; with `regex` only the parameters it matches."""
        raise NotImplementedError('Take over the state.')

    def dream(self, episode: dict, length: int) -> dict:
        """What the agent expects to see in a recorded episode (T, ...), for people to look at.

        In every `length` steps it sees the first half, the middle one included, and predicts the
        rest from the actions alone. Returns images (T, H, W, C) as uint8 by the name of the
        observation; none where an agent does not predict what it will see.
        """
        return {}

    def diagnose(self, metrics: dict, earlier: dict) -> list[str]:
        """Lines for people about what is wrong with the training, none if all is well.

        Both are metrics of `train`, averaged over the updates of the last log interval and of the
        one before.
        """
        return []

    def flush(self) -> tuple[dict, dict]:
        """Outputs and metrics that `train` still owes, if it returns them one call late."""
        return {}, {}

    def sync(self) -> None:
        """Let the policy act with what has been learned so far, if it lags behind."""

    def close(self) -> None:
        """Free what the agent holds."""


class Stream:
    """An endless iterator of batches whose position can be saved."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict:
        raise NotImplementedError('Return the next batch.')

    def save(self) -> Any:
        """Position: dicts and lists of numbers, strings and arrays."""
        raise NotImplementedError('Return the position.')

    def load(self, state: Any) -> None:
        """Go to a position of `save`."""
        raise NotImplementedError('Go to the position.')


class Wrapper:
    """An environment around another one; what it does not define passes through.

    class Negate(embodied.Wrapper):
        def step(self, action):
            obs = self.env.step(action)
            return {**obs, 'reward': -obs['reward']}
    """

    def __init__(self, env: Env):
        self.env = env

    def __len__(self):
        return len(self.env)

    def __bool__(self):
        return bool(self.env)

    def __getattr__(self, name):
        if name.startswith('__') or name == 'env':
            raise AttributeError(name)
        return getattr(self.env, name)
