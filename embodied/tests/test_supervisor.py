"""Environments that fail in every way: each is named and made anew, and no step is lost or doubled.

An environment lives until its third observation, where a fault happens. The counts of its next life
begin 1000 higher, so that every transition tells which life and which step it is of.
"""

import functools
import itertools
import os
import re
import signal
import sys
import threading

import elements
import numpy as np
import pytest

from embodied.core import driver, episodes
from embodied.core.workers import envset, supervisor, worker
from embodied.tests import fakes


def fail(*_):
    raise OSError('lost connection')


def set_value(key, value):
    return lambda obs: {**obs, key: value}


# What becomes of an observation, and what is said about it.
FAULTS = {
    'exception': (fail, 'OSError: lost connection'),
    'exit': (lambda obs: sys.exit('enough'), 'SystemExit: enough'),
    'NaN reward': (set_value('reward', np.float32(np.nan)), "'reward' holds NaN"),
    'infinite reward': (set_value('reward', np.float32(-np.inf)), "'reward' holds infinity"),
    'NaN': (set_value('seen_move', np.array([0, np.nan], np.float32)), "'seen_move' holds NaN"),
    'NaN in log': (set_value('log/half', np.float32(np.nan)), "'log/half' holds NaN"),
    'shape': (set_value('image', np.zeros((4, 6, 1), np.uint8)), r"'image' .* shape \(4, 6, 1\)"),
    'dtype': (set_value('count', np.float32(3)), "'count' has dtype float32"),
    'below': (set_value('seen_act', np.int32(-1)), "'seen_act' is -1, allowed is 0 to below 10"),
    'above': (set_value('seen_act', np.int32(10)), "'seen_act' is 10, allowed is 0 to below 10"),
    'bounds': (set_value('level', np.float32(1.5)), "'level' is 1.5, allowed is 0.0 to 1.0"),
    'missing key': (lambda obs: {k: v for k, v in obs.items() if k != 'step'}, r"missing .*'step'"),
    'extra key': (set_value('more', np.float32(1)), r"unknown keys \['more'\]"),
    'None': (lambda obs: None, 'is None instead of a dict'),
    'not a dict': (lambda obs: list(obs), r"is \['count', .* instead of a dict"),
    'None in it': (set_value('step', None), "'step' has dtype object"),
    'flags': (set_value('is_terminal', np.bool_(True)), "'is_terminal' is true while 'is_last'"),
}
# Those that end or stop a process, which only one of its own survives.
DEADLY = {
    'kill -9': (lambda obs: os.kill(os.getpid(), signal.SIGKILL), 'was killed by SIGKILL'),
    'os._exit': (lambda obs: os._exit(3), 'exited with code 3'),
    'hang': (lambda obs: signal.pause(), 'it did not answer for'),
}


class Mortal(fakes.Count):
    """Has the n-th fault in its n-th life, in which it finds itself by files in a folder."""

    def __init__(self, folder, faults, **kwargs):
        self.life = len(list(folder.iterdir()))
        (folder / str(self.life)).touch()
        self.fault = faults[self.life] if self.life < len(faults) else None
        super().__init__(offset=1000 * self.life, **kwargs)

    @property
    def obs_space(self):
        return {**super().obs_space, 'level': elements.Space(np.float32, (), 0, 1)}

    def step(self, action):
        obs = {**super().step(action), 'level': np.float32(0.5)}
        return self.fault(obs) if self.fault and self.count % 1000 == 3 else obs


class Healthy(Mortal):
    def __init__(self):
        fakes.Count.__init__(self, offset=500_000)
        self.fault = None


class Stage:
    """A driver of an environment with faults and of one without. Notes transitions and messages."""

    def __init__(self, folder, faults, parallel, kind=Mortal, **kwargs):
        self.lines = []
        self.trans = {0: [], 1: []}
        self.folder = folder / 'lives'
        self.folder.mkdir()
        kwargs = {'restarts': len(faults), 'tell': self.tell, **kwargs}
        self.tolerance = supervisor.Tolerance('maze_small', **kwargs)
        fns = [functools.partial(kind, self.folder, faults), Healthy]
        self.driver = driver.Driver(fns, parallel, self.tolerance)
        self.driver.on_step(lambda tran, i: self.trans[i].append(tran))
        self.policy = fakes.CountPolicy()
        self.driver.reset(self.policy.init)

    def tell(self, line):
        self.lines.append(line)

    def run(self, rounds):
        try:
            self.driver(self.policy, steps=2 * rounds)
        finally:
            self.driver.close()
        return self

    def counts(self, index=0):
        return [int(x['count']) for x in self.trans[index]]


