"""The compiled agent around a small model: what comes late, seeds, saving, devices, precision."""

import functools
import os
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from embodied.core import streams
from embodied.jax import Agent, Model
from embodied.tests import fake_model


def new(**kwargs):
    return Agent(fake_model.FakeModel(kwargs.pop('width', 2)), **kwargs)


@functools.cache
def kept(**kwargs):
    agent = new(**kwargs)
    return agent, agent.save()


def make(**kwargs):
    """An agent in its first state. Those with equal options are one, as compiling takes time."""
    agent, state = kept(**kwargs)
    agent.load(state)
    return agent


def batches(agent, start=0, rows=4):
    """The stream of an agent over an endless source of different batches."""
    numbers = iter(range(start, 10**6))
    return agent.stream(streams.Stateless(lambda: fake_model.batch(next(numbers), rows)))


def learn(agent, updates, start=0, rows=4):
    """Outputs and metrics of each call of `train`, and of the flush."""
    source, carry, results = batches(agent, start, rows), agent.init_train(rows), []
    for _ in range(updates):
        carry, out, metrics = agent.train(carry, next(source))
        results.append((out, metrics))
    return [*results, agent.flush()]


def greedy(agent, rows=4):
    carry = agent.init_policy(rows)
    return agent.policy(carry, fake_model.observation(rows), mode='eval')[1]['act']


def expected(params, rows=4):
    return fake_model.observation(rows)['x'] @ params['pol/kernel'] + params['pol/bias']


def params(agent):
    return agent.save()['params']


def same(left, right):
    assert left.keys() == right.keys()
    return all(np.array_equal(left[k], right[k]) for k in left)


class TestTrain:
    def test_results_come_one_update_late(self):
        results = learn(make(seed=1), 3)
        assert results[0] == ({}, {})
        for index, (out, metrics) in enumerate(results[1:]):
            assert metrics['call'] == index + 1
            assert metrics['updates'] == index + 1
            assert (out['replay']['stepid'] == index).all()
            assert out['replay']['pred'].shape == (4, 3, 2)
            assert all(isinstance(v, np.ndarray) for v in metrics.values())

    def test_flush_gives_each_result_once(self):
        agent = make(seed=1)
        learn(agent, 1)
        assert agent.flush() == ({}, {})
        assert learn(agent, 1)[0] == ({}, {})

    def test_loss_goes_down(self):
        agent = make(seed=1)
        data = next(batches(agent))
        carry, losses = agent.init_train(4), []
        for _ in range(20):
            carry, _, metrics = agent.train(carry, data)
            losses.append(metrics.get('loss'))
        assert losses[-1] < losses[1]

    def test_report_changes_nothing(self):
        agent = make(seed=1)
        learn(agent, 1)
        before = params(agent)
        carry, metrics = agent.report(agent.init_report(4), next(batches(agent)))
        assert (carry['calls'] == 1).all() and metrics['rows'] == 4
        assert same(before, params(agent))
        carry, _ = agent.report(carry, next(batches(agent)))
        assert (carry['calls'] == 2).all()

    def test_logged_keys_never_reach_the_model(self):
        agent = make(seed=1)
        learn(agent, 1)
        greedy(agent)
        agent.report(agent.init_report(4), next(batches(agent)))
        assert {program for program, _, _ in agent.model.seen} == {'policy', 'train', 'report'}
        for program, keys, _ in agent.model.seen:
            assert not [k for k in keys if k.startswith('log/')], program


