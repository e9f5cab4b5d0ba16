"""Options that do not go together are told in one line with key, value and remedy."""

import elements
import pytest

from embodied import checks
from embodied.core.system import hardware

GOOD = {
    'batch_size': 4,
    'batch_length': 8,
    'report_length': 8,
    'consec_train': 1,
    'consec_report': 1,
    'replay_context': 1,
    'logger': {'outputs': ('jsonl', 'scope'), 'filter': 'score|loss'},
    'env': {'gym': {'size': (64, 64)}},
    'script': 'train',
    'random_agent': False,
    'logdir': '/nowhere',
    'replay': {
        'size': 36,
        'eval_size': 9,
        'fracs': {'uniform': 0.5, 'priority': 0.3, 'recency': 0.2},
    },
    'run': {
        'envs': 2,
        'from_checkpoint': '',
        'from_checkpoint_regex': '.*',
        'public': False,
        'token_file': '',
        'remote_envs': False,
        'remote_replay': False,
        'actor_batch': -1,
        'actor_addr': 'auto',
        'replay_addr': 'auto',
        'logger_addr': 'auto',
    },
    'jax': {
        'platform': 'cpu',
        'policy_devices': (0,),
        'train_devices': (0,),
        'mock_devices': 0,
        'cache': 'auto',
    },
}


def test_good_config_passes():
    checks.check(elements.Config(GOOD))


@pytest.mark.parametrize(
    'changes, match',
    [
        ({'replay.eval_size': 8}, r'^replay.eval_size: got 8, allowed is at least 9: '),
        ({'run.from_checkpoint_regex': 'a('}, r"^run.from_checkpoint_regex: got 'a\(', .*regular"),
        (
            {'run.from_checkpoint': '/no'},
            r"^run.from_checkpoint: got '/no', .*: /no does not exist",
        ),
        (
            {'script': 'eval_only'},
            r"^run.from_checkpoint: got '', allowed for eval_only is a logdir",
        ),
        ({'replay.size': 35}, r'^replay.size: got 35, allowed is at least 36, one batch'),
        (
            {'consec_train': 2, 'replay.eval_size': 17},
            r'^replay.size: got 36, allowed is at least 68',
        ),
        ({'report_length': 9}, r'^report_length: got 9, allowed is at most 8'),
        ({'consec_report': 2}, r'^report_length: got 8, allowed is at most 4'),
        ({'replay.fracs.uniform': 1.0}, r'^replay.fracs: got .* sum to 1$'),
        ({'logger.filter': 'a('}, r"^logger.filter: got 'a\(', allowed is a regular expression"),
        ({'env.gym.size': (64,)}, r'^env.gym.size: got \[64\], allowed are height and width'),
        ({'jax.train_devices': (0, 0)}, r'^jax.train_devices: got \[0, 0\], .*once'),
        (
            {'jax.mock_devices': 3, 'jax.train_devices': (0, 1, 2)},
            r'^batch_size: got 4, allowed are multiples of the 3',
        ),
        (
            {'jax.mock_devices': 3, 'jax.policy_devices': (0, 1, 2)},
            r'^run.envs: got 2, allowed are multiples of the 3',
        ),
        (
            {'jax.mock_devices': 2, 'jax.train_devices': (2,)},
            r'^jax.train_devices: .* 0 to 1, the devices of cpu as of jax.mock_devices$',
        ),
        ({'jax.policy_devices': (1,)}, r'^jax.policy_devices: .* 0 to 0, the devices of cpu$'),
        ({'jax.cache': '/dev/null/x'}, r"^jax.cache: got '/dev/null/x', allowed is auto, off or a"),
        ({'logger.outputs': ('scope', 'scope')}, r'^logger.outputs: got .*, allowed is each once'),
        ({'replay_context': 9, 'replay.eval_size': 99}, r'^replay_context: got 9, .* at most .* 8'),
        ({'run.actor_batch': 0}, r'^run.actor_batch: got 0, allowed is 1 or more, or -1 for all'),
    ],
)
def test_bad_combination_is_told(changes, match):
    with pytest.raises(ValueError, match=match) as e:
        checks.check(elements.Config(GOOD).update(changes))
    assert '\n' not in str(e.value)


