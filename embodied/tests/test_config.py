"""Options: types, bounds, blocks, regular expressions, and what a mistake says."""

import math

import pytest

from embodied import config

TEXT = r"""
# A comment of the file.
allowed:
  act: silu|relu

defaults:
  task: dummy_disc  # environment
  batch_size: 16  # [>0] sequences
  debug: False  # stop early
  size: [64, 64]  # [>0] height and width
  outputs: [jsonl]  # [jsonl|scope] where to
  run:  # the loop
    steps: 100  # [>=0] steps
    ratio: 0.5  # [0..1] share
    every: -1  # seconds
    beta: 0.9  # [>=0 <1] decay
    initial: .inf  # [>=0] priority
  agent:
    enc: {}
    policy:  # actor
      units: 8  # [>0] units
      act: silu  # [act] activation
    value:  # critic
      units: 8  # [>0] units

small:
  .*\.units: 4

nested:
  run: {steps: 1e3, ratio: 1}
  .*:
    units: 5

wrong:
  run.steps: -1
"""


@pytest.fixture
def schema(tmp_path):
    path = tmp_path / 'configs.yaml'
    path.write_text(TEXT)
    return config.Schema(path)


def test_lines_become_options(schema):
    option = schema.options['run.beta']
    assert (option.default, option.allowed, option.help) == (0.9, '>=0 <1', 'decay')
    assert schema.options['agent.policy.act'].allowed == 'silu|relu'
    assert schema.options['task'].allowed == ''
    assert schema.options['task'].help == 'environment'
    assert schema.sections['run'] == 'the loop'
    assert schema.sections['agent.policy'] == 'actor'
    assert sorted(schema.blocks) == ['nested', 'small', 'wrong']


def test_defaults_have_their_types(schema):
    result = schema.resolve()
    assert result.batch_size == 16 and type(result.batch_size) is int
    assert result.size == (64, 64)
    assert result.debug is False
    assert result.run.initial == math.inf
    assert result.agent.policy.units == 8


def test_blocks_stack_left_to_right_and_flags_win(schema):
    assert schema.resolve(['small', 'nested']).agent.policy.units == 5
    assert schema.resolve(['nested', 'small']).agent.policy.units == 4
    result = schema.resolve(['nested', 'small'], {'agent.policy.units': '7'})
    assert result.agent.policy.units == 7
    assert result.agent.value.units == 4
    assert result.run.steps == 1000 and type(result.run.steps) is int
    assert type(result.run.ratio) is float


@pytest.mark.parametrize(
    'key, value, want',
    [
        ('run.steps', '1e6', 1000000),
        ('run.steps', '1234567890123456789', 1234567890123456789),
        ('run.steps', 1e3, 1000),
        ('run.ratio', '1', 1.0),
        ('run.ratio', 1, 1.0),
        ('run.every', '-1', -1),
        ('debug', 'True', True),
        ('debug', 'true', True),
        ('debug', 'false', False),
        ('size', '32,48', (32, 48)),
        ('size', ['32', '48'], (32, 48)),
        ('size', [32], (32,)),
        ('outputs', 'scope', ('scope',)),
        ('run.initial', 'inf', math.inf),
        ('task', 'a b', 'a b'),
        ('agent.policy.act', 'relu', 'relu'),
    ],
)
def test_values(schema, key, value, want):
    got = schema.resolve(flags={key: value})[key]
    assert got == want and type(got) is type(want)