class TestPolicy:
    def test_acts_with_parameters_of_the_update_before(self):
        agent = make(seed=1)
        source, carry = batches(agent), agent.init_train(4)
        history = [params(agent)]
        for index in range(3):
            carry, _, _ = agent.train(carry, next(source))
            history.append(params(agent))
            assert not same(history[index], history[index + 1])
            np.testing.assert_allclose(greedy(agent), expected(history[index]), 1e-5, 1e-6)

    def test_sync_brings_the_newest(self):
        agent = make(seed=1)
        learn(agent, 2)
        agent.sync()
        np.testing.assert_allclose(greedy(agent), expected(params(agent)), 1e-5, 1e-6)

    def test_holds_only_the_parameters_that_it_reads(self):
        agent = make(seed=1)
        assert sorted(agent.policy_params) == ['pol/bias', 'pol/kernel']
        assert {'val/kernel', 'opt/step/value'} <= params(agent).keys()

    def test_carry_and_outputs(self):
        agent = make(seed=1)
        carry = agent.init_policy(4)
        for count in range(1, 3):
            carry, act, out = agent.policy(carry, fake_model.observation())
            assert (carry['calls'] == count).all()
            assert act['act'].shape == (4, 2) and isinstance(act['act'], np.ndarray)
            np.testing.assert_array_equal(out['pred'], act['act'])

    def test_mode(self):
        agent = make(seed=1)
        act = lambda mode: agent.policy(agent.init_policy(4), fake_model.observation(), mode)[1]
        assert not np.array_equal(act('train')['act'], act('train')['act'])
        np.testing.assert_array_equal(act('eval')['act'], act('eval')['act'])


class TestSeeds:
    def test_equal_seeds_are_bit_equal(self):
        first, second = make(seed=1), new(seed=1)
        assert same(params(first), params(second))
        for left, right in zip(learn(first, 3), learn(second, 3), strict=True):
            assert same(left[1], right[1])
        assert same(params(first), params(second))
        acts = [x.policy(x.init_policy(4), fake_model.observation())[1] for x in (first, second)]
        assert same(*acts)

    def test_other_seeds_are_other(self):
        first, second = make(seed=1), make(seed=2)
        assert not np.array_equal(params(first)['pol/kernel'], params(second)['pol/kernel'])
        noise = [learn(x, 1)[1][1]['noise'] for x in (first, second)]
        assert noise[0] != noise[1]

    def test_each_call_has_its_own(self):
        agent = make(seed=1)
        noise = [metrics['noise'] for _, metrics in learn(agent, 3)[1:]]
        assert len({float(x) for x in noise}) == 3


class TestSave:
    def test_run_goes_on_bit_equal(self):
        agent, other = make(seed=1), make(seed=2)
        learn(agent, 2)
        agent.policy(agent.init_policy(4), fake_model.observation())
        other.load(agent.save())
        assert other.counters == agent.counters
        assert {k: v for k, v in agent.counters.items() if v} == {'updates': 2, 'actions': 1}
        # Equal parameters; the same sequence of randomness needs the same seed.
        assert same(params(agent), params(other))
        twin = new(seed=1)
        twin.load(agent.save())
        for left, right in zip(learn(agent, 2, 2), learn(twin, 2, 2), strict=True):
            assert same(left[1], right[1])
        assert same(params(agent), params(twin))
        acts = [x.policy(x.init_policy(4), fake_model.observation())[1] for x in (agent, twin)]
        assert same(*acts)

    def test_state_is_plain(self):
        state = make(seed=1).save()
        assert set(state) == {'params', 'acting', 'counters', 'spaces'}
        assert state['spaces']['act']['act']['shape'] == [2]
        assert all(isinstance(v, np.ndarray) for v in state['params'].values())
        assert all(type(v) is int for v in state['counters'].values())

    def test_acting_goes_on_with_the_parameters_it_had(self):
        agent = make(seed=1)
        learn(agent, 3)
        state = agent.save()
        straight = greedy(agent)
        agent.sync()
        newest = greedy(agent)
        assert not np.array_equal(straight, newest)
        agent.load(state)
        np.testing.assert_array_equal(greedy(agent), straight)
        learn(agent, 1)
        np.testing.assert_array_equal(greedy(agent), newest)

    def test_states_do_not_change_with_the_agent(self):
        agent = make(seed=1)
        state = agent.save()
        before = {k: v.copy() for k, v in state['params'].items()}
        learn(agent, 2)
        agent.load(state)
        learn(agent, 2)
        assert same(state['params'], before)
        assert state['counters']['updates'] == 0

    def test_policy_acts_with_loaded_parameters(self):
        agent, other = make(seed=1), make(seed=2)
        other.load(agent.save())
        np.testing.assert_array_equal(greedy(other), greedy(agent))

    def test_load_forgets_what_was_pending(self):
        agent = make(seed=1)
        source, carry = batches(agent), agent.init_train(4)
        state = agent.save()
        carry, _, _ = agent.train(carry, next(source))
        agent.load(state)
        assert agent.flush() == ({}, {})
        agent.train(carry, next(source))
        np.testing.assert_allclose(greedy(agent), expected(state['params']), 1e-5, 1e-6)

    def test_a_loaded_carry_compiles_nothing_anew(self):
        agent = make()
        source, carry = batches(agent), agent.init_train(4)
        acting, obs = agent.init_policy(4), fake_model.observation(4)
        carry, _, _ = agent.train(carry, next(source))
        acting, _, _ = agent.policy(acting, obs)
        programs = agent.programs.train, agent.programs.policy
        before = [x._cache_size() for x in programs]
        carry, acting = jax.device_get((carry, acting))
        for _ in range(2):
            carry, _, _ = agent.train(carry, next(source))
            acting, _, _ = agent.policy(acting, obs)
        assert [x._cache_size() for x in programs] == before

    def test_regex_takes_only_those(self, capsys):
        agent, other = make(seed=1), make(seed=2)
        learn(agent, 2)
        before, source = params(other), params(agent)
        other.load(agent.save(), regex='^pol/')
        total = len(before)
        line = f'Loaded 2 of {total} parameters: pol; left as they are: opt, val\n'
        assert capsys.readouterr().out == line
        other.load(agent.save(), regex='.*')
        line = f'Loaded {total} of {total} parameters: opt, pol, val\n'
        assert capsys.readouterr().out == line
        other.load({'params': before}, regex='.*')
        other.load(agent.save(), regex='^pol/')
        after = params(other)
        for key in after:
            want = source if key.startswith('pol/') else before
            np.testing.assert_array_equal(after[key], want[key], key)
        assert other.counters['updates'] == 0
        # Other parameters need not be there.
        only = {k: v for k, v in source.items() if k.startswith('val/')}
        other.load({'params': only}, regex='^val/')
        np.testing.assert_array_equal(params(other)['val/kernel'], source['val/kernel'])