@pytest.mark.parametrize('ids, right', [((1,), True), ((0, 1), True), ((2,), False)])
def test_devices_are_those_of_the_machine(monkeypatch, ids, right):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '4,7')
    for name in ('has_gpu', 'has_plugin'):
        monkeypatch.setattr(hardware, name, lambda *args: True)
    changed = elements.Config(GOOD).update({'jax.platform': 'cuda', 'jax.train_devices': ids})
    if right:
        checks.check(changed)
    else:
        with pytest.raises(ValueError, match=r'got \[2\], allowed is 0 to 1, the devices of cuda$'):
            checks.check(changed)
    with pytest.raises(ValueError, match=r'^jax.mock_devices: got 2, .* --jax.platform cpu$'):
        checks.check(changed.update({'jax.platform': 'auto', 'jax.mock_devices': 2}))


def test_devices_matter_only_to_roles_with_the_agent():
    changes = {'jax.train_devices': (0, 1, 2, 3), 'run.actor_addr': '10.0.0.1:1'}
    config = elements.Config(GOOD).update(changes)
    checks.check(config.update({'script': 'parallel_env'}))
    with pytest.raises(ValueError, match='devices of cpu'):
        checks.check(config)


def test_missing_gpu_is_told(monkeypatch):
    monkeypatch.setattr(hardware, 'has_gpu', lambda: False)
    with pytest.raises(ValueError, match=r"jax.platform: got 'cuda', .*--jax.platform cpu"):
        checks.check(elements.Config(GOOD).update({'jax.platform': 'cuda'}))


@pytest.mark.parametrize(
    'changes, match',
    [
        (
            {'run.actor_addr': '0.0.0.0:1'},
            r"^run.actor_addr: got '0.0.0.0:1', allowed are addresses",
        ),
        ({'run.logger_addr': 'nowhere'}, r"^run.logger_addr: got 'nowhere', allowed is host:port"),
        ({'run.remote_envs': True}, r"^run.actor_addr: got 'auto', allowed is host:port"),
        ({'run.remote_replay': True}, r"^run.replay_addr: got 'auto', allowed is host:port"),
        ({'script': 'parallel_env'}, r"^run.actor_addr: got 'auto', allowed is host:port"),
        ({'script': 'parallel_replay'}, r"^run.replay_addr: got 'auto'"),
        ({'script': 'parallel_agent', 'run.actor_addr': '[::1]:1'}, r'^run.replay_addr: got'),
        ({'run.public': True}, r'^run.public: got True, allowed with a secret'),
        ({'run.token_file': '/no'}, r"^run.token_file: got '/no', .*No such file"),
        ({'run.token_file': '~nobody_/x'}, r"^run.token_file: got '~nobody_/x', .* home"),
        (
            {'run.actor_addr': '127.0.0.1:1', 'run.logger_addr': '127.0.0.1:1'},
            r"^run.logger_addr: got '127.0.0.1:1', allowed is another one than run.actor_addr",
        ),
    ],
)
def test_roles(changes, match, monkeypatch):
    monkeypatch.delenv('EMBODIED_TOKEN', raising=False)
    config = elements.Config(GOOD).update({'script': 'parallel', **changes})
    with pytest.raises(ValueError, match=match):
        checks.check(config)


@pytest.mark.parametrize(
    'changes',
    [
        {'run.actor_addr': '127.0.0.2:1'},
        {'run.remote_replay': True, 'run.replay_addr': 'elsewhere:1'},
        {'script': 'parallel_env', 'run.actor_addr': '10.0.0.1:1'},
        {'run.public': True, 'run.actor_addr': '0.0.0.0:1'},
    ],
)
def test_roles_that_may_be(changes, monkeypatch):
    monkeypatch.setenv('EMBODIED_TOKEN', 'secret')
    checks.check(elements.Config(GOOD).update({'script': 'parallel', **changes}))


@pytest.mark.parametrize('name', ['tensorboard', 'wandb', 'mlflow'])
def test_outputs_without_their_package_are_told(monkeypatch, name):
    monkeypatch.setattr(checks.importlib.util, 'find_spec', lambda package: None)
    checks.check(elements.Config(GOOD))
    with pytest.raises(
        ValueError, match=rf"^logger.outputs: got '{name}', .*: pip install '.*\[{name}"
    ):
        checks.check(elements.Config(GOOD).update({'logger.outputs': ('jsonl', name)}))
