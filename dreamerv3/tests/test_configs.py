"""configs.yaml: every option has its line, every block fits, sizes and suites are those we mean."""

import pathlib
import re

import pytest

import dreamerv3
from dreamerv3 import checks
from embodied import checks as general
from embodied import config

FILENAME = pathlib.Path(dreamerv3.__file__).parent / 'configs.yaml'
SCHEMA = config.Schema(FILENAME)
SIZES = ['size1m', 'size12m', 'size25m', 'size50m', 'size100m', 'size200m', 'size400m']


def test_every_option_has_its_line():
    for key, option in SCHEMA.options.items():
        assert option.help, f'{key} needs a comment of what it does'
        assert len(option.help) <= 70, key
    for section in {k.rpartition('.')[0] for k in SCHEMA.options}:
        assert section.startswith('env') or not section or SCHEMA.sections[section], section


def test_defaults_are_one_key_a_line():
    text = FILENAME.read_text().split('\ndefaults:\n')[1].split('\n# Sizes')[0]
    for line in filter(str.strip, text.splitlines()):
        assert re.fullmatch(r' +\w+:(  # .+| [^#]+  # .+)?', line), line
    assert max(map(len, FILENAME.read_text().splitlines())) <= 100


def test_numbers_have_bounds():
    free = {f'run.{x}_every' for x in ('log', 'report', 'save', 'eval')}
    for key, option in SCHEMA.options.items():
        if option.kind in (int, float) and key not in free:
            assert option.allowed, key


@pytest.mark.parametrize('name', list(SCHEMA.blocks))
def test_every_block_alone(name):
    result = SCHEMA.resolve([name])
    general.check(result)
    checks.check(result)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('suite', ['crafter', 'gym', 'debug'])
def test_sizes_go_with_suites(suite, size):
    result = SCHEMA.resolve([suite, size])
    general.check(result)
    checks.check(result)


@pytest.mark.parametrize('size, deter, depth', [('size1m', 512, 4), ('size400m', 12288, 96)])
def test_sizes(size, deter, depth):
    agent = SCHEMA.resolve([size]).agent
    assert agent.dyn.rssm.deter == deter
    assert agent.dyn.rssm.hidden == agent.policy.units == deter // 8
    assert agent.enc.simple.depth == agent.dec.simple.depth == agent.dyn.rssm.classes == depth


def test_default_is_size200m():
    assert SCHEMA.resolve(['size200m']).flat == SCHEMA.resolve().flat


def test_suites():
    crafter = SCHEMA.resolve(['crafter'])
    assert (crafter.task, crafter.run.envs, crafter.run.train_ratio) == ('crafter_reward', 1, 512)
    assert crafter.run.steps == 1100000
    gym = SCHEMA.resolve(['gym'])
    assert gym.task == 'gym_CartPole-v1' and gym.agent.policy.units == 64
    quick = SCHEMA.resolve(['quickstart'])
    assert quick.agent.dyn.rssm.deter == 256 and quick.agent.policy.units == 64
    assert quick.run.final_eval_eps == 20


@pytest.mark.parametrize(
    'argv',
    [
        {'.*': '1'},
        {'agent.dyn.rssm.norm': 'batch'},
        {'agent.dyn.rssm.act': 'sine'},
        {'agent.dyn.rssm.winit': 'trunc_normal'},
        {'agent.value.output': 'binary'},
        {'agent.opt.beta1': '1'},
        {'agent.horizon': '1'},
        {'jax.compute_dtype': 'float16'},
        {'seed': '-1'},
    ],
)
def test_wrong_values(argv):
    with pytest.raises(ValueError, match='allowed is'):
        SCHEMA.resolve(flags=argv)


@pytest.mark.parametrize(
    'key, value',
    [
        ('agent.dyn.rssm.norm', 'layer1em6'),
        ('agent.dyn.rssm.norm', 'none'),
        ('agent.dyn.rssm.winit', 'uniform_avg'),
        ('agent.dyn.rssm.winit', 'zeros'),
        ('agent.value.output', 'huber'),
    ],
)
def test_right_values(key, value):
    assert SCHEMA.resolve(flags={key: value})[key] == value
