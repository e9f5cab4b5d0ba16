"""Runs with roles in processes of their own: what they do, and what becomes of them in trouble."""

import collections
import contextlib
import functools
import json
import os
import pathlib
import re
import signal
import socket
import threading
import time
import types

import numpy as np
import pytest

from ..core import checkpoint
from ..core.system import processes, rpc
from ..run import parallel
from ..run.parallel import actor, role, watch
from . import fakes, runs


class RowAgent(runs.CountAgent):
    """A counting agent with a row of the carry for each environment: how often it has acted."""

    def init_policy(self, batch_size):
        return {'acted': np.zeros(batch_size, np.int32)}

    def policy(self, carry, obs, mode='train'):
        _, act, out = super().policy(0, obs, mode)
        carry = {'acted': carry['acted'] + 1}
        return carry, act, {**out, 'acted': carry['acted']}


class Faulty(fakes.Count):
    """Fails once at its n-th step; a file remembers that it has."""

    def __init__(self, failure, marker, at=7, **kwargs):
        super().__init__(**kwargs)
        self.failure = failure
        self.marker = pathlib.Path(marker)
        self.at = at

    def step(self, action):
        if self.count == self.at and not self.marker.exists():
            self.marker.touch()
            self.failure()
        return super().step(action)


def fail():
    raise RuntimeError('broken simulator')


def make_count(index, offset=0):
    return fakes.Count(length=5 + index, offset=offset + 10_000 * index)


def make_faulty(failure, marker, index):
    if index:
        return make_count(index)
    return Faulty(failure, marker, length=5)


class Parts(runs.Parts):
    """Parts whose environments come from functions, as the parts themselves cannot travel."""

    def __init__(self, *args, make=make_count, **kwargs):
        super().__init__(*args, **kwargs)
        self.agent = RowAgent()
        self.make = make

    def roles(self):
        """Functions for the roles, which hold nothing but plain values."""
        plain = runs.Parts(**self.args)
        plain.agent = None
        return {
            'make_agent': self.make_agent,
            'make_replay_train': plain.make_replay,
            'make_replay_eval': plain.make_replay_eval,
            'make_env_train': self.make,
            'make_env_eval': functools.partial(make_count, offset=500_000),
            'make_stream': plain.make_stream,
            'make_logger': plain.make_logger,
        }

    def parallel(self):
        parallel.combined(**self.roles(), args=self.args)
        return self


@pytest.fixture
def started(monkeypatch):
    """Processes by name, in the order in which they were started."""
    found = collections.defaultdict(list)
    init = processes.Process.__init__

    def remember(self, name, *args, **kwargs):
        init(self, name, *args, **kwargs)
        found[name].append(self.process)

    monkeypatch.setattr(processes.Process, '__init__', remember)
    yield found
    for group in found.values():
        for process in group:
            assert process.poll() is not None, 'A process is left.'


def when(condition, action):
    """Do something in a thread once a condition holds."""

    def wait():
        while not condition():
            time.sleep(0.02)
        action()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def saved(logdir):
    """Numbers of the newest checkpoint."""
    folder = max(pathlib.Path(logdir, 'ckpt').glob('0*'), key=lambda x: x.name.split('-')[1])
    return {
        name: json.loads((folder / f'{name}.json').read_text())
        for name in ('step', 'learner', 'limiter')
    }


