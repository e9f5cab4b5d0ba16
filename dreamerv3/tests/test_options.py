"""No option of the agent without an effect: flips every key and compares the traced programs.

Programs are traced with shapes only, and what they do not need is left out before comparing, so a
key whose computation is thrown away counts as dead.
"""

import functools
import hashlib
import pathlib
import re

import elements
import jax
import ninjax as nj
import numpy as np
import pytest
from jax.interpreters import partial_eval

import dreamerv3
from dreamerv3 import agent, checks
from embodied import config

SCHEMA = config.Schema(pathlib.Path(dreamerv3.__file__).parent / 'configs.yaml')
KEYS = [k for k in SCHEMA.options if k.startswith('agent.')]
ROWS, STEPS = 2, 4

OBS_SPACE = {
    'image': elements.Space(np.uint8, (48, 48, 3)),
    'vector': elements.Space(np.float32, (3,)),
    'token': elements.Space(np.int32, (), 0, 4),
    'reward': elements.Space(np.float32),
    'is_first': elements.Space(bool),
    'is_last': elements.Space(bool),
    'is_terminal': elements.Space(bool),
}
ACT_SPACE = {
    'choice': elements.Space(np.int32, (), 0, 3),
    'move': elements.Space(np.float32, (2,), -1, 1),
}

# Values for keys that the usual ones (see `other`) do not fit.
VALUES = {
    'agent.dyn.rssm.deter': 16,
    'agent.dyn.rssm.blocks': 2,
    'agent.enc.simple.mults': (2, 3, 4, 8),
    'agent.dec.simple.mults': (2, 3, 4, 8),
    'agent.dec.simple.depth': 4,
    'agent.dec.simple.bspace': 4,
    'agent.enc.simple.include': 'image|vector',
    'agent.enc.simple.exclude': 'tok.*',
    'agent.dec.simple.include': 'image|vector',
    'agent.dec.simple.exclude': 'tok.*',
    'agent.imag_last': 2,
    'agent.opt.anneal': 4000,
}
# Keys that matter only together with others.
PARTNERS = {
    'agent.opt.schedule': {'agent.opt.anneal': 2000},
    'agent.opt.anneal': {'agent.opt.schedule': 'linear', 'agent.opt.anneal': 2000},
    'agent.valnorm.rate': {'agent.valnorm.impl': 'meanstd'},
    'agent.valnorm.limit': {'agent.valnorm.impl': 'meanstd'},
    'agent.advnorm.rate': {'agent.advnorm.impl': 'meanstd'},
    'agent.advnorm.limit': {'agent.advnorm.impl': 'meanstd'},
}
# Keys with one allowed value: another one is an error.
SINGLE = {'agent.conhead.output', 'agent.policy_dist_disc'}
# Keys that make other functions of the same parameters, with which a run cannot go on either.
FUNCTIONS = re.compile(r'.*\.(act|norm|symlog|absolute|strided|output)|agent\.policy_dist_.*')
STRINGS = ('relu', 'layer', 'normal_in')


def other(key):
    """A value that is allowed and is not the default of the debug block."""
    option, now = SCHEMA.options[key], resolve(key)[key]
    if key in VALUES:
        candidates = [VALUES[key]]
    elif option.kind is bool:
        candidates = [not now]
    elif option.kind is str:
        candidates = [*STRINGS, *option.allowed.split('|')]
    elif option.kind is int:
        candidates = [now + 1]
    else:
        candidates = [now / 2, now + 0.25]
    for value in candidates:
        try:
            if option.convert(value) != now:
                return option.convert(value)
        except ValueError:
            continue
    return None


def resolve(key, value=None):
    """Config with the partners of a key, and the key at another value."""
    flags = dict(PARTNERS.get(key, {}))
    return SCHEMA.resolve(['debug'], flags if value is None else {**flags, key: value})


