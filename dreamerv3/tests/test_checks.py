"""Options of the agent that do not go together."""

import pathlib

import pytest

import dreamerv3
from dreamerv3 import checks
from embodied import config

SCHEMA = config.Schema(pathlib.Path(dreamerv3.__file__).parent / 'configs.yaml')


@pytest.mark.parametrize(
    'flags, match',
    [
        ({'agent.dyn.rssm.deter': 100}, r'^agent.dyn.rssm.deter: got 100, .*multiples .*blocks 8$'),
        ({'agent.imag_last': 65}, r'^agent.imag_last: got 65, allowed is at most batch_length 64$'),
        ({'agent.imag_last': 1}, r'^agent.imag_last: got 1, allowed is 2 or more'),
        ({'batch_length': 1}, r'^batch_length: got 1, allowed is 2 or more'),
        ({'report_length': 1}, r'^report_length: got 1, allowed is 2 or more'),
        ({'agent.policy.minstd': 2}, r'^agent.policy.minstd: got 2.0, allowed is at most .* 1.0$'),
        ({'agent.retnorm.perclo': 95}, r'^agent.retnorm.perclo: got 95.0, allowed is less than'),
        ({'agent.opt.schedule': 'linear'}, r'^agent.opt.anneal: got 0, allowed is more than'),
        (
            {'env.dummy.size': (64, 257)},
            r'^env.dummy.size: .*heights and widths from 5 to 256 .*enc',
        ),
        ({'env.dummy.size': (4, 64)}, r'^env.dummy.size: got \[4, 64\], .* from 5 to 256'),
        ({'agent.enc.simple.mults': (4,)}, r'^env.dummy.size: .* from 5 to 32 .*enc.* \[4\]$'),
        ({'agent.dec.simple.outer': True, 'env.dummy.size': (256, 64)}, r' 5 to 128 for .*\.dec'),
        (
            {'agent.enc.simple.include': '('},
            r"^agent.enc.simple.include: got '\(', .* regular expr",
        ),
        (
            {'agent.dec.simple.exclude': '*'},
            r"^agent.dec.simple.exclude: got '\*', .* regular expr",
        ),
        ({'agent.dec.simple.bspace': 3}, r'^agent.dec.simple.bspace: got 3, .* divisors of both'),
    ],
)
def test_bad_combination_is_told(flags, match):
    with pytest.raises(ValueError, match=match) as e:
        checks.check(SCHEMA.resolve(flags=flags))
    assert '\n' not in str(e.value)


@pytest.mark.parametrize(
    'flags',
    [
        {},
        {'agent.imag_last': 64},
        {'batch_length': 1, 'agent.repval_loss': False},
        {'report_length': 1, 'agent.report': False},
        {'agent.opt.schedule': 'cosine', 'agent.opt.anneal': 2000},
        {'env.dummy.size': (48, 256)},
        {'env.dummy.size': (17, 100)},
        {'env.dummy.size': (1, 1), 'random_agent': True},
        {'env.gym.size': (1, 1), 'task': 'gym_CartPole-v1'},
        {'agent.dec.simple.bspace': 3, 'task': 'gym_CartPole-v1'},
    ],
)
def test_good_combination_passes(flags):
    checks.check(SCHEMA.resolve(flags=flags))


@pytest.mark.parametrize(
    'key, fits',
    [
        ('agent.dyn.rssm.deter', False),
        ('agent.dyn.rssm.unimix', True),
        ('agent.enc.simple.mults', False),
        ('agent.dec.simple.winit', True),
        ('agent.rewhead.bins', False),
        ('agent.policy.layers', False),
        ('agent.policy.minstd', True),
        ('agent.policy_dist_cont', False),
        ('agent.advnorm.impl', False),
        ('agent.advnorm.rate', True),
        ('agent.opt.lr', True),
        ('agent.opt.wd', False),
        ('agent.loss_scales.rec', True),
        ('agent.horizon', True),
    ],
)
def test_options_with_which_a_run_cannot_go_on(key, fits):
    old = SCHEMA.options[key].default
    assert checks.structural(key, old, 'another') is not fits