def stored(parts, name='replay'):
    """Counts in replay by worker, in order, as they were at the last save."""
    make = {'replay': parts.make_replay, 'eval_replay': parts.make_replay_eval}[name]
    replay = make()
    check = checkpoint.Checkpoint(parts.logdir / 'ckpt', **{name: replay})
    assert check.load()
    found = collections.defaultdict(set)
    for chunk in replay.chunks.values():
        for count in chunk.columns['count'][: chunk.length]:
            assert int(count) not in found[int(count) // 10_000], 'A step is there twice.'
            found[int(count) // 10_000].add(int(count))
    return {k: sorted(v) for k, v in found.items()}


def rows(logdir, name='metrics.jsonl'):
    return [json.loads(x) for x in (pathlib.Path(logdir) / name).read_text().splitlines()]


def test_ends_at_its_steps(tmp_path, started):
    parts = Parts(tmp_path, steps=60, eval_every=0).parallel()
    assert set(started) == {'logger', 'replay', 'env0', 'env1'}
    assert [x[0].returncode for x in started.values()] == [0] * 4
    numbers = saved(tmp_path)
    step, updates = numbers['step'], numbers['learner']['updates']
    assert 60 <= step < 60 + 2 * runs.ENVS
    # Four trained steps for each step, eight per update, since there was a batch.
    assert abs(updates - numbers['limiter']['size'] / 2) <= 4 + 1
    assert step - 40 < numbers['limiter']['size'] <= step - 8
    assert parts.agent.counters['updates'] == updates
    assert set(parts.agent.modes) == {'train'}
    scores = [x['episode/score'] for x in rows(tmp_path, 'scores.jsonl')]
    assert set(scores) == {sum(range(6)), sum(range(7))}
    assert parts.agent.closed == 1


def test_no_step_is_lost_or_doubled(tmp_path, started):
    parts = Parts(tmp_path, steps=100, eval_every=0).parallel()
    counts = stored(parts)
    assert sum(map(len, counts.values())) == saved(tmp_path)['step']
    for worker, found in counts.items():
        first = 10_000 * worker + 1
        assert found == list(range(first, first + len(found)))


def test_carry_belongs_to_its_environment(tmp_path, started):
    parts = Parts(tmp_path, steps=40, eval_every=0).parallel()
    replay = parts.make_replay()
    assert checkpoint.Checkpoint(tmp_path / 'ckpt', replay=replay).load()
    for chunk in replay.chunks.values():
        data = {k: v[: chunk.length] for k, v in chunk.columns.items()}
        assert (data['acted'] == data['count'] % 10_000).all()


def test_latents_come_back_to_replay(tmp_path, started):
    parts = Parts(tmp_path, steps=100, eval_every=0).parallel()
    replay = parts.make_replay()
    assert checkpoint.Checkpoint(tmp_path / 'ckpt', replay=replay).load()
    trained = 0
    for chunk in replay.chunks.values():
        latent = chunk.columns['latent'][: chunk.length, 0]
        count = chunk.columns['count'][: chunk.length]
        assert ((latent == -1) | (latent == count)).all()
        trained += (latent == count).sum()
    assert trained > 50


def test_resumes(tmp_path, started):
    Parts(tmp_path, steps=40, eval_every=0).parallel()
    before = saved(tmp_path)
    parts = Parts(tmp_path, steps=80, eval_every=0).parallel()
    after = saved(tmp_path)
    assert before['step'] < 80 <= after['step']
    assert parts.agent.counters['updates'] == after['learner']['updates']
    assert after['learner']['updates'] > before['learner']['updates']
    assert after['limiter']['size'] > before['limiter']['size']
    steps = [x['step'] for x in rows(tmp_path)]
    assert steps == sorted(steps)


def test_evaluates(tmp_path, started):
    args = {'eval_every': -1, 'eval_eps': 3, 'eval_envs': 2, 'final_eval_eps': 5}
    parts = Parts(tmp_path, steps=150, **args).parallel()
    assert {'eval_env0', 'eval_env1'} < set(started)
    assert {'train', 'eval'} == set(parts.agent.modes)
    result = json.loads((tmp_path / 'eval.json').read_text())
    assert result['episodes'] == 5
    assert any('eval/score_mean' in x for x in rows(tmp_path))
    held_out = stored(parts, 'eval_replay')
    assert held_out and all(x >= 50 for x in held_out)
    assert all(x < 50 for x in stored(parts))


def test_agent_in_a_process_of_its_own(tmp_path, started):
    Parts(tmp_path, steps=40, eval_every=0, agent_process=True).parallel()
    assert started['agent'][0].returncode == 0
    assert saved(tmp_path)['step'] >= 40


@pytest.mark.parametrize(
    'failure',
    [fail, lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: os._exit(0 + 3)],
    ids=['raises', 'is killed', 'exits'],
)
def test_an_environment_is_started_again(tmp_path, started, capfd, failure):
    make = functools.partial(make_faulty, failure, tmp_path / 'failed')
    Parts(tmp_path / 'run', steps=100, eval_every=0, make=make).parallel()
    assert [len(started[x]) for x in ('env0', 'env1')] == [2, 1]
    out, err = capfd.readouterr()
    assert 'Process env0' in out
    if failure is fail:
        assert re.search(r'Environment 0 \(count\) failed at its step \d+: ', err)
    assert saved(tmp_path / 'run')['step'] >= 100


def test_a_late_environment_is_reported_once():
    lines, killed = [], []
    process = types.SimpleNamespace(began=-1000)
    group = types.SimpleNamespace(
        processes={'env1': process}, tell=lines.append, hangs=lambda *args: killed.append(args)
    )
    keeper = watch.Watch(group, runs.make_args('.', env_warn=60, env_timeout=600), [])
    for seconds in (59, 61, 80, 1, 70):
        keeper._envs([['train', 1, seconds], ['train', 7, 80], ['eval', 1, 80]])
    expected = [f'Process env1 has not answered for {x} s' for x in (61, 70)]
    assert (lines, killed) == (expected, [])
    keeper._envs([['train', 1, 601]])
    assert killed == [('env1', 601)]


@pytest.mark.slow
def test_an_environment_that_hangs_is_started_again(tmp_path, started, capfd):
    make = functools.partial(make_faulty, functools.partial(time.sleep, 600), tmp_path / 'failed')
    Parts(tmp_path / 'run', steps=4000, eval_every=0, env_timeout=3, make=make).parallel()
    assert len(started['env0']) == 2
    assert 'Process env0 did not answer for' in capfd.readouterr().out


@pytest.mark.slow
def test_an_environment_that_fails_again_ends_the_run(tmp_path, started):
    make = functools.partial(make_faulty, fail, tmp_path / 'missing' / 'folder')
    with pytest.raises(processes.ProcessError, match='process env0 exited with code 1'):
        Parts(tmp_path / 'run', steps=10**9, eval_every=0, make=make).parallel()
    assert saved(tmp_path / 'run')['step']


APART = pytest.param(True, marks=pytest.mark.slow, id='apart')


@pytest.mark.parametrize('agent_process', [pytest.param(False, id='together'), APART])
@pytest.mark.parametrize('name', ['replay', 'logger'])
def test_a_role_that_is_killed_ends_the_run(tmp_path, started, name, agent_process):
    progress = lambda: (tmp_path / 'scores.jsonl').exists()
    thread = when(progress, lambda: started[name][0].kill())
    with pytest.raises((processes.ProcessError, ConnectionError), match=name):
        Parts(tmp_path, steps=10**9, eval_every=0, agent_process=agent_process).parallel()
    thread.join(timeout=30)
    step = saved(tmp_path)['step']
    assert step
    Parts(tmp_path, steps=step + 40, eval_every=0).parallel()
    assert saved(tmp_path)['step'] >= step + 40


@pytest.mark.slow
def test_an_agent_that_is_killed_ends_the_run(tmp_path, started):
    progress = lambda: list(tmp_path.glob('ckpt/0*/manifest.json'))
    thread = when(progress, lambda: started['agent'][0].kill())
    with pytest.raises(processes.ProcessError, match='process agent was killed by SIGKILL'):
        Parts(tmp_path, steps=10**9, eval_every=0, save_every=-1, agent_process=True).parallel()
    thread.join(timeout=30)


@pytest.mark.slow
def test_a_role_that_hangs_ends_the_run(tmp_path, started):
    progress = lambda: (tmp_path / 'scores.jsonl').exists()
    thread = when(progress, lambda: started['logger'][0].send_signal(signal.SIGSTOP))
    with pytest.raises(processes.ProcessError, match='process logger did not answer for'):
        Parts(tmp_path, steps=10**9, eval_every=0, role_timeout=8, agent_process=True).parallel()
    thread.join(timeout=30)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_signals_save_and_end(tmp_path, started, number):
    progress = lambda: (tmp_path / 'scores.jsonl').exists()
    thread = when(progress, lambda: os.kill(os.getpid(), number))
    parts = Parts(tmp_path, steps=10**9, eval_every=0).parallel()
    thread.join(timeout=30)
    counts = stored(parts)
    assert sum(map(len, counts.values())) == saved(tmp_path)['step']


def free_addresses(amount, host='127.0.0.1'):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server((host, 0))) for _ in range(amount)]
        return [f'{host}:{x.getsockname()[1]}' for x in sockets]