def check(stage, causes, rounds):
    """What came out: the good transitions and no others, and one line for each fault."""
    lives = [[1000 * i + 1, 1000 * i + 2] for i in range(len(causes))]
    left = rounds - 2 * len(causes)
    lives.append([1000 * len(causes) + 1 + i for i in range(left)])
    assert stage.counts(0) == list(itertools.chain(*lives))
    assert stage.counts(1) == [500_001 + i for i in range(rounds)]
    # An environment that begins anew is reset, and its observation says so.
    firsts = [x['count'] for x in stage.trans[0] if x['is_first']]
    assert {x[0] for x in lives} <= set(firsts)
    for prev, tran in itertools.pairwise(stage.trans[0]):
        new = tran['count'] % 1000 == 1
        assert tran['seen_act'] == (0 if new else prev['act'])
    for tran in stage.trans[0] + stage.trans[1]:
        assert all(np.isfinite(v).all() for v in tran.values())
    assert len(stage.lines) == len(causes), stage.lines
    for i, (line, cause) in enumerate(zip(stage.lines, causes, strict=True)):
        # The step counts on over all lives, each with three.
        head = rf'Environment 0 \(maze_small\) failed at its step {3 * i + 3}: .*'
        tail = rf', starting it again \({len(causes) - i - 1} restarts left\)'
        assert re.match(head + cause, line) and re.search(tail, line), line
        assert '\n' not in line


@pytest.mark.parametrize('name', list(FAULTS))
def test_faults_in_this_process(tmp_path, name):
    fault, cause = FAULTS[name]
    check(Stage(tmp_path, [fault], False).run(8), [cause], 8)


def test_faults_of_processes(tmp_path):
    cases = {**FAULTS, **DEADLY}
    assert list(cases)[-1] == 'hang'
    faults, causes = zip(*cases.values(), strict=True)
    stage = Stage(tmp_path, faults, True)

    # Only the one that hangs may take too long, not those that start.
    def limit(tran, index):
        if tran['count'] == 1000 * causes.index(DEADLY['hang'][1]) + 2:
            stage.tolerance.timeout = 0.3

    def tell(line):
        stage.lines.append(line)
        stage.tolerance.timeout = 0

    stage.driver.on_step(limit)
    stage.tolerance.tell = tell
    rounds = 2 * len(cases) + 4
    check(stage.run(rounds), causes, rounds)


@pytest.mark.parametrize('parallel', [False, True])
def test_fault_in_a_reset(tmp_path, parallel):
    # With episodes of two observations, the third is that of a reset.
    short = functools.partial(Mortal, length=1)
    stage = Stage(tmp_path, [fail, FAULTS['NaN'][0]], parallel, short).run(10)
    check(stage, ['OSError: lost connection', "'seen_move' holds NaN"], 10)


@pytest.mark.parametrize('parallel', [False, True])
def test_fault_in_the_first_reset(tmp_path, parallel):
    class Stillborn(Mortal):
        def step(self, action):
            if self.life < 2:
                raise OSError('no display')
            return super().step(action)

    stage = Stage(tmp_path, [fail] * 2, parallel, Stillborn).run(2)
    assert stage.counts(0) == [2001, 2002]
    assert stage.counts(1) == [500_001, 500_002]
    for i, line in enumerate(stage.lines):
        assert line.startswith(f'Environment 0 (maze_small) failed at its step {i + 1}: OSError')
    assert len(stage.lines) == 2


@pytest.mark.parametrize('parallel', [False, True])
def test_last_failure_ends_it(tmp_path, parallel):
    stage = Stage(tmp_path, [fail] * 3, parallel, restarts=2)
    with pytest.raises(worker.EnvError) as info:
        stage.run(20)
    first, *rest = str(info.value).splitlines()
    expected = 'Environment 0 (maze_small) failed at its step 9: OSError: lost connection'
    assert first == f'{expected} (after 2 restarts)'
    assert any('in fail' in x for x in rest)
    assert stage.counts(0) == [1, 2, 1001, 1002, 2001, 2002]
    assert stage.counts(1) == [500_001 + i for i in range(6)]


