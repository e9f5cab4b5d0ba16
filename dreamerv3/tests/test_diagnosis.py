"""Verdicts on the metrics of the agent."""

import math

import pytest

from dreamerv3 import diagnosis
from dreamerv3.tests import small

CONFIG = small.SCHEMA.resolve(['debug']).agent
# As in the middle of a run of the quick start.
GOOD = {
    'loss/dyn': 1.05,
    'loss/rew': 0.66,
    'opt/grad_norm': 2.1,
    'opt/updates': 5000.0,
    'rand/action': 0.3,
    'ret_max': 1.1,
    'ret_min': -4.3,
    'adv_mag': 0.2,
}


def verdicts(earlier=GOOD, config=CONFIG, **changes):
    changes = {k.replace('__', '/'): v for k, v in changes.items()}
    return diagnosis.verdicts({**GOOD, **changes}, earlier, config)


def test_quiet_where_all_is_well():
    assert verdicts() == verdicts(earlier={}) == []
    assert diagnosis.verdicts({}, {}, CONFIG) == []
    # A normal change of the gradient norm, and one that got smaller.
    assert verdicts(opt__grad_norm=7.0) == verdicts(opt__grad_norm=0.01) == []


@pytest.mark.parametrize(
    'changes, text',
    [
        ({'rand__action': 0.004}, 'policy of action has collapsed, its entropy is at 0.4%'),
        ({'loss__dyn': 1.0}, 'dynamics loss is stuck at the 1 free nats'),
        ({'loss__rew': math.nan}, 'not finite: loss/rew.'),
        ({'loss__rew': math.inf, 'val': math.nan}, 'not finite: loss/rew, val.'),
        ({'skipped': 1.0}, 'updates were left out, as they were not finite'),
        ({'opt__grad_norm': 50.0}, 'gradient norm grew from 2.1 to 50: a lower agent.opt.lr'),
        (
            {'ret_max': 0.001, 'ret_min': 0.0, 'adv_mag': 1e-5},
            'imagined returns differ by 0.001 only, below agent.retnorm.limit 1',
        ),
    ],
)
def test_faults_are_told(changes, text):
    (found,) = verdicts(**changes)
    assert found.startswith(text)
    assert '\n' not in found


def test_several_faults():
    assert len(verdicts(rand__action=0.0, rand__other=0.0, loss__dyn=1.0)) == 3


def test_a_new_agent_is_given_time():
    start = {'opt__updates': 50.0, 'ret_max': 0.0, 'ret_min': 0.0, 'adv_mag': 0.0}
    assert verdicts(loss__dyn=1.0, **start) == []


def test_options_matter():
    off = {'retnorm.impl': 'none', 'dyn.rssm.free_nats': 0.0, 'opt.agc': 0.0}
    config = CONFIG.update(off)
    assert verdicts(config=config, loss__dyn=0.0) == []
    assert verdicts(config=config, ret_max=0.0, ret_min=0.0, adv_mag=0.0) == []
    assert 'agent.opt.agc 0.3' in verdicts(config=config, opt__grad_norm=1e9)[0]
    assert 'agent.opt.agc' not in verdicts(opt__grad_norm=1e9)[0]
    # The limit of the dynamics loss follows its option.
    assert verdicts(config=CONFIG.update({'dyn.rssm.free_nats': 2.0}), loss__dyn=2.0)