class TestEvaluation:
    def test_it_does_not_change_what_training_does(self):
        def act(evaluations):
            agent = make(seed=1)
            carry, acts = agent.init_policy(4), []
            for _ in range(3):
                for _ in range(evaluations):
                    greedy(agent)
                carry, act, _ = agent.policy(carry, fake_model.observation())
                acts.append(act['act'])
            return np.stack(acts)

        np.testing.assert_array_equal(act(0), act(2))


class TestDream:
    @pytest.mark.parametrize('steps, length', [(8, 4), (9, 4), (3, 4), (7, 3), (1, 2)])
    def test_stretches_of_an_episode(self, steps, length):
        agent = make(seed=1)
        episode = {k: v[0] for k, v in fake_model.batch(rows=1, steps=steps).items()}
        before = params(agent)
        images = agent.dream(episode, length)
        assert images['image'].shape == (steps, 1, 1, 3) and images['image'].dtype == np.uint8
        time = np.arange(steps)
        want = [time // length, time % length, time % length < (length + 1) // 2]
        np.testing.assert_array_equal(images['image'][:, 0, 0], np.stack(want, -1))
        assert same(before, params(agent))

    def test_model_without_dreams(self):
        class Blind(fake_model.FakeModel):
            dream = Model.dream

        episode = {k: v[0] for k, v in fake_model.batch(rows=1, steps=5).items()}
        assert Agent(Blind()).dream(episode, 4) == {}


class TestMisfits:
    def test_agent_without_parameters(self):
        with pytest.raises(ValueError, match='of an agent without parameters'):
            make(seed=1).load({'train': {}, 'eval': {}}, regex='.*')

    def test_regex_that_matches_nothing(self):
        with pytest.raises(ValueError, match=r"'\^nosuch' matches no parameter of opt, pol, val"):
            make(seed=1).load({'params': {}}, regex='^nosuch')

    def check(self, change, match, **kwargs):
        agent = make(seed=1)
        state, before = agent.save(), params(agent)
        change(state['params'])
        with pytest.raises(ValueError, match=match) as e:
            agent.load(state, **kwargs)
        assert '\n' not in str(e.value)
        assert same(before, params(agent)), 'Nothing is taken over.'

    def test_missing(self):
        self.check(lambda x: x.pop('pol/kernel'), '1 missing: pol/kernel')

    def test_unknown(self):
        self.check(lambda x: x.update(extra=np.zeros(1)), '1 unknown: extra')

    def test_shape(self):
        text = re.escape('1 of another shape: pol/bias (3,) instead of (2,)')
        self.check(lambda x: x.update({'pol/bias': np.zeros(3)}), text)

    def test_several_are_told_at_once(self):
        def change(values):
            del values['pol/kernel']
            values['extra'] = np.zeros(1)

        self.check(change, 'missing: pol/kernel; 1 unknown: extra')

    def test_many_are_counted(self):
        self.check(lambda x: x.clear(), r' missing: (\S+, ){3}\S+ and \d+ more')

    def test_regex_without_a_match(self):
        self.check(lambda x: None, "'nothing' matches no parameter", regex='nothing')

    def test_regex_with_a_missing_one(self):
        self.check(lambda x: x.pop('pol/bias'), '1 missing: pol/bias', regex='pol/')

    def test_another_model(self):
        other = make(width=5)
        with pytest.raises(ValueError, match=r'pol/kernel \(3, 2\) instead of \(3, 5\)'):
            other.load(make(seed=1).save())


class TestPrecision:
    @pytest.mark.parametrize(
        'options, want', [({}, 'float32'), ({'compute_dtype': 'bfloat16'}, 'bfloat16')]
    )
    def test_compute_dtype_reaches_the_programs(self, options, want):
        agent = make(seed=1, **options)
        results = learn(agent, 1)
        greedy(agent)
        agent.report(agent.init_report(4), next(batches(agent)))
        assert {dtype for _, _, dtype in agent.model.seen} == {want}
        assert np.isfinite(results[-1][1]['loss'])
        floats = {k: v.dtype for k, v in params(agent).items() if v.dtype.kind != 'i'}
        assert set(floats.values()) == {np.dtype('float32')}

    def test_bfloat16_is_close(self):
        fine, coarse = make(seed=1), make(seed=1, compute_dtype='bfloat16')
        left, right = greedy(fine), greedy(coarse)
        assert not np.array_equal(left, right)
        np.testing.assert_allclose(left, right, atol=0.05)


class TestProfile:
    def trace(self, folder):
        return [x for x in (folder / 'profile').rglob('*') if x.is_file()]

    def test_traces_the_updates_asked_for(self, tmp_path, capfd):
        agent = new(logdir=tmp_path, profile=2)
        learn(agent, 5)
        assert not self.trace(tmp_path)
        learn(agent, 3)
        assert self.trace(tmp_path)
        assert 'tracing 2 updates' in capfd.readouterr().out
        agent.close()

    def test_close_ends_a_trace(self, tmp_path):
        agent = new(logdir=tmp_path, profile=100)
        learn(agent, 6)
        agent.close()
        assert self.trace(tmp_path)
        agent.close()

    def test_off(self, tmp_path):
        agent = new(logdir=tmp_path)
        learn(agent, 1)
        agent.close()
        assert not list(tmp_path.iterdir())


class TestDevices:
    @pytest.mark.parametrize('key', ['train_devices', 'policy_devices'])
    def test_device_that_is_not_there(self, key):
        count = len(jax.local_devices())
        match = rf'^jax\.{key}: there is no device {count}, only 0 to {count - 1} \(cpu\)\.$'
        with pytest.raises(ValueError, match=match):
            new(**{key: (0, count)})
        with pytest.raises(ValueError, match=f'^jax.{key}: there is no device -1'):
            new(**{key: (-1,)})

    def test_several_devices(self):
        code = 'from embodied.tests import test_jax_agent as t; t.several_devices()'
        environ = {**os.environ, 'JAX_PLATFORMS': 'cpu'}
        subprocess.run([sys.executable, '-c', code], env=environ, check=True, timeout=120)


def several_devices():
    """Runs in a process of its own, whose CPU is split into four devices."""
    from embodied.jax import device

    device.setup(mock_devices=4, cache='off')
    assert len(jax.local_devices()) == 4
    reference = new()
    want = learn(reference, 3)
    reference.sync()
    layouts = [([1, 2], [3]), ([1, 2], [1, 2]), ([0, 1, 2, 3], [0, 1])]
    for train, policy in layouts:
        agent = new(train_devices=train, policy_devices=policy)
        got = learn(agent, 3)
        for (_, left), (_, right) in zip(got, want, strict=True):
            assert left.keys() == right.keys()
            for key in left:
                np.testing.assert_allclose(left[key], right[key], 1e-4, 1e-5, err_msg=key)
        np.testing.assert_allclose(
            got[-1][0]['replay']['pred'], want[-1][0]['replay']['pred'], 1e-4, 1e-5
        )
        for key, value in params(agent).items():
            np.testing.assert_allclose(value, params(reference)[key], 1e-4, 1e-5, err_msg=key)
        agent.sync()
        np.testing.assert_allclose(greedy(agent), greedy(reference), 1e-4, 1e-5)
        # A number of environments that the devices do not divide.
        assert greedy(agent, 3).shape == (3, 2)
        ids = lambda tree: {x.id for v in jax.tree.leaves(tree) for x in v.devices()}
        assert ids(agent.params) == set(train)
        assert ids(agent.policy_params) == ids(agent.init_policy(4)) == set(policy)
        assert ids(next(batches(agent))) == ids(agent.init_train(4)) == set(train)
        agent.load(reference.save())
        assert same(params(agent), params(reference))
    split = new(train_devices=[1, 2])
    assert next(batches(split))['x'].addressable_shards[0].data.shape == (2, 3, 3)
    with pytest.raises(ValueError, match=r'^batch_size: 3 must be divisible by the 2 devices'):
        split.init_train(3)


def broken(index, key='x', value=np.inf):
    """A batch with one value that is not finite."""
    data = fake_model.batch(index)
    data[key][0, 0] = value
    return data


class TestNotFinite:
    def train(self, agent, sources):
        stream = agent.stream(streams.Stateless(iter(sources)))
        carry, results = agent.init_train(4), []
        for batch in stream:
            carry, *result = agent.train(carry, batch)
            results.append(result)
            if len(results) == len(sources):
                break
        return carry, [*results[1:], agent.flush()]

    @pytest.mark.parametrize('key, value', [('x', np.inf), ('x', np.nan), ('reward', -np.inf)])
    def test_update_is_left_out(self, capsys, key, value):
        agent = make()
        good = [fake_model.batch(i) for i in range(2)]
        self.train(agent, good)
        want = params(agent)
        agent = make()
        carry, results = self.train(agent, [good[0], broken(7, key, value), good[1]])
        got = params(agent)
        assert all(np.isfinite(x).all() for x in got.values())
        # What came before and after counts as if nothing had been between.
        assert got['opt/step/value'] == want['opt/step/value'] == 2
        for name in want:
            np.testing.assert_array_equal(got[name], want[name], err_msg=name)
        assert [set(x[1]) == {'skipped'} for x in results] == [False, True, False]
        assert results[1][0] == {}, 'What it computed must not go to replay.'
        assert int(np.asarray(carry['calls']).max()) == 2
        (line,) = capsys.readouterr().out.splitlines()
        assert line == 'Update 2: the loss is not finite, it was left out (1 in a row)'

    def test_gradient_is_named(self, capsys):
        agent = make()
        huge = fake_model.batch(0)
        huge['x'][:] = 1e30
        huge['reward'][:] = 0
        agent.params['val/kernel'] = agent.params['val/kernel'] * 0
        agent.params['pol/kernel'] = agent.params['pol/kernel'] * 0
        huge['act'][:] = 1e10
        self.train(agent, [huge, huge, huge])
        assert 'the gradient of pol/kernel is not finite' in capsys.readouterr().out

    def test_stop(self):
        agent = new(nonfinite='stop')
        with pytest.raises(FloatingPointError, match='Update 1: the loss is not finite'):
            self.train(agent, [broken(0), fake_model.batch(1)])

    def test_many_in_a_row_stop(self, capsys):
        agent = make()
        with pytest.raises(FloatingPointError, match='100 in a row were left out'):
            self.train(agent, [broken(i) for i in range(102)])
        assert len(capsys.readouterr().out.splitlines()) == 7
        agent.skipped = 0


class TestSeveralUpdatesAtOnce:
    def train(self, agent, sources, together):
        """Carry, and outputs and metrics of each call; the sources are the data of all updates."""
        placed = [agent._place(x) for x in sources]
        carry, results = agent.init_train(4), []
        for start in range(0, len(placed), together):
            carry, *result = agent.train(carry, *placed[start : start + together])
            results.append(result)
        return carry, [*results[1:], list(agent.flush())]

    def test_they_are_those_of_single_ones(self):
        agent = make(seed=1)
        sources = [fake_model.batch(i) for i in range(6)]
        carry, singles = self.train(agent, sources, 1)
        want, acts = params(agent), greedy(agent)
        agent = make(seed=1)
        last, joined = self.train(agent, sources, 3)
        assert same(want, params(agent))
        assert same(carry, last)
        assert agent.counters['updates'] == 6
        for index, (out, metrics) in enumerate(joined):
            parts = singles[3 * index : 3 * index + 3]
            for key, value in out['replay'].items():
                rows = np.concatenate([x['replay'][key] for x, _ in parts])
                np.testing.assert_array_equal(value, rows, key)
            for key, value in metrics.items():
                np.testing.assert_allclose(value, np.mean([x[key] for _, x in parts]), 1e-6)
        agent.sync()
        assert not np.array_equal(greedy(agent), acts), 'They act with what came before the last.'

    def test_what_is_not_finite_is_left_out_alone(self, capsys):
        good = [fake_model.batch(i) for i in range(2)]
        agent = make(seed=1)
        self.train(agent, [good[0], broken(7), good[1]], 1)
        want = params(agent)
        agent = make(seed=1)
        _, ((out, metrics),) = self.train(agent, [good[0], broken(7), good[1]], 3)
        assert same(want, params(agent))
        assert len(out['replay']['stepid']) == 8 and metrics['skipped'] == 1
        assert 'Update 2: the loss is not finite' in capsys.readouterr().out


class TestPrograms:
    def loops(self, agent):
        """Steps per iteration of the loops of an update."""
        placed = [agent._place(fake_model.batch())]
        seeds = np.zeros((1, 2), np.uint32)
        traced = agent.programs.train.trace(agent.params, seeds, agent.init_train(4), placed)
        return scans(traced.jaxpr.jaxpr)

    def test_unroll(self):
        assert self.loops(Agent(Looping())) == [1, 1]
        assert self.loops(Agent(Looping(), unroll='4')) == [4, 4]
        assert self.loops(Agent(Looping(), unroll='99')) == [5, 5]

    def test_unrolled_is_the_same(self):
        first, second = Agent(Looping()), Agent(Looping(), unroll='2')
        for agent in (first, second):
            learn(agent, 3)
        for key, value in params(first).items():
            np.testing.assert_allclose(params(second)[key], value, 1e-6, err_msg=key)

    def test_they_are_traced_when_they_are_needed(self):
        agent = new()
        traced = lambda: {program for program, _, _ in agent.model.seen}
        assert traced() == {'train'}, 'For the parameters.'
        greedy(agent)
        assert traced() == {'train', 'policy'}


class Looping(fake_model.FakeModel):
    """Its loss has a loop of five steps, and so has its gradient."""

    def _loss(self, x, data):
        loss, pred = super()._loss(x, data)
        step = lambda carry, _: (jnp.sin(carry), None)
        return loss + jax.lax.scan(step, pred.mean(), None, length=5)[0], pred


def scans(jaxpr):
    """Steps per iteration of all loops of a program."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name == 'scan':
            found.append(equation.params['unroll'])
        for value in equation.params.values():
            if hasattr(value, 'jaxpr'):
                found += scans(value.jaxpr)
    return found