def test_restart_that_fails_counts(tmp_path):
    class Fragile(Mortal):
        def __init__(self, folder, faults):
            super().__init__(folder, faults)
            if self.life in (1, 2):
                raise KeyError('no such level')

    stage = Stage(tmp_path, [fail] * 3, False, Fragile).run(4)
    assert stage.counts(0) == [1, 2, 3001, 3002]
    assert len(stage.lines) == 3
    for line in stage.lines[1:]:
        assert line.startswith("Environment 0 (maze_small) could not be made: KeyError: 'no such")


def test_another_space_after_a_restart_is_a_failure(tmp_path):
    class Changing(Mortal):
        @property
        def obs_space(self):
            extra = {'new': elements.Space(np.float32)} if self.life == 1 else {}
            return {**super().obs_space, **extra}

    stage = Stage(tmp_path, [fail] * 2, False, Changing).run(4)
    assert stage.counts(0) == [1, 2, 2001, 2002]
    assert "the space of 'new' is another one than before" in stage.lines[1]


@pytest.mark.parametrize('parallel', [False, True])
def test_failure_to_close_does_not_matter(tmp_path, parallel):
    class Stuck(Mortal):
        def close(self):
            if self.life == 0:
                raise OSError('busy')

    stage = Stage(tmp_path, [fail], parallel, Stuck).run(4)
    assert stage.counts(0) == [1, 2, 1001, 1002]
    # A process says so itself.
    assert stage.lines[1:] == ([] if parallel else ['Closing it failed as well: OSError: busy'])


def test_one_that_ignores_the_reset_begins_an_episode_all_the_same(tmp_path):
    class Stubborn(Mortal):
        def step(self, action):
            return super().step({**action, 'reset': np.bool_(False)})

    stage = Stage(tmp_path, [fail], False, Stubborn)
    stage.run(4)
    assert [bool(x['is_first']) for x in stage.trans[0]] == [False, False, True, False]


def test_abandoned_episodes_are_counted(tmp_path):
    stage = Stage(tmp_path, [fail], False)
    results = []
    tracker = episodes.Episodes(lambda result, i: results.append((i, result['length'])))
    stage.driver.on_step(tracker)
    stage.run(8)
    assert results == [(1, 6), (0, 6)]
    assert tracker.result()['abandoned'] == 1


def test_slow_one_of_a_process_is_reported_and_waited_for(tmp_path):
    gate = tmp_path / 'gate'
    os.mkfifo(gate)
    # Opening one end waits for the other.
    stage = Stage(tmp_path, [lambda obs: open(gate).close() or obs], True)
    stage.driver.on_step(lambda tran, i: setattr(stage.tolerance, 'warn', 0.1))

    def tell(line):
        if 'Environment 0' in line and not any('Environment 0' in x for x in stage.lines):
            gate.open('w').close()
        stage.lines.append(line)

    stage.tolerance.tell = tell
    stage.run(4)
    assert stage.counts(0) == [1, 2, 3, 4]
    (line,) = [x for x in stage.lines if 'Environment 0' in x]
    expected = r'Environment 0 \(maze_small\) has not answered at its step 3 for [\d.]+ s'
    assert re.fullmatch(expected, line)


def test_slow_one_of_this_process_is_reported(tmp_path):
    told = threading.Event()

    def hang(obs):
        assert told.wait(20)
        return obs

    stage = Stage(tmp_path, [hang], False, warn=0.05)
    stage.tolerance.tell = lambda line: (stage.lines.append(line), told.set())
    stage.run(4)
    assert stage.counts(0) == [1, 2, 3, 4]
    expected = r'Environment 0 \(maze_small\) has not answered at its step 3 for [\d.]+ s'
    assert any(re.fullmatch(expected, x) for x in stage.lines), stage.lines


def test_hanging_one_does_not_hold_up_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, 'STOP_SECONDS', 0)
    monkeypatch.setattr(envset, 'CLOSE_SECONDS', 0)
    monkeypatch.setattr(supervisor, 'LOOK_SECONDS', 0.05)
    stage = Stage(tmp_path, [lambda obs: signal.pause()], True)

    def stop(tran, index):
        if tran['count'] == 2:
            stage.tolerance.stop = True

    stage.driver.on_step(stop)
    with pytest.raises(supervisor.Hangs, match=r'did not answer when the run was to end'):
        stage.run(4)
    assert stage.lines == []
