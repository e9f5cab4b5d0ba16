"""Options become the parts that they name, and the parts fit together."""

import elements
import numpy as np
import pytest

from embodied import build
from embodied.core import random, selectors
from embodied.core.workers import worker
from embodied.envs import dummy, registry
from embodied.run import learner
from embodied.tests import contracts, runs

REPLAY = {
    'size': 60,
    'eval_size': 50,
    'ram_gb': 0.0,
    'online': True,
    'chunksize': 16,
    'fracs': {'uniform': 1.0, 'priority': 0.0, 'recency': 0.0},
    'prio': {'exponent': 0.8, 'maxfrac': 0.5, 'initial': float('inf'), 'zero_on_sample': True},
    'recexp': 1.0,
}


def make_config(logdir='/nowhere', **changes):
    """The keys that are read here, with small values."""
    run = {k: v for k, v in runs.DEFAULTS.items() if not k.startswith(('batch', 'report_l'))}
    for key in ('task', 'timer', 'fps', 'token', 'consec_train', 'consec_report', 'replay_context'):
        run.pop(key, None)
    config = elements.Config(
        task='dummy_disc',
        logdir=str(logdir),
        seed=3,
        script='train',
        random_agent=True,
        batch_size=2,
        batch_length=4,
        report_length=3,
        consec_train=1,
        consec_report=1,
        replay_context=1,
        logger={'outputs': ['jsonl'], 'filter': '^nothing$', 'fps': 15, 'timer': True},
        env={'dummy': {'size': (8, 8), 'length': 10}},
        replay=REPLAY,
        run={**run, 'token_file': '', 'steps': 40, 'usage': {'psutil': True, 'nvsmi': True}},
    )
    return config.update(changes)


def observations(env, steps=15):
    acts = [{'action': np.int32(i % 5), 'reset': np.bool_(i == 0)} for i in range(steps)]
    return [env.step(act) for act in acts]


MIXES = [
    (1.0, 0.0, 0.0),
    (0.0, 1.0, 0.0),
    (0.0, 0.0, 1.0),
    (0.5, 0.5, 0.0),
    (0.5, 0.0, 0.5),
    (0.0, 0.3, 0.7),
    (0.2, 0.3, 0.5),
]


@pytest.mark.parametrize('fracs', MIXES)
@pytest.mark.parametrize('zero_on_sample', [True, False])
def test_every_mix_of_selectors_trains(tmp_path, fracs, zero_on_sample):
    config = make_config(tmp_path).update(
        {
            'replay.fracs': dict(zip(('uniform', 'priority', 'recency'), fracs, strict=True)),
            'replay.prio.zero_on_sample': zero_on_sample,
        }
    )
    made = build.make_replay(config)
    assert made.capacity == 60 and made.length == 5
    agent = runs.CountAgent(priority=True)
    args = runs.make_args(tmp_path, train_ratio=8.0)
    teacher = learner.Learner(agent, made, lambda *args: build.make_stream(config, *args), args)
    for t in range(200):
        made.add({'count': np.int32(t), 'latent': np.full(2, -1, np.float32)}, t % 2)
        teacher.update(t)
    assert teacher.updates > 150
    for batch in agent.batches:
        assert (np.diff(batch['count']) == 2).all()
    # Whatever the mix, all of it is reached, through the queue of new stretches at least.
    assert len({int(c) for batch in agent.batches for c in batch['count'].reshape(-1)}) > 180


def test_shares_of_the_selectors(tmp_path):
    """Fresh, old or important windows come as often as the options say."""

    def ages(**fracs):
        selector = build.make_selector(make_config(tmp_path).replay.update(fracs=fracs), seed=0)
        for key in range(60):
            selector[key] = [key]
        return 59 - np.array([selector() for _ in range(3000)])

    uniform = ages(uniform=1.0, priority=0.0, recency=0.0)
    recent = ages(uniform=0.0, priority=0.0, recency=1.0)
    mixed = ages(uniform=0.5, priority=0.0, recency=0.5)
    # The mean of 0 .. 59, and the one with weights 1, 1/2, ... 1/60.
    weights = 1 / np.arange(1, 61)
    mean = (weights * np.arange(60)).sum() / weights.sum()
    assert uniform.mean() == pytest.approx(29.5, abs=1.5)
    assert recent.mean() == pytest.approx(mean, abs=1.5)
    assert mixed.mean() == pytest.approx((29.5 + mean) / 2, abs=1.5)


