"""Steps a batch of environments with a policy and hands out their transitions.

Observations come from the workers, are stacked to a batch for the policy, and leave as one
transition per environment: the observation together with the action chosen after seeing it.
"""

import time
from collections.abc import Callable, Sequence

import elements
import numpy as np

from . import supervisor, worker

CLOSE_SECONDS = 5  # For all environments together.


class Driver:
    """Feeds observations to a policy and its actions to the environments.

        driver = Driver([functools.partial(make_env, i) for i in range(16)])
        driver.on_step(replay.add)
        driver.reset(agent.init_policy)
        driver(agent.policy, steps=1000)
        driver.close()

    Arguments:
        make_env_fns: one function without arguments per environment, each returning an Env.
        parallel: environments in processes of their own (the functions travel by cloudpickle), or
            in this one. The transitions are the same.
        kwargs: handed to the policy and the callbacks as they are.

    Raises EnvError where an environment cannot be made, or fails and may not be made anew. Of that
    round no transitions are handed out.
    """

    def __init__(
        self,
        make_env_fns: Sequence[Callable],
        parallel: bool = True,
        tolerance: supervisor.Tolerance | None = None,
        **kwargs,
    ):
        if not make_env_fns:
            raise ValueError('make_env_fns is empty; a driver needs at least one environment.')
        self.length = len(make_env_fns)
        self.kwargs = kwargs
        self._callbacks = []
        kind = worker.ProcessWorker if parallel else worker.LocalWorker
        tolerance = tolerance or supervisor.Tolerance()
        watched = tolerance.warn and not parallel
        self._watchdog = supervisor.Watchdog(tolerance) if watched else None
        self._workers = [
            supervisor.Supervisor(kind, fn, i, tolerance, self._watchdog)
            for i, fn in enumerate(make_env_fns)
        ]
        try:
            spaces = _collect([w.start() for w in self._workers])
            _check_same(spaces)
        except BaseException:
            self.close()
            raise
        self.obs_space, self.act_space = spaces[0]
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
        states = _collect([w.save() for w in self._workers])
        if any(x is None for x in states):
            return None
        carry = elements.tree.map(np.asarray, self._carry)
        return {'envs': states, 'acts': dict(self._acts), 'carry': carry}

    def load(self, data: dict | None) -> bool:
        """Go on from a state of `save`. False if it does not fit, then nothing has changed."""
        if data is None or len(data['envs']) != self.length:
            return False
        if {k: v.shape for k, v in data['acts'].items()} != {
            k: v.shape for k, v in self._acts.items()
        }:
            return False
        _collect([w.load(x) for w, x in zip(self._workers, data['envs'], strict=True)])
        self._acts, self._carry = dict(data['acts']), data['carry']
        return True

    def close(self) -> None:
        """Close all environments and wait for their processes. May be called more than once.

        Processes that have not ended after five seconds are killed.
        """
        if self._watchdog:
            self._watchdog.close()
        for w in self._workers:
            w.close()
        deadline = time.monotonic() + CLOSE_SECONDS
        for w in self._workers:
            w.join(max(0, deadline - time.monotonic()))

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
        step, episode, check = 0, 0, True
        while step < steps or episode < episodes:
            trans = self._round(policy, check)
            step += self.length
            episode += int(trans['is_last'].sum())
            check = False
            for i in range(self.length):
                tran = {k: v[i] for k, v in trans.items()}
                for callback in self._callbacks:
                    callback(tran, i, **self.kwargs)

    def _round(self, policy, check):
        """One step of every environment. Returns the batch of transitions."""
        self._whole = False
        acts = [{k: v[i] for k, v in self._acts.items()} for i in range(self.length)]
        obs = _collect([w.step(act) for w, act in zip(self._workers, acts, strict=True)])
        obs = {k: np.stack([single[k] for single in obs]) for k in self.obs_space}
        seen = {k: v for k, v in obs.items() if not k.startswith('log/')}
        self._carry, acts, outs = policy(self._carry, seen, **self.kwargs)
        if check:
            self._check_actions(acts)
        # Policies may hand out buffers that they use again.
        acts = {k: np.array(v) for k, v in acts.items()}
        outs = {k: np.array(v) for k, v in outs.items()}
        _check_finite(acts)
        last = obs['is_last']
        if last.any():
            for value in acts.values():
                value[last] = 0
        # Copies, as an environment in this process may write to what it is given.
        self._acts = {**{k: v.copy() for k, v in acts.items()}, 'reset': last.copy()}
        self._whole = True
        return {**obs, **acts, **outs}

    def _check_actions(self, acts):
        spaces = {k: v for k, v in self.act_space.items() if k != 'reset'}
        for key in acts:
            if key not in spaces:
                raise ValueError(
                    f'The policy returned the action {key!r}, which the environment does not '
                    f'have. Its actions are {sorted(spaces)}.'
                )
        for key, space in spaces.items():
            if key not in acts:
                raise ValueError(
                    f'The policy did not return the action {key!r}. It returned {sorted(acts)}.'
                )
            shape, want = np.shape(acts[key]), (self.length, *space.shape)
            if shape != want:
                raise ValueError(
                    f'The policy returned the action {key!r} with shape {shape}; for '
                    f'{self.length} environments and {space} it has to be {want}.'
                )


def _collect(promises):
    """Results of all promises. Waits for all even if one fails, so that none stays in a pipe."""
    results, error = [], None
    for promise in promises:
        try:
            results.append(promise())
        except worker.EnvError as e:
            error = error or e
    if error:
        raise error
    return results


def _check_same(spaces):
    """All environments need the spaces of the first, or their values cannot be stacked."""
    for i, other in enumerate(spaces):
        if key := supervisor.differing(spaces[0], other):
            ours, theirs = ({**obs, **act}.get(key) for obs, act in (spaces[0], other))
            raise worker.EnvError(
                f'Environment {i} differs from environment 0 in the space of {key!r}: '
                f'{theirs} instead of {ours}'
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