class Programs:
    """What an agent of a config runs, as fingerprints of the traced programs."""

    def __init__(self, options):
        settings = elements.Config(**options.agent, replay_context=1)
        self.model = agent.Dreamer(OBS_SPACE, ACT_SPACE, settings)
        spaces = {**OBS_SPACE, **ACT_SPACE, **self.model.entry_space}
        zeros = lambda s: np.zeros((ROWS, STEPS, *s.shape), s.dtype)
        self.data = {k: zeros(s) for k, s in spaces.items()}
        self.data['consec'] = np.zeros((ROWS, STEPS), np.int32)
        self.data['stepid'] = np.zeros((ROWS, STEPS, 20), np.uint8)

    @functools.cached_property
    def init(self):
        return self._created[0]

    @property
    def shapes(self):
        """Names and shapes of parameters and state, and those of the latents in replay."""
        entries = {k: s.shape for k, s in self.model.entry_space.items()}
        return {k: (v.shape, v.dtype) for k, v in self._created[1].items()}, entries

    @functools.cached_property
    def policy(self):
        obs = {k: v[:, 0] for k, v in self.data.items()}
        return [self._trace(self.model.policy, obs, mode=x) for x in ('train', 'eval')]

    @functools.cached_property
    def train(self):
        return self._trace(self.model.train, self.data)

    @functools.cached_property
    def report(self):
        return self._trace(self.model.report, self.data)

    @functools.cached_property
    def _created(self):
        """Fingerprint of the initialisation and the shapes of what it creates."""

        def create(seed):
            run = lambda: self.model.train(self.model.initial(ROWS), self.data)
            return nj.pure(run)({}, seed=seed, create=True, ignore=True)[0]

        program, params = jax.make_jaxpr(create, return_shape=True)(np.zeros(2, np.uint32))
        return fingerprint(program), params

    def _trace(self, fn, *args, **kwargs):
        pure = nj.pure(lambda *args: fn(self.model.initial(ROWS), *args, **kwargs))
        program = lambda params, seed, *args: pure(params, *args, seed=seed)
        seed = np.zeros(2, np.uint32)
        return fingerprint(jax.make_jaxpr(program)(self._created[1], seed, *args))


def fingerprint(program):
    """Hash of the text of a program and of its constants."""
    jaxpr = program.jaxpr
    needed, _ = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    # Addresses of functions differ between traces.
    text = re.sub(r'0x[0-9a-f]+', '', str(needed))
    digest = hashlib.sha256(text.encode())
    for const in program.consts:
        digest.update(np.asarray(const).tobytes())
    return digest.hexdigest()


@functools.cache
def baseline(*partners):
    return Programs(SCHEMA.resolve(['debug'], dict(partners)))


def changed(key, value):
    """Name of the first program that another value of a key changes, or None."""
    before = baseline(*PARTNERS.get(key, {}).items())
    after = Programs(resolve(key, value))
    names = ['init', 'policy', 'train']
    # Reports share the losses of training, so they tell something about their own keys only.
    names += ['report'] if key.startswith('agent.report') else []
    for name in names:
        if getattr(before, name) != getattr(after, name):
            return name
    return None


@pytest.mark.slow
@pytest.mark.parametrize('key', [k for k in KEYS if k not in SINGLE])
def test_key_changes_a_program(key):
    assert changed(key, other(key)), f'{key} has no effect'


@pytest.mark.slow
@pytest.mark.parametrize('key', [k for k in KEYS if k not in SINGLE])
def test_key_that_changes_parameters_is_structural(key):
    old, new = resolve(key)[key], other(key)
    made = baseline(*PARTNERS.get(key, {}).items()).shapes, Programs(resolve(key, new)).shapes
    differs = made[0] != made[1]
    if differs or not FUNCTIONS.fullmatch(key):
        assert checks.structural(key, old, new) == differs


@pytest.mark.parametrize('key', sorted(SINGLE))
def test_single_value(key):
    assert other(key) is None
    with pytest.raises(ValueError, match=f'^{key}: got .*allowed is {SCHEMA.options[key].default}'):
        SCHEMA.resolve(flags={key: 'normal'})


@pytest.mark.parametrize('key', KEYS)
def test_other_value_is_allowed(key):
    assert {*VALUES, *PARTNERS, *SINGLE} <= {*KEYS}
    value = other(key)
    assert (value is None) == (key in SINGLE)
    for flipped in (resolve(key), resolve(key, value)):
        checks.check(flipped)


def test_equal_options_give_equal_programs():
    left, right = (Programs(SCHEMA.resolve(['debug'])) for _ in range(2))
    for name in ('init', 'policy', 'train', 'report'):
        assert getattr(left, name) == getattr(right, name), name


def test_what_is_thrown_away_does_not_count():
    def program(x, dead):
        _ = x * dead
        return x + 1

    traced = [jax.make_jaxpr(lambda x: program(x, dead))(1.0) for dead in (2.0, 3.0)]
    assert str(traced[0]) != str(traced[1])
    assert fingerprint(traced[0]) == fingerprint(traced[1])
