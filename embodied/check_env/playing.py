"""What an environment does wrong while it is played, in words that say how to mend it.

It is played at random, with resets at the end of episodes and at first a few in their middle. All
values that a run would refuse are found as it would find them.
"""

import copy
import re
import warnings

import numpy as np

from ..core import random, wrappers
from .findings import error, note, warning

RESETS = 0.1  # Share of the first hundred steps at which an episode is cut off.
COMPARED = 100  # Steps for which two environments of the same seed are compared.
MOST = 3  # Findings of the same kind.
# Parts of messages of Gymnasium about what does not matter here.
FORMAL = ('infinity', 'spec', 'symmetric', 'unwrapped', 'render', 'flatten', 'Deprecat', 'pkg_res')


class Player:
    """Plays an environment and collects what is wrong, each thing a few times at most."""

    def __init__(self, env, seed=0):
        self.env = env
        self.checked = wrappers.CheckSpaces(wrappers.UnifyDtypes(env))
        self.agent = random.RandomAgent(env.obs_space, env.act_space, seed)
        self.rng = np.random.default_rng(seed)
        self.found = []
        self.lengths = []  # Of episodes that ended, and whether by themselves.
        self.rewarded = False
        self.failed = False
        self.before = None  # The last observation, and a copy of it.

    def play(self, steps: int):
        """Findings of so many steps; playing ends at an exception."""
        reset, length, obs = True, 0, None
        for step in range(steps):
            action = {**self.agent.act(obs), 'reset': np.bool_(reset)}
            try:
                obs = self.checked.step(action)
            except Exception as e:
                self.failed = True
                self.tell(error, _failure(e, reset))
                break
            self._look(obs, reset)
            self._mutated(obs)
            length = 0 if reset else length + 1
            if obs['is_last']:
                self.lengths.append((length, bool(obs['is_terminal'])))
            reset = bool(obs['is_last'] or (step < 100 and self.rng.random() < RESETS))
        else:
            self._summary(steps)
        return self.found

    def tell(self, level, text):
        if level(text) not in self.found and len(self.found) < 20:
            self.found.append(level(text))

    def _look(self, obs, reset):
        self.rewarded |= bool(obs['reward'])
        if reset and not obs['is_first']:
            self.tell(
                error,
                "The observation of a reset has is_first false. Where action['reset'] is true, "
                'begin a new episode, whatever it was doing, and set is_first',
            )
        if obs['is_first'] and not reset:
            self.tell(
                error,
                'is_first is true without a reset: an episode began by itself. End the one before '
                "with is_last, and begin the next one when action['reset'] is true",
            )
        if reset and obs['reward']:
            self.tell(error, f'The reward of a reset is {obs["reward"]}. Make it 0')
        if reset and obs['is_last']:
            self.tell(error, 'An episode is over at its first observation. Set is_last later')

    def _mutated(self, obs):
        """Whether the last observation has changed since it was returned."""
        if self.before is not None:
            last, kept = self.before
            for key, value in kept.items():
                if not np.array_equal(last[key], value):
                    self.tell(
                        warning,
                        f'{key!r} is written to after it was returned. Return a new array in '
                        'every step, as by .copy()',
                    )
        self.before = obs, copy.deepcopy(obs)

    def _summary(self, steps):
        if not self.rewarded:
            self.tell(note, f'All rewards of {steps} random steps are 0: it takes exploration')
        if not self.lengths:
            self.tell(
                note,
                f'No episode ended within {steps} random steps. If they never do, set a limit of '
                'time: is_last without is_terminal',
            )
            return
        lengths, terminal = zip(*self.lengths, strict=True)
        if len(lengths) >= MOST and len(set(lengths)) == 1 and all(terminal) and lengths[0] > 1:
            self.tell(
                warning,
                f'All {len(lengths)} episodes are terminal after {lengths[0]} steps. If that is a '
                'limit of time, leave is_terminal false (in Gymnasium: truncated instead of '
                'terminated), as the return goes on behind it',
            )


def repeats(make, seed: int = 0) -> list:
    """Whether two environments of the same seed are the same, and of another seed are not."""
    one, two, other = make(seed), make(seed), make(seed + 1)
    try:
        agent = random.RandomAgent(one.obs_space, one.act_space)
        reset, differs, a = True, False, None
        for step in range(COMPARED):
            action = {**agent.act(a), 'reset': np.bool_(reset)}
            # Copies, as each may write to what it is given or has returned.
            a, b, c = (copy.deepcopy(x.step(copy.deepcopy(action))) for x in (one, two, other))
            for key in a:
                if not np.array_equal(a[key], b[key]):
                    return [
                        warning(
                            f'Two environments with the same seed differ at step {step} in '
                            f'{key!r}, so runs cannot be repeated. Take all random numbers from '
                            'a generator made of the seed that make_env(seed) or reset(seed=...) '
                            'is given'
                        )
                    ]
                differs |= not np.array_equal(a[key], c[key])
            reset = bool(a['is_last'])
        return [] if differs else [note('The seed has no effect: nothing here is random')]
    finally:
        for env in (one, two, other):
            env.close()


def gymnasium_says(env) -> list:
    """What the checker of Gymnasium finds in one of its environments, apart from formalities."""
    from gymnasium.utils import env_checker

    found = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        try:
            env_checker.check_env(env.unwrapped, skip_render_check=True)
        except Exception as e:
            found.append(f'{type(e).__name__}: {e}')
    lines = [str(x.message) for x in caught] + found
    lines = [re.sub(r'\x1b\[\d+m|^.*?WARN: ', '', x).partition('\n')[0].rstrip('.') for x in lines]
    lines = [x for x in dict.fromkeys(lines) if not any(word in x for word in FORMAL)]
    return [warning(f'The checker of Gymnasium says: {x}') for x in lines[:MOST]]


def _failure(e, reset):
    """What a run would say, and what to do about it."""
    text = str(e).partition('\n')[0].rstrip('.')
    where = 'a reset' if reset else 'a step'
    if not isinstance(e, ValueError):
        return f'{where} raised {type(e).__name__}: {text}'
    for word, remedy in (
        ('NaN', 'Find where it comes from; a run ends at it'),
        ('infinity', 'Limit it to finite values'),
        ('missing keys', 'Return exactly the keys of obs_space in every step, resets included'),
        ('has dtype', 'Return it as its space says, or change the space'),
        ('allowed is', 'Keep to low and high of its space, or widen them'),
        ('is_terminal', 'An episode that ends by itself is also the last: set is_last'),
        ('instead of a dict', 'Return a dict with the keys of obs_space'),
    ):
        if word in text:
            return f'At {where}: {text}. {remedy}'
    return f'{where} raised ValueError: {text}'