@pytest.mark.parametrize(
    'key, value, allowed',
    [
        ('batch_size', '0', 'a whole number >0'),
        ('batch_size', '-5', '>0'),
        ('batch_size', '1.5', 'a whole number'),
        ('batch_size', 'many', 'a whole number'),
        ('batch_size', True, 'a whole number'),
        ('batch_size', ['1', '2'], 'a whole number'),
        ('batch_size', '1e400', 'a whole number'),
        ('batch_size', 'nan', 'a whole number'),
        ('batch_size', None, 'a whole number'),
        ('batch_size', ' 4', 'a whole number'),
        ('batch_size', '4\n', 'a whole number'),
        ('batch_size', '1_0', 'a whole number'),
        ('batch_size', '٤', 'a whole number'),
        ('batch_size', '0x4', 'a whole number'),
        ('batch_size', '1e19', 'a whole number >0 of at most 9.2e+18'),
        ('run.every', -(2**64), 'a whole number of at most 9.2e+18'),
        ('run.initial', '1e39', 'a number >=0 of at most 3.4e+38'),
        ('run.ratio', '1.1', 'a number 0..1'),
        ('run.ratio', 'nan', 'a number'),
        ('run.beta', '1', '>=0 <1'),
        ('run.beta', 'inf', '>=0 <1'),
        ('debug', '1', 'True or False'),
        ('debug', 'yes', 'True or False'),
        ('size', '64,0', 'a list, each a whole number >0'),
        ('size', '', 'a list'),
        ('size', [], 'a list'),
        ('outputs', 'jsonl,tensorboard', 'jsonl|scope'),
        ('task', 3, 'a printable text'),
        ('task', 'a\0b', 'a printable text'),
        ('agent.policy.act', 'gelu', 'silu|relu'),
        ('agent.policy.act', 'silu2', 'silu|relu'),
    ],
)
def test_wrong_value_is_one_line(schema, key, value, allowed):
    with pytest.raises(ValueError) as e:
        schema.resolve(flags={key: value})
    text = str(e.value)
    assert text.startswith(f'{key}: got {value!r}, allowed is ') and allowed in text
    assert '\n' not in text


@pytest.mark.parametrize(
    'key, near',
    [
        ('run.step', 'run.steps'),
        ('steps', 'run.steps'),
        ('unit', 'agent.policy.units or agent.value.units'),
        ('batchsize', 'batch_size'),
        ('Batch_Size', 'batch_size'),
        ('config', 'configs'),
    ],
)
def test_unknown_option_names_the_nearest(schema, key, near):
    with pytest.raises(ValueError, match=f'^{key}: unknown option, did you mean {near}\\?$'):
        schema.resolve(flags={key: '1'})


def test_other_unknown_names(schema):
    with pytest.raises(ValueError, match=r'^qqq: unknown option$'):
        schema.resolve(flags={'qqq': '1'})
    with pytest.raises(ValueError, match=r'^run: is a section, allowed are run.steps, run.ratio'):
        schema.resolve(flags={'run': '1'})
    with pytest.raises(ValueError, match=r'matches no option'):
        schema.resolve(flags={r'.*\.width': '1'})
    with pytest.raises(ValueError, match=r'not a regular expression'):
        schema.resolve(flags={'(': '1'})
    with pytest.raises(ValueError, match=r"unknown block 'smal', did you mean small\?.*nested"):
        schema.resolve(['smal'])


def test_regular_expression_is_for_whole_keys(schema):
    result = schema.resolve(flags={r'agent\..*\.units': '3'})
    assert result.agent.policy.units == result.agent.value.units == 3
    with pytest.raises(ValueError, match='matches no option'):
        schema.resolve(flags={r'agent\..*\.uni': '3'})


def test_bad_block_is_named(schema):
    with pytest.raises(ValueError, match=r'run.steps: got -1.*\(in block wrong\)'):
        schema.resolve(['wrong'])


def test_saved_config_is_a_block(schema, tmp_path):
    path = tmp_path / 'config.yaml'
    saved = schema.resolve(['small'], {'size': '8,8', 'run.steps': '7'})
    config.save(saved, path)
    assert schema.resolve([str(path)]).flat == saved.flat
    assert config.load(path) == saved.flat
    assert sorted(x.name for x in tmp_path.iterdir()) == ['config.yaml', 'configs.yaml']


def test_saved_config_is_checked(schema, tmp_path):
    path = tmp_path / 'config.yaml'
    path.write_text('run:\n  steps: -3\n')
    with pytest.raises(ValueError, match=r'run.steps: got -3, allowed is a whole number >=0'):
        schema.resolve([str(path)])
    path.write_text('run: {stepps: 3}\n')
    with pytest.raises(ValueError, match=r'run.stepps: unknown option, did you mean run.steps\?'):
        schema.resolve([str(path)])
    path.write_text('run: [')
    with pytest.raises(ValueError, match='is not YAML'):
        schema.resolve([str(path)])
    path.write_text('hello')
    with pytest.raises(ValueError, match='is not a mapping'):
        schema.resolve([str(path)])
    with pytest.raises(ValueError, match='cannot be read, No such file'):
        schema.resolve([str(tmp_path / 'absent.yaml')])


def test_default_that_breaks_its_own_bound_is_refused():
    with pytest.raises(ValueError, match='steps: got 0'):
        config.Option('steps', 0, '>0', 'steps')
