"""Steps a batch of environments with a policy and hands out their transitions.

Observations come from the workers, are stacked to a batch for the policy, and leave as one
transition per environment: the observation together with the action chosen after seeing it.
"""

import functools
from collections.abc import Callable, Sequence

import elements
import numpy as np

from .workers import envset, supervisor


class Driver:
    """Feeds observations to a policy and its actions to the environments.

        driver = Driver([functools.partial(make_env, i) for i in range(16)])
        driver.on_step(replay.add)
        driver.reset(agent.init_policy)
        driver(agent.policy, steps=1000)
        driver.close()

    Arguments:
        make_env_fns: one function without arguments per environment, each returning an Env. Or a
            single function that returns a BatchEnv, whose environments step together.
        parallel: environments in processes of their own (the functions travel by cloudpickle), or
            in this one. The transitions are the same. A BatchEnv is always in this process.
        kwargs: handed to the policy and the callbacks as they are.

    Raises EnvError where an environment cannot be made, or fails and may not be made anew. Of that
    round no transitions are handed out.
    """

    def __init__(
        self,
        make_env_fns: Sequence[Callable] | Callable,
        parallel: bool = True,
        tolerance: supervisor.Tolerance | None = None,
        **kwargs,
    ):
        tolerance = tolerance or supervisor.Tolerance()
        self.kwargs = kwargs
        self._callbacks = []
        if callable(make_env_fns):
            self._envs = envset.Together(make_env_fns, tolerance)
        elif make_env_fns:
            self._envs = envset.Separate(make_env_fns, parallel, tolerance)
        else:
            raise ValueError('make_env_fns is empty; a driver needs at least one environment.')
        try:
            self.obs_space, self.act_space = self._envs.start()
        except BaseException:
            self.close()
            raise
        self.length = self._envs.length
        self._shapes = {k: (self.length, *v.shape) for k, v in self.act_space.items()}
        del self._shapes['reset']
        self.reset()

    def reset(self, init_policy: Callable | None = None) -> None:
        """Begin new episodes with the next step, and a new carry `init_policy(length)`."""
        acts = {
            key: np.zeros((self.length, *space.shape), space.dtype)
            for key, space in self.act_space.items()
        }
        self._acts = {**acts, 'reset': np.ones(self.length, bool)}
        self._carry = init_policy(self.length) if init_policy else None
        self._whole = True

    def save(self) -> dict | None:
        """State of all environments and of the policy, with which `load` goes on exactly.

        None if an environment cannot be saved, or has failed.
        """
        if not self._whole:
            return None
        states = self._envs.save()
        if states is None:
            return None
        carry = elements.tree.map(np.asarray, self._carry)
        return {'envs': states, 'acts': dict(self._acts), 'carry': carry}

    def load(self, data: dict | None) -> bool:
        """Go on from a state of `save`. False if it does not fit, then nothing has changed."""
        shapes = lambda acts: {k: v.shape for k, v in acts.items()}
        if data is None or shapes(data['acts']) != shapes(self._acts):
            return False
        self._envs.load(data['envs'])
        self._acts, self._carry = dict(data['acts']), data['carry']
        return True

    def close(self) -> None:
        """Close all environments and wait for their processes. May be called more than once.

        Processes that have not ended after five seconds are killed.
        """
        self._envs.close()

    def on_step(self, callback: Callable) -> None:
        """Call `callback(transition, index, **kwargs)` for each transition of each environment.

        A transition maps names to values of one step: observations with `log/` keys, actions and
        outputs of the policy. It belongs to the callback: nothing is written to it later.
        """
        self._callbacks.append(callback)

    def __call__(self, policy: Callable, steps: int = 0, episodes: int = 0) -> None:
        """Step all environments until `steps` and `episodes` are both reached.

        The policy is called as `policy(carry, obs, **kwargs)` and returns carry, actions and
        outputs, all with a leading axis for the environments. Steps count single environments, and
        rounds are always whole, so a call can do up to `length - 1` steps more than asked for.
        """
        step, episode = 0, 0
        while step < steps or episode < episodes:
            trans = self._round(policy)
            step += self.length
            episode += np.count_nonzero(trans['is_last'])
            for i in range(self.length):
                tran = {k: v[i] for k, v in trans.items()}
                for callback in self._callbacks:
                    callback(tran, i, **self.kwargs)

    def _round(self, policy):
        """One step of every environment. Returns the batch of transitions."""
        self._whole = False
        obs = self._envs.step(self._acts)
        seen = {k: v for k, v in obs.items() if not k.startswith('log/')}
        self._carry, acts, outs = policy(self._carry, seen, **self.kwargs)
        # Policies may hand out buffers that they use again.
        acts = {k: np.array(v) for k, v in acts.items()}
        outs = {k: np.array(v) for k, v in outs.items()}
        if {k: v.shape for k, v in acts.items()} != self._shapes:
            _explain(acts, self._shapes)
        _check_finite(acts)
        last = obs['is_last']
        if np.count_nonzero(last):
            for value in acts.values():
                value[last] = 0
        # Copies, as an environment in this process may write to what it is given.
        self._acts = {**{k: v.copy() for k, v in acts.items()}, 'reset': last.copy()}
        self._whole = True
        return {**obs, **acts, **outs}


def makers(make_env: Callable, indices: Sequence[int]) -> Sequence[Callable] | Callable:
    """What a driver takes to have the environments `make_env(index)`.

    Where they step together, `make_env.batch(indices)` makes all of them at once.
    """
    if batch := getattr(make_env, 'batch', None):
        return functools.partial(batch, list(indices))
    return [functools.partial(make_env, i) for i in indices]


def _explain(acts, shapes):
    """Say in which way actions are not those of the environments."""
    for key in acts:
        if key not in shapes:
            raise ValueError(
                f'The policy returned the action {key!r}, which the environment does not '
                f'have. Its actions are {sorted(shapes)}.'
            )
    for key, want in shapes.items():
        if key not in acts:
            raise ValueError(
                f'The policy did not return the action {key!r}. It returned {sorted(acts)}.'
            )
        if acts[key].shape != want:
            raise ValueError(
                f'The policy returned the action {key!r} with shape {acts[key].shape}; for '
                f'{want[0]} environments it has to be {want}.'
            )


def _check_finite(acts):
    """Else environments would be blamed for what they are given."""
    for key, value in acts.items():
        if value.dtype.kind == 'f' and not np.isfinite(value).all():
            index = int(np.argwhere(~np.isfinite(value))[0][0])
            raise FloatingPointError(
                f'The policy returned the action {key!r} with {value[index].tolist()} for '
                f'environment {index}; it has to be finite.'
            )