def test_a_used_port_is_one_line(tmp_path):
    with socket.create_server(('127.0.0.1', 0)) as other:
        address = f'127.0.0.1:{other.getsockname()[1]}'
        with pytest.raises(ValueError, match=f'run.replay_addr: .*{address}.* choose another'):
            Parts(tmp_path, replay_addr=address).parallel()


def test_roles_on_their_own(tmp_path, started):
    addresses = free_addresses(3)
    keys = ('actor_addr', 'replay_addr', 'logger_addr')
    changes = dict(zip(keys, addresses, strict=True), token='secret', eval_every=0, steps=60)
    parts = Parts(tmp_path, **changes)
    make, args, bind = parts.roles(), parts.args, functools.partial
    group = processes.Group()
    group.start('logger', bind(parallel.parallel_logger, make['make_logger'], args), role.GRACE)
    names = ('make_replay_train', 'make_replay_eval', 'make_stream')
    group.start(
        'replay', bind(parallel.parallel_replay, *(make[x] for x in names), args), role.GRACE
    )
    envs = make['make_env_train'], make['make_env_eval']
    group.start('envs', bind(parallel.parallel_envs, *envs, args), role.GRACE)
    stranger = rpc.Client(addresses[0], 'wrong', 'actor')
    refused = []

    def knock():
        try:
            stranger.connect(60)
        except rpc.Unreachable as e:
            refused.append(str(e))

    thread = threading.Thread(target=knock)
    thread.start()
    parallel.parallel_agent(make['make_agent'], args)
    thread.join(timeout=30)
    stranger.close()
    group.close(timeout=30)
    assert refused and 'the tokens differ' in refused[0]
    assert [x[0].returncode for x in started.values()] == [0, 0, 0]
    assert saved(tmp_path)['step'] >= 60


