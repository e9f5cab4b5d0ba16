"""The train loop with an agent that counts: nothing is lost or doubled, also not by a stop."""

import itertools
import json
import pathlib
import shutil
import signal
import subprocess
import sys

import elements
import numpy as np
import pytest
import scope

import embodied
from embodied import build
from embodied.core import checkpoint, selectors
from embodied.core.system import processes
from embodied.core.workers import envset, supervisor, worker
from embodied.run.evaluate import EVAL_INDEX
from embodied.tests import fakes, faults, runs

ROOT = pathlib.Path(embodied.__file__).parent.parent


def rows(logdir, name='metrics.jsonl'):
    return [json.loads(line) for line in (logdir / name).read_text().splitlines()]


def column(table, key):
    return {row['step']: row[key] for row in table if key in row}


def check_steps(logdir):
    """The steps of every log strictly rise."""
    tables = [[row['step'] for row in rows(logdir, x)] for x in ('metrics.jsonl', 'scores.jsonl')]
    reader = scope.Reader(logdir)
    tables += [reader[key][0].tolist() for key in reader.keys()]  # noqa: SIM118 (not a dict)
    assert len(tables) > 10
    for steps in tables:
        assert steps and all(a < b for a, b in itertools.pairwise(steps)), steps


def contents(replay):
    """Counts and latents of all stored steps by worker, in the order of their streams."""
    chunks = list(replay.chunks.values())
    seen = {}
    for chunk in chunks:
        counts = chunk.columns['count'][: chunk.length] if chunk.length else np.zeros(0, int)
        latents = chunk.columns['latent'][: chunk.length] if chunk.length else np.zeros((0, 2))
        for count, latent in zip(counts.tolist(), latents, strict=True):
            seen.setdefault(count // 10_000, []).append((count, latent))
    return {k: sorted(v, key=lambda x: x[0]) for k, v in seen.items()}


def check_replay(parts, counts):
    """Every transition is there once; those trained on have their latents, the others not.

    The latents of the last update come with the next one.
    """
    batches = parts.agent.batches[:-1]
    trained = {int(c) for batch in batches for c in batch['count'].reshape(-1)}
    stored = contents(parts.replay)
    assert {k: [c for c, _ in v] for k, v in stored.items()} == counts
    for values in stored.values():
        for count, latent in values:
            assert (latent == (count if count in trained else -1)).all(), count


def numbers(steps, envs=runs.ENVS):
    """Counts that the environments have shown after some steps of a run."""
    return {i: [10_000 * i + n for n in range(1, steps // envs + 1)] for i in range(envs)}


@pytest.mark.parametrize('train_ratio, save_every', [(0.0, 0), (4.0, 0), (64.0, 0), (4.0, -1)])
def test_every_transition_is_in_replay_once(tmp_path, train_ratio, save_every):
    parts = runs.Parts(tmp_path, train_ratio=train_ratio, save_every=save_every, steps=60).train()
    check_replay(parts, numbers(60))
    assert parts.agent.counters['actions'] == 30
    assert bool(parts.agent.batches) == bool(train_ratio)
    for batch in parts.agent.batches:
        assert (np.diff(batch['count']) == 1).all()
        # What was chosen after one observation arrived with the next of the same episode.
        inside = ~batch['is_first'][:, 1:]
        np.testing.assert_array_equal(
            batch['seen_act'][:, 1:][inside], batch['act'][:, :-1][inside]
        )
        np.testing.assert_array_equal(
            batch['reward'], np.where(batch['step'] > 0, batch['step'], 0)
        )


def test_updates_follow_the_ratio_over_resumes(tmp_path):
    # One batch of 8 steps at every second of the steps after the first chance.
    updates = 0
    for i, steps in enumerate((6, 30, 31, 60), 1):
        parts = runs.Parts(tmp_path, steps=steps).train()
        updates += len(parts.agent.batches)
        done = -(-steps // 2) * 2
        # After step 16, eight windows of two workers with five steps each are there.
        assert updates == parts.agent.counters['updates'] == max(0, 1 + (done - 16) // 2), i
    assert column(rows(tmp_path), 'ratio/updates_per_env_step')[60] == updates / 60


def test_parts_of_the_logs(tmp_path):
    runs.Parts(tmp_path, steps=60, report_every=-1, timer=True).train()
    table = rows(tmp_path)
    keys = {key for row in table for key in row}
    assert {'episode/score', 'episode/length', 'train/loss', 'report/loss'} <= keys
    assert {'replay/items', 'replay/replay_ratio', 'fps/policy', 'fps/train'} <= keys
    assert {'usage/psutil/proc_ram_gb', 'ratio/updates_per_env_step'} <= keys
    assert {'timer/driver/frac', 'timer/driver/learner.batch/replay.sample/frac'} <= keys
    assert 'epstats/log/half/avg' in keys and 'epstats/policy_image' not in keys
    # An episode of worker 0 has the rewards 0 to 5, one of worker 1 goes on to 6.
    scores = column(table, 'episode/score')
    assert scores == {11: 15.0, 14: 21.0, 23: 15.0, 28: 21.0, 35: 15.0, 42: 21.0, 47: 15.0} | {
        56: 21.0,
        59: 15.0,
    }
    assert set(column(table, 'episode/length').values()) == {6, 7}
    assert rows(tmp_path, 'scores.jsonl') == [
        {'step': k, 'episode/score': v} for k, v in scores.items()
    ]
    losses = column(table, 'train/loss')
    assert list(losses.values()) == sorted(losses.values())
    inserts = column(table, 'replay/inserts')
    assert sum(inserts.values()) == 60 - 2 * 4
    check_steps(tmp_path)


def test_scope_has_numbers_and_videos(tmp_path):
    runs.Parts(tmp_path, steps=40, report_every=-1).train()
    reader = scope.Reader(tmp_path)
    steps, scores = reader['episode/score']
    assert dict(zip(steps.tolist(), scores.tolist(), strict=True)) == column(
        rows(tmp_path), 'episode/score'
    )
    steps, files = reader['epstats/policy_image']
    assert steps.tolist() == [12, 24, 36]
    video = reader.load('epstats/policy_image', files[-1])
    assert video.shape == (6, 4, 6, 3)
    assert len(reader['report/openloop'][0]) > 3


def test_steps_of_the_logs_count_repeated_actions(tmp_path):
    runs.Parts(tmp_path, steps=20, repeat=4).train()
    assert list(column(rows(tmp_path), 'replay/items')) == [8 * i for i in range(1, 11)]
    runs.Parts(tmp_path, steps=30, repeat=4).train()
    assert list(column(rows(tmp_path), 'replay/items')) == [8 * i for i in range(1, 16)]


@pytest.mark.parametrize('every', [0, -1, 1e9])
def test_intervals(tmp_path, every):
    parts = runs.Parts(tmp_path, log_every=every, report_every=every, save_every=every, steps=40)
    saves = []
    parts.agent.save = lambda: saves.append(1) or runs.CountAgent.save(parts.agent)
    parts.train()
    often = every < 0
    # The end is always logged and saved.
    assert len(column(rows(tmp_path), 'replay/items')) == (20 if often else 1)
    assert len(saves) == (20 if often else 1)
    # From the step at which replay holds a batch.
    assert parts.agent.counters['reports'] == (13 if often else 0)
    assert len(column(rows(tmp_path), 'episode/score')) == 5
    check_steps(tmp_path)


def test_end_by_duration(tmp_path):
    parts = runs.Parts(tmp_path, steps=10**9, duration=0.05, log_every=0).train()
    actions = parts.agent.counters['actions']
    assert 0 < actions < 10**6
    check_replay(parts, numbers(2 * actions))
    # The next start has its own time.
    more = runs.Parts(tmp_path, steps=10**9, duration=0.05, log_every=0).train()
    assert more.agent.counters['actions'] > actions


def test_resume_goes_on_where_it_was(tmp_path):
    first = runs.Parts(tmp_path, steps=30).train()
    before = rows(tmp_path)
    second = runs.Parts(tmp_path, steps=60).train()
    assert rows(tmp_path)[: len(before)] == before
    check_steps(tmp_path)
    second.agent.batches[:0] = first.agent.batches
    check_replay(second, numbers(60))
    assert second.agent.counters['actions'] == 30


def test_episodes_go_on_over_a_resume(tmp_path):
    runs.Parts(tmp_path / 'straight', steps=60).train()
    for steps in (14, 30, 32, 60):
        runs.Parts(tmp_path / 'resumed', steps=steps).train()
    scores = [column(rows(tmp_path / x), 'episode/score') for x in ('straight', 'resumed')]
    assert scores[0] == scores[1] and len(scores[0]) > 5
    straight, resumed = (
        [json.loads(x) for x in (tmp_path / name / 'scores.jsonl').read_text().splitlines()]
        for name in ('straight', 'resumed')
    )
    assert straight == resumed


def test_environments_that_cannot_be_saved_begin_anew(tmp_path):
    class Unsaved(fakes.Count):
        save = None

        def __getattribute__(self, name):
            if name == 'save':
                raise AttributeError(name)
            return super().__getattribute__(name)

    for steps in (30, 60):
        parts = runs.Parts(tmp_path, steps=steps)
        parts.make_env = lambda index: Unsaved(length=5 + index, offset=10_000 * index)
        parts.train()
    counts = {k: sorted(2 * v) for k, v in numbers(30).items()}
    assert {k: [c for c, _ in v] for k, v in contents(parts.replay).items()} == counts


@pytest.mark.parametrize('name', ['SIGINT', 'SIGTERM'])
@pytest.mark.parametrize('at', [1, 7, 13])
def test_signals_save_and_end(tmp_path, name, at):
    parts = runs.Parts(tmp_path, final_eval_eps=2)
    number = getattr(signal, name)
    parts.agent.on_action = lambda count: count == at and signal.raise_signal(number)
    handler = signal.getsignal(number)
    parts.train()
    assert signal.getsignal(number) is handler
    assert parts.agent.counters['actions'] == at
    assert not (tmp_path / 'eval.json').exists()
    check_replay(parts, numbers(2 * at))
    with runs.Parts(tmp_path).run() as run:
        assert run.step == 2 * at
        assert len(run.replay) == len(parts.replay)
        assert run.learner.updates == parts.agent.counters['updates']


def test_signal_before_the_loop(tmp_path):
    parts = runs.Parts(tmp_path)
    make = parts.make_replay
    parts.make_replay = lambda: signal.raise_signal(signal.SIGINT) or make()
    parts.train()
    assert not parts.agent.counters['actions']
    assert all(env.closed for env in parts.envs.values())
    parts = runs.Parts(tmp_path, steps=20).train()
    check_replay(parts, numbers(20))


def test_second_interrupt_ends_at_once(tmp_path):
    parts = runs.Parts(tmp_path)

    def interrupt(count):
        if count == 5:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    parts.agent.on_action = interrupt
    with pytest.raises(KeyboardInterrupt):
        parts.train()
    assert parts.agent.counters['actions'] == 5
    assert not (tmp_path / 'ckpt').exists()
    assert parts.agent.closed == 1
    assert all(env.closed for env in parts.envs.values())


def test_finished_run_resumes_cleanly(tmp_path):
    runs.Parts(tmp_path, steps=40).train()
    before = {x: x.read_bytes() for x in tmp_path.rglob('*') if x.is_file()}
    parts = runs.Parts(tmp_path, steps=40).train()
    assert parts.agent.counters['actions'] == 20
    assert before == {x: x.read_bytes() for x in tmp_path.rglob('*') if x.is_file()}


def test_run_without_a_step(tmp_path):
    parts = runs.Parts(tmp_path, steps=0, final_eval_eps=1).train()
    assert set(parts.agent.modes) == {'eval'}
    assert [x['step'] for x in rows(tmp_path)] == [0]
    runs.Parts(tmp_path, steps=20).train()
    check_replay(runs.Parts(tmp_path / 'other', steps=20).train(), numbers(20))


def test_final_evaluation(tmp_path):
    parts = runs.Parts(tmp_path, final_eval_eps=5).train()
    content = json.loads((tmp_path / 'eval.json').read_text())
    assert content['step'] == 40
    # Three episodes of the first environment and two of the second.
    assert sorted(x['length'] for x in content['results']) == [6, 6, 6, 7, 7]
    assert sorted(x['score'] for x in content['results']) == [15, 15, 15, 21, 21]
    assert content['score_mean'] == np.mean([15, 15, 15, 21, 21])
    last = rows(tmp_path)[-1]
    assert last['step'] == 40 and last['eval/score_mean'] == content['score_mean']
    assert 'replay/items' in last
    # Other environments, and none of their steps is learned from.
    assert sorted(parts.envs) == [0, 1, EVAL_INDEX, EVAL_INDEX + 1]
    check_replay(parts, numbers(40))
    assert all(env.closed for env in parts.envs.values())
    modes = parts.agent.modes
    assert modes[:20] == ['train'] * 20 and set(modes[20:]) == {'eval'}


def test_steps_after_the_checkpoint_come_again(tmp_path):
    """A run that is killed some time after its last save."""
    runs.Parts(tmp_path, steps=30).train()
    shutil.copytree(tmp_path / 'ckpt', tmp_path / 'kept')
    runs.Parts(tmp_path, steps=50, final_eval_eps=1).train()
    shutil.rmtree(tmp_path / 'ckpt')
    (tmp_path / 'kept').rename(tmp_path / 'ckpt')
    parts = runs.Parts(tmp_path, steps=44).train()
    assert rows(tmp_path)[-1]['step'] == 44
    check_steps(tmp_path)
    assert parts.agent.counters['actions'] == 22


def test_run_that_never_saved_leaves_nothing_behind(tmp_path, capsys):
    """Killed before its first save: logs and replay files, but no checkpoint."""
    runs.Parts(tmp_path, steps=60).train()
    old = rows(tmp_path)
    shutil.rmtree(tmp_path / 'ckpt')
    capsys.readouterr()
    parts = runs.Parts(tmp_path, steps=40).train()
    assert f'No checkpoint to resume, earlier logs are now in {tmp_path}/before-1' in (
        capsys.readouterr().out
    )
    assert rows(tmp_path / 'before-1') == old
    assert (tmp_path / 'before-1' / 'scope').is_dir()
    check_steps(tmp_path)
    check_replay(parts, numbers(40))
    with runs.Parts(tmp_path).run() as run:
        assert len(run.replay) == len(parts.replay)


def test_checkpoints_that_cannot_be_read(tmp_path):
    runs.Parts(tmp_path).train()
    before = rows(tmp_path)
    (part,) = (tmp_path / 'ckpt').glob('*/agent.json')
    part.write_text('{}')
    with pytest.raises(ValueError, match=r'no checkpoint in .* can be read'):
        runs.Parts(tmp_path).train()
    assert rows(tmp_path) == before


def test_full_disk_does_not_end_the_run(tmp_path, monkeypatch, capsys):
    save, calls = checkpoint.Checkpoint._save, []

    def failing(self, makers, step):
        calls.append(step)
        if len(calls) in (2, 3):
            raise OSError(28, 'No space left on device', 'ckpt/agent')
        return save(self, makers, step)

    monkeypatch.setattr(checkpoint.Checkpoint, '_save', failing)
    parts = runs.Parts(tmp_path, steps=12, save_every=-1).train()
    assert calls == [2, 4, 6, 8, 10, 12]
    out = capsys.readouterr().out
    told = "Could not save, will try again: [Errno 28] No space left on device: 'ckpt/agent'"
    assert out.count(told) == 2
    assert out.count('after 2 that failed') == 1
    check_replay(parts, numbers(12))
    calls[:] = [0]
    with pytest.raises(processes.ProcessError, match=r'end of the run: .*No space left'):
        runs.Parts(tmp_path, steps=14).train()


@pytest.mark.parametrize('at', range(1, 61, 9))
def test_disk_that_is_full_for_a_while(tmp_path, monkeypatch, capsys, at):
    """From any operation on, until there is room again: no step is lost, and saves work again."""
    runs.Parts(tmp_path, steps=20, capacity=24).train()
    parts = runs.Parts(tmp_path, steps=60, capacity=24, save_every=-1)
    with monkeypatch.context() as patch:
        disk = faults.Disk(patch, at, 'full')

        def free(count):
            if count == 20:  # The tenth of this start.
                disk.at = 0

        parts.agent.on_action = free
        parts.train()
    out = capsys.readouterr().out
    failed = [x for x in out.splitlines() if 'Could not save, will try again' in x]
    assert failed and all('No space left' in x and f"'{tmp_path}" in x for x in failed)
    assert f'after {len(failed)} that failed' in out.split('Could not save')[-1]
    with runs.Parts(tmp_path, steps=60, capacity=24).run() as run:
        assert run.step == 60 and len(run.replay) == 24
        assert contents(run.replay).keys() == contents(parts.replay).keys()
    # What the disk holds is what the last save needs.
    steps = sum(int(x.stem.split('-')[-1]) for x in (tmp_path / 'replay').glob('*.npz'))
    assert steps == sum(x.length for x in parts.replay.chunks.values())
    assert not list((tmp_path / 'replay' / 'unsaved').iterdir())
    assert len(list((tmp_path / 'ckpt').iterdir())) == 2


@pytest.mark.parametrize('broken', ['make_agent', 'make_replay', 'make_stream', 'make_env'])
def test_failure_of_a_part_closes_the_others(tmp_path, broken):
    parts = runs.Parts(tmp_path)

    def fail(*args):
        raise ValueError('this one')

    setattr(parts, broken, fail)
    with pytest.raises((ValueError, worker.EnvError), match='this one'):
        parts.train()
    assert parts.agent.closed == (broken != 'make_agent')
    assert not (tmp_path / 'ckpt').exists()


def test_failure_after_the_environments_were_made_closes_them(tmp_path, monkeypatch):
    parts = runs.Parts(tmp_path)

    def fail(**kwargs):
        raise ImportError('psutil')

    monkeypatch.setattr(elements, 'Usage', fail)
    with pytest.raises(ImportError):
        parts.train()
    assert [env.closed for env in parts.envs.values()] == [1, 1]
    assert parts.agent.closed == 1


def test_failure_of_an_environment_ends_the_run_after_saving(tmp_path):
    parts = runs.Parts(tmp_path, env_restarts=0)

    def fail():
        raise RuntimeError('broken')

    parts.make_env = lambda index: fakes.Failing(fail, at=5)
    with pytest.raises(worker.EnvError, match=r'Environment 0 \(count\) .* step 5: .*broken'):
        parts.train()
    assert parts.agent.closed == 1
    with runs.Parts(tmp_path).run() as run:
        assert run.step == 8


@pytest.mark.parametrize(
    'changes',
    [
        {'envs': 1},
        {'envs': 3},
        {'batch_size': 3},
        {'batch_length': 5},
        {'batch_length': 2, 'report_length': 2},
        {'consec_train': 2},
        {'replay_context': 2},
        {'train_ratio': 16.0},
    ],
    ids=str,
)
def test_resumed_with_other_options(tmp_path, changes):
    first = runs.Parts(tmp_path, steps=40).train()
    parts = runs.Parts(tmp_path, steps=70, report_every=-1, **changes).train()
    assert parts.agent.counters['updates'] > first.agent.counters['updates']
    # All that was there before is there, once, and all that came since.
    stored = {k: [count for count, _ in v] for k, v in contents(parts.replay).items()}
    envs = parts.args.envs
    for index in range(max(envs, runs.ENVS)):
        old = [10_000 * index + n for n in range(1, 21)] if index < runs.ENVS else []
        amount = -(-30 // envs) if index < envs else 0
        # As many environments go on where they were, others begin anew.
        start = 21 if envs == runs.ENVS else 1
        new = [10_000 * index + n for n in range(start, start + amount)]
        assert stored[index] == sorted(old + new), index
    args = parts.args
    shape = args.batch_size, args.batch_length + args.replay_context
    for batch in parts.agent.batches:
        assert batch['count'].shape == shape
        assert ((np.diff(batch['count']) == 1) | batch['is_first'][:, 1:]).all()
    check_steps(tmp_path)


@pytest.mark.parametrize('parallel', [False, True])
def test_environment_that_fails_is_made_anew(tmp_path, capsys, parallel):
    class Bad(fakes.Count):
        """Its reward is NaN at its seventh observation, once."""

        def __init__(self, index):
            self.first = not (tmp_path / f'life{index}').exists()
            (tmp_path / f'life{index}').touch()
            super().__init__(offset=10_000 * index + (0 if self.first else 100))

        def step(self, action):
            obs = super().step(action)
            bad = self.first and self.count == 10_007
            return {**obs, 'reward': np.float32(np.nan)} if bad else obs

    parts = runs.Parts(tmp_path, steps=40, parallel_envs=parallel, log_every=0)
    parts.make_env = Bad
    parts.train()
    expected = [*range(10_001, 10_007), *range(10_101, 10_115)]
    check_replay(parts, {0: list(range(1, 21)), 1: expected})
    for batch in parts.agent.batches:
        assert np.isfinite(batch['reward']).all()
        assert batch['is_first'][batch['count'] == 10_101].all()
    (line,) = [x for x in capsys.readouterr().out.splitlines() if 'Environment' in x]
    assert line == (
        "Environment 1 (count) failed at its step 7: ValueError: Observation 'reward' holds NaN; "
        'its space is float32 (), starting it again (0 restarts left)'
    )


def test_environment_that_hangs_does_not_hold_up_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(supervisor, 'LOOK_SECONDS', 0.05)
    monkeypatch.setattr(supervisor, 'STOP_SECONDS', 0)
    monkeypatch.setattr(envset, 'CLOSE_SECONDS', 0)
    parts = runs.Parts(tmp_path, parallel_envs=True)
    parts.make_env = lambda index: fakes.Failing(signal.pause, at=5)

    def stop(count):
        if count == 4:
            signal.raise_signal(signal.SIGTERM)

    parts.agent.on_action = stop
    parts.train()
    with runs.Parts(tmp_path).run() as run:
        assert run.step == 8


SELECTORS = {
    'uniform': None,
    'mixture': lambda: selectors.Mixture(
        {
            'uniform': selectors.Uniform(1),
            'priority': selectors.Prioritized(0.8, np.inf, True, 0.5, seed=2),
            'recency': selectors.Recency(build.recency(30, 1.0), 3),
        },
        {'uniform': 0.4, 'priority': 0.3, 'recency': 0.3},
        4,
    ),
}


@pytest.mark.parametrize('selector', SELECTORS)
@pytest.mark.parametrize('consec', [1, 2])
@pytest.mark.parametrize('steps, train_ratio', [(10, 5.0), (34, 5.0), (70, 5.0), (70, 0.5)])
def test_resume_is_exact(tmp_path, selector, consec, steps, train_ratio):
    """What comes after a save is the same with and without a restart."""

    def parts(folder, steps):
        return runs.Parts(
            tmp_path / folder,
            selector=SELECTORS[selector],
            capacity=50,
            priority=True,
            steps=steps,
            consec_train=consec,
            consec_report=consec,
            report_every=-1,
            train_ratio=train_ratio,
        )

    env = fakes.Count(length=7, offset=500)
    stretch = []
    for i in range(120):
        action = {'act': i % 9, 'move': np.zeros(2, np.float32), 'reset': i % 8 == 0}
        obs = env.step(action)
        extra = {'act': np.int32(0), 'move': action['move'], 'latent': np.zeros(2, np.float32)}
        stretch.append(({**obs, **extra}, i % 2))

    def goes_on(run):
        """All that is drawn and done in a stretch of new steps."""
        run.agent.batches.clear()
        trace = []
        for tran, index in stretch:
            run.on_step(tran, index)
            trace.append((int(run.step), run.learner.updates, len(run.replay)))
        run.learner.flush()
        batches = list(run.agent.batches)
        batches += [next(run.learner.report.stream) for _ in range(3)]
        return trace, batches

    straight = parts('a', steps)
    with straight.run() as run:
        run.loop(stop=())
        run.finish()
        shutil.copytree(tmp_path / 'a', tmp_path / 'b')
        # The carry of the learner begins anew, in both.
        straight.agent.first = run.learner.updates
        run.learner.carry = 0
        want = goes_on(run)
    with parts('b', steps).run() as run:
        got = goes_on(run)
    assert got[0] == want[0]
    assert len(got[1]) == len(want[1]) > 3 + 100 * train_ratio / 8
    for left, right in zip(got[1], want[1], strict=True):
        assert left.keys() == right.keys()
        for key in left.keys() - {'stepid'}:  # The chunks made since have other ids.
            np.testing.assert_array_equal(left[key], right[key], key)


@pytest.mark.parametrize(
    'change',
    [
        {'batch_size': 3},
        {'batch_length': 6},
        {'consec_train': 1},
        {'replay_context': 0},
        {'report_length': 2},
        {'envs': 1},
        {'envs': 3},
        {'capacity': 20},
        {'selector': SELECTORS['mixture']},
        {'selector': selectors.Fifo},
        {'train_ratio': 0.0},
    ],
    ids=lambda x: '-'.join(x),
)
def test_resume_with_other_options(tmp_path, change):
    common = {'consec_train': 2, 'report_every': -1}
    before = runs.Parts(tmp_path, steps=50, **common).train()
    parts = runs.Parts(tmp_path, steps=80, **{**common, **change}).train()
    check_steps(tmp_path)
    assert rows(tmp_path)[-1]['step'] >= 80
    assert len(parts.replay) == 20 if 'capacity' in change else len(before.replay)
    updates = parts.agent.counters['updates'] - before.agent.counters['updates']
    assert updates == len(parts.agent.batches)
    assert bool(updates) == ('train_ratio' not in change)
    for batch in parts.agent.batches:
        assert batch['count'].shape == (
            parts.args.batch_size,
            parts.args.batch_length + parts.args.replay_context,
        )


def start(logdir, *flags):
    command = [sys.executable, str(ROOT / 'dreamerv3' / 'main.py'), '--logdir', str(logdir)]
    command += ['--random_agent', 'True', '--task', 'dummy_disc', '--run.envs', '2']
    command += ['--batch_size', '4', '--batch_length', '8', '--report_length', '4']
    command += ['--run.log_every', '-1', '--run.save_every', '0', '--env.dummy.length', '10']
    return subprocess.Popen(
        [*command, *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_interrupt_of_the_program(tmp_path):
    """The real command line with environments in processes of their own."""
    first = start(tmp_path)
    for line in first.stdout:
        if line.startswith('Step '):
            break
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=300)
    assert first.returncode == 0
    assert 'SIGINT: saving and ending.' in err
    stopped = rows(tmp_path)[-1]['step']
    assert stopped > 0
    (saved,) = (tmp_path / 'ckpt').iterdir()
    assert saved.name.startswith(f'{stopped:012d}-')

    second = start(tmp_path, '--run.steps', str(stopped + 100))
    out, err = second.communicate(timeout=300)
    assert second.returncode == 0, err
    assert 'Loaded checkpoint' in out
    table = rows(tmp_path)
    steps = [row['step'] for row in table]
    assert steps == sorted(set(steps)) and steps[-1] == stopped + 100
    # All steps are there: every window of the 2 workers but the first 8, the length of which is 9.
    assert column(table, 'replay/items')[stopped] == max(0, stopped - 16)
    assert column(table, 'replay/items')[stopped + 100] == stopped + 100 - 16


def test_environments_that_step_together(tmp_path):
    class Make:
        def __call__(self, index):
            return fakes.Count(length=5 + index % 1000, offset=10_000 * (index % 1000))

        def batch(self, indices):
            made.append(indices)
            return fakes.CountBatch([self(i) for i in indices])

    made, parts = [], runs.Parts(tmp_path, steps=40, envs=3, final_eval_eps=2)
    parts.make_env = Make()
    parts.train()
    assert made == [[0, 1, 2], [EVAL_INDEX, EVAL_INDEX + 1]]
    check_replay(parts, numbers(42, envs=3))
