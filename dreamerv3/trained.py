"""A trained agent by itself: it acts and imagines. No replay, no environment, no optimizer.

    agent = dreamerv3.load(LOGDIR)
    action = agent.act({'vector': [0.1, 0.0, 0.2, 0.0]})
    dream = agent.imagine(steps=50)

Everything that goes in and comes out is NumPy, for one environment or for a batch of them.
"""

import functools
from typing import NamedTuple

import elements
import jax
import ninjax as nj
import numpy as np

from embodied.core.wrappers import spaces
from embodied.jax import agent as compiled
from embodied.jax import device, ops, parameters, programs

from . import imagine, stored
from .agent import Dreamer

MODES = ('greedy', 'sample')


class Imagined(NamedTuple):
    """What was imagined, (T, ...) or for a batch (B, T, ...).

    obs      what the agent would see after each action, by name
    action   the actions, by name
    reward   the reward on arriving there, float32
    cont     the probability that the episode goes on, float32
    """

    obs: dict
    action: dict
    reward: np.ndarray
    cont: np.ndarray


class Latent(NamedTuple):
    """A state to imagine from, and whether it is one for a single environment."""

    state: dict
    single: bool


class Trained:
    """See `dreamerv3.load`.

    obs_space   observations that it acts on, by name; those that are only predicted are not needed
    act_space   its actions, by name; continuous ones are from -1 to 1 where there are bounds
    task        what it was trained on
    step        for so many environment steps
    """

    def __init__(self, saved: stored.Stored, seed: int = 0):
        config = saved.config
        # Whether actions are greedy is said by those who call.
        settings = {**config.agent, 'eval_mode': 'greedy', 'replay_context': config.replay_context}
        self.model = Dreamer(saved.obs_space, saved.act_space, elements.Config(**settings))
        self.obs_space = self.model.acted_on
        self.act_space = self.model.act_space
        self.task, self.step = config.task, saved.step
        self.stored = saved
        self.seed = seed
        self.calls = dict.fromkeys((compiled.EVAL, compiled.POLICY, compiled.DREAM), 0)
        devices = device.pick((0,), 'train_devices')
        self.dtype = device.dtype(config.jax.compute_dtype, devices)
        self.params = jax.device_put(self._needed(), devices[0])
        self._policy = self._compile(self.model.policy, 'mode')
        for name, static in PROGRAMS.items():
            function = functools.partial(getattr(imagine, name), self.model)
            setattr(self, f'_{name}', self._compile(function, *static))
        self.reset()

    def reset(self) -> None:
        """Forget what was seen: the next observation is the first of an episode."""
        self.carry = None
        self.single = True

    def act(self, obs: dict, mode: str = 'greedy') -> dict:
        """Actions for an observation, which follows those of the calls before.

        obs    values by the names of `obs_space`: of one environment, or (B, ...) of several.
               `is_first` is true where a new episode begins, by default only after `reset`. Other
               names are not looked at.
        mode   greedy, or sample from the policy

        ValueError for values that do not fit their spaces.
        """
        greedy = is_greedy(mode)
        carry, obs, single = self._take(obs)
        sequence = compiled.EVAL if greedy else compiled.POLICY
        mode = 'eval' if greedy else 'train'
        self.carry, act, _ = self._policy(sequence, carry, obs, mode=mode)
        self.single = single
        return cut(jax.device_get(act), single)

    def imagine(self, obs: dict | None = None, actions='greedy', steps: int | None = None):
        """What the world model expects to happen, as `Imagined`.

        obs       observation to go on from, as the next one for `act`. Without it, the last one
                  that `act` was given, or after `reset` a beginning that the model makes up.
        actions   greedy or sample, as the policy acts on what it imagines; or actions (T, ...) by
                  name, (B, T, ...) for a batch
        steps     T where the policy acts, as many as in training by default

        It does not change what `act` has seen.
        """
        return self.go_on(self.begin(obs)[0], actions, steps)[1]

    def begin(self, obs: dict | None = None) -> tuple[Latent, Imagined]:
        """State to imagine from, as described in `imagine`, and what the model sees in it.

        That is without the axis T and without actions.
        """
        single = self.single
        if obs is not None:
            carry, obs, single = self._take(obs)
            state, seen = self._observed(compiled.DREAM, carry, obs)
        elif self.carry is not None:
            state = self.carry[0]
            seen = self._outcome(compiled.DREAM, state, bdims=1)
        else:
            state, seen = self._invented(compiled.DREAM, batch_size=1)
        return Latent(state, single), Imagined(action={}, **cut(jax.device_get(seen), single))

    def go_on(self, latent: Latent, actions='greedy', steps: int | None = None):
        """The latent after imagined steps, and these as `Imagined`. See `imagine`."""
        given, greedy = None, False
        if isinstance(actions, str):
            greedy = is_greedy(actions)
            steps = self.model.config.imag_length if steps is None else steps
        else:
            given = self._fit_actions(latent, actions)
            total = next(iter(given.values())).shape[1]
            if steps not in (None, total):
                raise ValueError(f'steps: got {steps}, but there are {total} actions')
            steps = total
        if steps < 1:
            raise ValueError(f'steps: got {steps}, allowed is 1 or more')
        state, action, seen = self._rollout(
            compiled.DREAM, latent.state, given, length=steps, greedy=greedy
        )
        result = cut(jax.device_get({'action': action, **seen}), latent.single)
        return Latent(state, latent.single), Imagined(**result)

    def make_env(self, task: str = ''):
        """An environment as it was evaluated in, see `stored.make_env`."""
        return stored.make_env(self.stored, task)

    def _take(self, obs):
        """Carry before an observation, the observation with axis B, and whether it came without."""
        require('observation', obs, self.obs_space)
        lead = leading(obs, self.obs_space)
        single = not lead
        size = 1 if single else lead[0]
        if self.carry is not None and len(next(iter(self.carry[1].values()))) != size:
            raise ValueError(f'The batch now has {size} observations. Call reset() before.')
        values = spaces.fit('Observation', obs, self.obs_space, lead)
        begins = np.asarray(obs.get('is_first', self.carry is None), bool)
        values['is_first'] = np.broadcast_to(begins, lead)
        if single:
            values = {k: v[None] for k, v in values.items()}
        return self._initial(size) if self.carry is None else self.carry, values, single

    def _fit_actions(self, latent, actions):
        """Actions (B, T, ...), those that are continuous within their bounds."""
        require('actions', actions, self.act_space)
        lead = leading(actions, self.act_space, 2 - latent.single)
        if not latent.single:
            lead = (len(latent.state['deter']), *lead[1:])
        clip = lambda x, s: x if s.discrete else np.clip(x, s.low, s.high)
        values = {k: clip(actions[k], s) for k, s in self.act_space.items()}
        values = spaces.fit('Action', values, self.act_space, lead or (0,))
        return {k: v[None] for k, v in values.items()} if latent.single else values

    def _initial(self, size):
        with ops.precision(self.dtype):
            return self.model.initial(size)

    def _needed(self):
        """The parameters for acting and imagining. ValueError if these do not fit the options."""
        params = self.stored.params
        with programs.TRACING, ops.precision(self.dtype):
            shapes = imagine.params(self.model, compiled.make_seed(0, compiled.INIT, 0))
        try:
            parameters.check(shapes, params, complete=False)
        except ValueError as e:
            raise ValueError(f'{self.stored.folder}: {e}') from None
        return {k: np.asarray(params[k], v.dtype) for k, v in shapes.items()}

    def _compile(self, fn, *static):
        """`fn` with parameters and the next seed of a sequence, as one program."""
        pure = nj.pure(fn)

        def run(params, seed, args, **kwargs):
            return pure(params, *args, seed=seed, **kwargs)[1]

        program = jax.jit(run, static_argnames=static)

        def call(sequence, *args, **kwargs):
            seed = compiled.make_seed(self.seed, sequence, self.calls[sequence])
            self.calls[sequence] += 1
            with programs.TRACING, ops.precision(self.dtype):
                return program(self.params, seed, args, **kwargs)

        return call