def test_kinds_of_selectors():
    config = make_config().replay
    assert isinstance(build.make_selector(config, 0), selectors.Uniform)
    only = config.update({'fracs': {'uniform': 0.0, 'priority': 1.0, 'recency': 0.0}})
    made = build.make_selector(only, 0)
    assert isinstance(made, selectors.Prioritized)
    assert (made.exponent, made.maxfrac, made.initial) == (0.8, 0.5, np.inf)
    assert build.recency(4, 1.0).tolist() == [1, 1 / 2, 1 / 3, 1 / 4]
    assert build.recency(3, 0.0).tolist() == [1, 1, 1]


def test_windows_hold_what_the_streams_cut(tmp_path):
    config = make_config(
        tmp_path, consec_train=3, batch_length=7, replay_context=2, report_length=4
    )
    made = build.make_replay(config)
    assert made.length == 3 * 7 + 2
    for t in range(40):
        made.add({'t': np.int32(t)})
    train = build.make_stream(config, made, 'train')
    batches = [next(train) for _ in range(6)]
    assert all(batch['t'].shape == (2, 9) for batch in batches)
    assert [batch['consec'][0, 0] for batch in batches] == [0, 1, 2, 0, 1, 2]
    report = build.make_stream(config, made, 'report')
    batches = [next(report) for _ in range(2)]
    assert all(batch['t'].shape == (2, 6) and not batch['consec'].any() for batch in batches)


def test_every_environment_has_its_own_seed():
    config = make_config()
    first, again = (observations(build.make_env(config, 0)) for _ in range(2))
    for left, right in zip(first, again, strict=True):
        contracts.assert_same(left, right)
    images = [first]
    images += [observations(build.make_env(config, i)) for i in (1, 2, 1_000_000)]
    images += [observations(build.make_env(make_config(seed=4), 0))]
    for i, left in enumerate(images):
        for right in images[:i]:
            assert not np.array_equal(left[3]['image'], right[3]['image'])


def test_environments_are_wrapped_and_have_their_options():
    env = build.make_env(make_config(task='dummy_cont'), 0)
    assert env.obs_space['image'].shape == (8, 8, 3)
    assert (env.act_space['action'].low == -1).all() and (env.act_space['action'].high == 1).all()
    high = np.full(6, 3, np.float32)
    last = [env.step({'action': high, 'reset': np.bool_(i == 0)})['is_last'] for i in range(11)]
    assert last == 10 * [False] + [True]


def test_environments_that_step_together():
    pytest.importorskip('gymnasium')
    make = build.EnvMaker(make_config(task='gymvec_CartPole-v1'))
    begin = lambda env, n: env.step({'action': np.zeros(n, np.int32), 'reset': np.ones(n, bool)})
    env = make.batch([0, 1])
    assert len(env) == 2 and begin(env, 2)['vector'].shape == (2, 4)
    # The same seed for the same index, and another one for evaluation.
    first, again = (begin(make.batch([5]), 1)['vector'] for _ in range(2))
    other = begin(build.EnvMaker(make.config, 1_000_000).batch([5]), 1)['vector']
    assert (first == again).all() and (first != other).any()
    alone = make(5)
    assert alone.obs_space['vector'].shape == (4,)
    assert (
        alone.step({'action': np.int32(0), 'reset': np.bool_(True)})['vector'] == first[0]
    ).all()
    assert build.EnvMaker(make_config()).batch is None