class Requests:
    """A server that is told what it receives and remembers what is answered."""

    def __init__(self):
        self.incoming = collections.deque()
        self.answers = {}

    def call(self, envid, mode='train', **changes):
        env = make_count(envid)
        obs = env.step({'act': 0, 'move': np.zeros(2, np.float32), 'reset': True})
        request = rpc.Request(self, str((mode, envid)), 0, 'act', [envid, mode, {**obs, **changes}])
        self.incoming.append(request)

    def receive(self, timeout):
        return self.incoming.popleft() if self.incoming else None

    def _send(self, peer, message):
        self.answers.setdefault(peer, []).append(message)


def make_actor(allowed=lambda *_: True, **changes):
    server, steps = Requests(), []
    args = runs.make_args('.', envs=3, **changes)
    take = lambda trans, ids, mode: steps.append((ids, mode))
    result = actor.Actor(server, args, take, allowed)
    agent = RowAgent()
    agent.obs_space = make_count(0).obs_space
    agent.obs_space = {k: v for k, v in agent.obs_space.items() if not k.startswith('log/')}
    result.start(agent)
    return result, server, steps


class TestActor:
    def test_late_environments_do_not_hold_up_others(self):
        acting, server, steps = make_actor()
        for envid in (0, 1, 2):
            server.call(envid)
        acting.receive()
        acting.act()
        assert steps == [([0, 1, 2], 'train')]
        server.call(2)
        acting.receive()
        acting.act()
        assert steps[1] == ([2], 'train')
        assert [x[2] > 0 for x in acting.status()] == [True, True, True]

    def test_batches_have_one_size(self):
        acting, server, _ = make_actor()
        sizes = []
        policy = acting.agent.policy

        def measured(carry, obs, mode):
            sizes.append(len(obs['count']))
            return policy(carry, obs, mode)

        acting.agent.policy = measured
        server.call(0)
        acting.receive()
        acting.act()
        server.call(0, 'eval')
        acting.receive()
        acting.act()
        assert sizes == [3, 2]

    def test_who_may_not_act_waits(self):
        free = set()
        acting, server, steps = make_actor(lambda mode, envid, obs: envid in free)
        server.call(0)
        server.call(1)
        acting.receive()
        acting.act()
        assert steps == []
        free.add(1)
        acting.act()
        assert steps == [([1], 'train')]
        acting.end()
        assert server.answers["('train', 0)"] == [{'id': 0, 'result': None}]
        assert not acting.deserted
        server.call(1)
        acting.receive()
        assert acting.deserted

    @pytest.mark.parametrize(
        'changes, text',
        [
            ({'count': np.float32(1)}, "sent float32 \\(\\) as 'count'"),
            ({'image': np.zeros((4, 4, 3), np.uint8)}, "'image'"),
            ({'unknown': np.float32(1)}, 'unknown'),
        ],
    )
    def test_wrong_observations_are_refused(self, changes, text):
        acting, server, steps = make_actor()
        server.call(0, **changes)
        acting.receive()
        acting.act()
        (answer,) = server.answers["('train', 0)"]
        assert answer['kind'] == 'ValueError'
        with pytest.raises(ValueError, match=text):
            raise ValueError(answer['error'])
        assert steps == []

    def test_wrong_arguments_are_refused(self):
        acting, server, _ = make_actor()
        for args in ([], [0], ['x', 'train', {}], [0, 'mode', {}], [0, 'train', 5]):
            server.incoming.append(rpc.Request(server, 'p', 0, 'act', args))
            acting.receive()
        assert len(server.answers['p']) == 5
        assert all('error' in x for x in server.answers['p'])