# Functions of `imagine` that are compiled, and their static arguments.
PROGRAMS = {
    'observed': (),
    'invented': ('batch_size',),
    'outcome': ('bdims',),
    'rollout': ('length', 'greedy'),
}


def load(path, seed: int = 0) -> Trained:
    """See `dreamerv3.load`."""
    return Trained(stored.read(path), seed)


def is_greedy(mode):
    if mode not in MODES:
        raise ValueError(f'mode: got {mode!r}, allowed are {", ".join(MODES)}')
    return mode == 'greedy'


def require(name, values, spaces):
    names = ', '.join(map(repr, spaces))
    if not isinstance(values, dict):
        raise ValueError(f'{name}: got {type(values).__name__}, allowed is a dict with {names}')
    if missing := sorted(spaces.keys() - values.keys()):
        raise ValueError(f'{name}: lacks {missing}, has {sorted(values)}')


def leading(values, spaces, most=1):
    """Axes of values in front of those of their spaces, none if there are more than `most`."""
    key, space = next(iter(spaces.items()))
    shape = np.shape(values[key])
    lead = shape[: max(0, len(shape) - len(space.shape))]
    return lead if len(lead) <= most else ()


def cut(tree, single):
    """Without axis B for a single environment."""
    return jax.tree.map(lambda x: x[0], tree) if single else tree