def test_jax_is_set_up_before_environments_that_run_in_it(monkeypatch):
    from embodied.jax import device

    seen = []
    monkeypatch.setattr(device, 'setup', lambda **options: seen.append(options))
    monkeypatch.setattr(build.envs, 'make', lambda *args, **kwargs: seen.append('made'))
    monkeypatch.setattr(build.wrappers, 'wrap', lambda env: env)
    options = {k: f'the {k}' for k in device.OPTIONS}
    config = make_config(task='gymnax_CartPole-v1')
    build.make_env(elements.Config({**config, 'jax': {**options, 'profile': 0}}), 0)
    assert seen == [options, 'made']
    seen.clear()
    build.make_env(make_config(task='dummy_disc'), 0)
    assert seen == ['made']


def test_unknown_option_of_an_environment():
    config = make_config()
    config = elements.Config({**config, 'env': {'dummy': {'sizes': (8, 8)}}})
    with pytest.raises(ValueError, match='sizes') as e:
        build.make_env(config, 0)
    message = str(e.value)
    assert '\n' not in message and 'env.dummy' in message and 'length' in message


def test_agent_gets_the_spaces_without_what_is_not_its_own(monkeypatch):
    seen = {}

    def make_agent(obs_space, act_space, config):
        seen.update(obs=obs_space, act=act_space, config=config)

    closed = []
    monkeypatch.setattr(dummy.Dummy, 'close', lambda self: closed.append(1), raising=False)
    config = make_config(random_agent=False)
    build.build_agent(config, make_agent)
    assert list(seen['act']) == ['action']
    assert 'image' in seen['obs'] and not any(k.startswith('log/') for k in seen['obs'])
    assert seen['config'] == config
    assert closed == [1]
    assert isinstance(build.build_agent(make_config(), make_agent), random.RandomAgent)


def test_agent_of_spaces_that_fail_closes_the_environment(monkeypatch):
    closed = []

    class Bad:
        @property
        def obs_space(self):
            raise RuntimeError('no spaces')

        def close(self):
            closed.append(1)

    monkeypatch.setattr(build, 'make_env', lambda config, index: Bad())
    with pytest.raises(RuntimeError, match='no spaces'):
        build.build_agent(make_config(), None)
    assert closed == [1]


def test_usage_of_graphics_cards_only_where_there_are_some(monkeypatch):
    for there in (False, True):
        monkeypatch.setattr(build.hardware, 'has_gpu', lambda: there)
        args = build.arguments(make_config())
        assert args.usage == {'psutil': True, 'nvsmi': there}
    assert (args.batch_size, args.steps, args.timer) == (2, 40, True)


def test_steps_count_repeated_actions(tmp_path):
    assert build.make_logger(make_config(tmp_path)).multiplier == 1
    config = make_config(tmp_path)
    config = elements.Config({**config, 'env': {'dummy': {**config.env.dummy, 'repeat': 4}}})
    assert build.make_logger(config).multiplier == 4


@pytest.mark.parametrize('parallel', [False, True])
def test_whole_run(tmp_path, parallel):
    config = make_config(tmp_path).update(
        {'run.parallel_envs': parallel, 'run.usage.nvsmi': False, 'run.final_eval_eps': 2}
    )
    build.run(config, make_agent=None)
    text = (tmp_path / 'metrics.jsonl').read_text()
    assert '"step": 40' in text and '"episode/score"' in text and '"eval/score_mean"' in text
    assert (tmp_path / 'ckpt').is_dir() and not (tmp_path / 'scope').exists()


def test_task_that_cannot_be_made_is_told_before_anything_is_left(tmp_path, monkeypatch):
    suite = registry.Suite('embodied.envs.dummy:Dummy', 'text', 'package_nosuch', 'pip install it')
    monkeypatch.setitem(registry.suites, 'dummy', suite)
    with pytest.raises((ValueError, worker.EnvError), match='pip install it'):
        build.run(make_config(tmp_path), None)
    assert list(tmp_path.iterdir()) == []
