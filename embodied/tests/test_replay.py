"""Replay: no step is lost or doubled, whatever threads, crashes and damaged files do."""

import collections
import contextlib
import os
import shutil
import threading

import numpy as np
import pytest

from embodied.core import checkpoint, replay, selectors
from embodied.core.buffer import windows as windowslib
from embodied.core.system import files, npz
from embodied.tests import faults


def make(directory=None, length=4, chunksize=5, **kwargs):
    return replay.Replay(length, directory=directory, chunksize=chunksize, **kwargs)


def step(worker, t):
    """A step that tells which one it is. Episodes have 7 steps, every second ends abruptly."""
    last = t % 14 == 13
    return {
        'image': np.full((2, 2, 1), t % 256, np.uint8),
        'worker': np.int32(worker),
        't': np.int32(t),
        'is_first': np.bool_(t % 7 == 0),
        'is_last': np.bool_(last),
        'latent': np.full(3, -1, np.float32),
    }


def fill(made, steps, workers=3, start=0):
    for t in range(start, start + steps):
        for worker in range(workers):
            made.add(step(worker, t), worker)


def check(batch):
    """Every window holds consecutive steps of one worker, with the right flags and content."""
    t = batch['t']
    assert (np.diff(t, axis=1) == 1).all()
    assert (batch['worker'] == batch['worker'][:, :1]).all()
    assert (batch['image'][..., 0, 0, 0] == t % 256).all()
    first = t % 7 == 0
    first[:, 0] = True
    last = t % 14 == 13
    last[:, :-1] |= first[:, 1:]
    assert (batch['is_first'] == first).all()
    assert (batch['is_last'] == last).all()


def windows(made):
    """Where all windows start, oldest first."""
    data = windowslib.gather(made, list(made.items.values()))
    return list(zip(data['worker'][:, 0].tolist(), data['t'][:, 0].tolist(), strict=True))


def snapshot(made):
    """Everything that decides what will be sampled from here on."""

    def place(position):
        return str(made.serials[position >> 32].id), position & 0xFFFFFFFF

    data = windowslib.gather(made, list(made.items.values()))
    return {
        'keys': list(made.items),
        'items': [place(x) for x in made.items.values()],
        'data': {k: v.tolist() for k, v in data.items()},
        'queue': [place(x) for x in made.queue if x >> 32 in made.serials],
        'streams': {
            k: (str(v.chunk.id), v.count, [place(x) for x in v.waiting])
            for k, v in made.streams.items()
        },
        'selector': repr(made.selector.save()),
    }


def same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)
        assert a[key].dtype == b[key].dtype


def lines(capsys, word='Skipped'):
    return [x for x in capsys.readouterr().out.splitlines() if word in x]


@pytest.mark.parametrize('length', [1, 2, 4, 13])
@pytest.mark.parametrize('chunksize', [1, 3, 64])
@pytest.mark.parametrize('capacity', [None, 20])
def test_all_windows_are_there_once(length, chunksize, capacity):
    made = make(None, length, chunksize, capacity=capacity)
    fill(made, 30, workers=2)
    starts = [(w, t) for t in range(30 - length + 1) for w in range(2)]
    assert windows(made) == starts[-(capacity or len(starts)) :]
    assert len(made) == len(windows(made))
    batch = made.sample(16)
    check(batch)
    assert batch['image'].shape == (16, length, 2, 2, 1)
    assert batch['stepid'].shape == (16, length, 20)


def test_memory_is_bounded_by_capacity():
    made = make(capacity=20)
    chunks = set()
    for t in range(0, 500, 10):
        fill(made, 10, workers=2, start=t)
        chunks.add(len(made.chunks))
        assert set(made.serials.values()) == set(made.chunks.values())
    assert max(chunks) <= 8


def test_online_queue_is_bounded_if_nobody_samples():
    made = make(online=True, length=2, capacity=4)
    fill(made, 5000, workers=1)
    assert len(made.queue) <= 1024


def test_samples_of_every_mode():
    made = make(online=True)
    fill(made, 9, workers=1)
    # Fresh windows first, in training only: starts 1 and 5.
    assert made.sample(1, 'eval')['t'].shape == (1, 4)
    assert [made.sample(1)['t'][0, 0] for _ in range(2)] == [1, 5]
    check(made.sample(8))


def test_sample_waits_for_another_thread():
    made = make()
    got = []
    started = threading.Event()

    def sample():
        started.set()
        got.append(made.sample(2))

    thread = threading.Thread(target=sample)
    thread.start()
    started.wait()
    fill(made, 4)
    thread.join()
    check(got[0])


def test_sample_that_could_never_come(tmp_path):
    made = make(tmp_path, name='eval', chunksize=1)
    made.add(step(0, 0))
    assert made.store.pool._threads
    with pytest.raises(ValueError, match='eval was asked for a sample but holds no window of 4'):
        made.sample(1)


def test_threads_add_sample_and_update_at_once(tmp_path):
    made = make(tmp_path, length=5, capacity=200, online=True)
    fill(made, 10, workers=1)
    errors = []

    def guarded(function):
        def run():
            try:
                for number in range(150):
                    function(number)
            except BaseException as e:
                errors.append(e)

        return threading.Thread(target=run)

    def sample(number):
        batch = made.sample(4)
        check(batch)
        made.update({'stepid': batch['stepid'], 'latent': np.ones((4, 5, 3), np.float32)})

    jobs = [guarded(lambda t, w=w: made.add(step(w, t), w)) for w in range(1, 4)]
    jobs += [guarded(sample), guarded(sample), guarded(lambda _: made.stats())]
    for thread in jobs:
        thread.start()
    for thread in jobs:
        thread.join()
    assert not errors
    assert len(made) == 200


def test_update_goes_to_the_right_steps():
    made = make(length=7, chunksize=3)
    fill(made, 20)
    batch = made.sample(10)
    # The last five steps of each window, as training does.
    ids = batch['stepid'][:, 2:]
    values = np.stack([batch['worker'], batch['t'], batch['t'] * 0], -1).astype(np.float32)
    made.update({'stepid': ids, 'latent': values[:, 2:]})
    touched = {(w, t) for w, t in values[:, 2:, :2].reshape(-1, 2).astype(int).tolist()}
    for other in (made.sample(50) for _ in range(3)):
        for row in range(50):
            for w, t, latent in zip(
                other['worker'][row], other['t'][row], other['latent'][row], strict=True
            ):
                want = [w, t, 0] if (w, t) in touched else [-1, -1, -1]
                assert latent.tolist() == want


def test_update_of_evicted_steps_is_ignored():
    made = make(capacity=8)
    fill(made, 8)
    batch = made.sample(4)
    fill(made, 20, start=8)
    made.update({'stepid': batch['stepid'], 'latent': np.full((4, 4, 3), 7, np.float32)})
    assert (made.sample(20)['latent'] == -1).all()


def test_priorities_reach_the_selector():
    made = make(selector=selectors.Prioritized(maxfrac=0.5, initial=1.0))
    fill(made, 12, workers=1)
    batch = made.sample(40)
    chosen = batch['t'] == 8
    made.update({'stepid': batch['stepid'], 'priority': chosen.astype(np.float32)})
    assert all((row == 8).any() for row in made.sample(20)['t'])


@pytest.mark.parametrize(
    'change, message',
    [
        (lambda x: x.pop('t'), r"missing \['t'\]"),
        (lambda x: x.update(other=np.float32(0)), r"unknown \['other'\]"),
        (lambda x: x.update(image=np.zeros((2, 3, 1), np.uint8)), r'image .* \(2, 3, 1\)'),
        (lambda x: x.update(t=np.float32(0.5)), 't of the step has type float32'),
        (lambda x: x.update(image=None), r'image .* shape \(\)'),
        (lambda x: x.update(image='text'), r'image .* shape \(\)'),
    ],
)
def test_step_that_does_not_fit(change, message):
    made = make()
    fill(made, 6)
    wrong = step(0, 6)
    change(wrong)
    for worker in (0, 'new'):
        with pytest.raises(ValueError, match=message):
            made.add(wrong, worker)
    fill(made, 6, start=6)
    check(made.sample(20))


def test_step_of_plain_numbers_and_log_keys():
    made = make(length=2)
    for t in range(4):
        made.add({'a': 0.5 * t, 'b': [t, t], 'log/score': 1.0, 'stepid': b'', 'is_first': not t})
    batch = made.sample(3)
    assert set(batch) == {'a', 'b', 'is_first', 'stepid'}
    assert (batch['b'][..., 0] == 2 * batch['a']).all()


def test_impossible_settings():
    with pytest.raises(ValueError, match=r'capacity \(3\) must not be smaller than length \(4\)'):
        make(capacity=3)
    with pytest.raises(ValueError, match=r'length \(0\)'):
        make(length=0)
    with pytest.raises(ValueError, match='a batch of 0'):
        make().sample(0)
    with pytest.raises(ValueError, match='text'):
        make().add({'text': np.array('hello')})


@pytest.mark.parametrize(
    'data, message',
    [
        ({'latent': np.zeros((2, 3, 3))}, r'shape \(2, 3, 3\), it must be \(2, 4, 3\)'),
        ({'nothing': np.zeros((2, 4))}, 'nothing of the update is not in the replay'),
        ({'t': np.zeros((2, 4))}, 't of the update has type float64, it must be int32'),
        ({'stepid': np.zeros((2, 20), np.uint8)}, r'stepid must be uint8 \(B, T, 20\)'),
    ],
)
def test_update_that_does_not_fit(data, message):
    made = make()
    fill(made, 6)
    with pytest.raises(ValueError, match=message):
        made.update({'stepid': made.sample(2)['stepid'], **data})


def test_stats_count_since_the_last_call():
    made = make()
    fill(made, 8)
    made.sample(4)
    stats = made.stats()
    assert stats['inserts'] == stats['items'] == 15
    assert stats['samples'] == 4
    assert stats['streams'] == 3
    assert stats['replay_ratio'] == 4 * 4 / 15
    assert made.stats()['inserts'] == 0


SELECTORS = {
    'uniform': lambda: selectors.Uniform(3),
    'fifo': selectors.Fifo,
    'recency': lambda: selectors.Recency(0.9 ** np.arange(50), seed=3),
    'prioritized': lambda: selectors.Prioritized(
        0.8, np.inf, zero_on_sample=True, maxfrac=0.5, seed=3
    ),
    'mixture': lambda: selectors.Mixture(
        {'a': selectors.Uniform(1), 'b': selectors.Prioritized(seed=2)}, {'a': 0.4, 'b': 0.6}, 3
    ),
}


@pytest.mark.parametrize('name', SELECTORS)
def test_resume_is_equal_to_going_on(tmp_path, name):
    def train(made, start, steps):
        batches = []
        for t in range(start, start + steps):
            fill(made, 1, workers=3, start=t)
            if len(made) >= 10:
                batch = made.sample(3)
                check(batch)
                made.update(
                    {
                        'stepid': batch['stepid'],
                        'latent': np.full((3, 4, 3), t, np.float32),
                        'priority': batch['t'] % 5,
                    }
                )
                batches.append(batch)
        return batches

    settings = dict(capacity=40, online=True)
    made = make(tmp_path / 'a', selector=SELECTORS[name](), **settings)
    train(made, 0, 30)
    saves = checkpoint.Checkpoint(tmp_path / 'ckpt', replay=made)
    saves.save()
    shutil.copytree(tmp_path / 'a', tmp_path / 'b')
    want = train(made, 30, 30)

    other = make(tmp_path / 'b', selector=SELECTORS[name](), **settings)
    checkpoint.Checkpoint(tmp_path / 'ckpt', replay=other).load()
    for x, y in zip(train(other, 30, 30), want, strict=True):
        same({k: v for k, v in x.items() if k != 'stepid'}, {k: y[k] for k in y if k != 'stepid'})


def test_load_without_data_takes_the_newest(tmp_path):
    made = make(tmp_path)
    fill(made, 40)
    made.save()
    other = make(tmp_path, capacity=30)
    other.load()
    assert len(other) == 30
    assert min(t for _, t in windows(other)) >= 20
    assert max(t for _, t in windows(other)) == 36
    check(other.sample(20))
    # Streams begin anew: windows do not join the old steps and the new ones.
    fill(other, 10, start=100)
    check(other.sample(100))
    few = make(tmp_path)
    few.load(amount=10)
    assert 10 <= len(few) <= 15


def test_load_from_another_directory_is_saved_in_its_own(tmp_path):
    made = make(tmp_path / 'a')
    fill(made, 20)
    made.save()
    before = sorted(os.listdir(tmp_path / 'a'))
    other = make(tmp_path / 'b', capacity=20)
    other.load(directory=tmp_path / 'a')
    fill(other, 20, start=50)
    data = other.save()
    other.committed()
    third = make(tmp_path / 'b', capacity=20)
    third.load(data)
    assert snapshot(third) == snapshot(other)
    assert sorted(os.listdir(tmp_path / 'a')) == before


def test_other_length_loads_the_steps(tmp_path):
    made = make(tmp_path, length=4)
    fill(made, 20)
    data = made.save()
    other = make(tmp_path, length=6)
    other.load(data)
    assert len(other) == 3 * 15
    check(other.sample(20))


def test_smaller_capacity_after_a_save(tmp_path):
    made = make(tmp_path, capacity=50)
    fill(made, 40)
    data = made.save()
    other = make(tmp_path, capacity=20)
    other.load(data)
    assert windows(other) == windows(made)[-20:]
    fill(other, 40, start=40)
    check(other.sample(20))
    assert len(other) == 20


def test_load_needs_an_empty_replay(tmp_path):
    made = make(tmp_path)
    fill(made, 10)
    data = made.save()
    with pytest.raises(ValueError, match='must be empty'):
        made.load(data)


def test_no_directory_has_nothing_to_save():
    made = make()
    fill(made, 10)
    assert made.save() is None
    made.committed()
    made.load(None)
    assert len(made) == 21


def test_files_of_the_published_program(tmp_path):
    """Compressed, and with a successor of which there is no file."""
    values = {k: np.stack([step(0, t)[k] for t in range(9)]) for k in step(0, 0)}
    values['stepid'] = np.zeros((9, 20), np.uint8)
    name = '20261120T180949F670815-0ue7UuII3igCSwP9JfnFKb-2gZL1richA7i1grpWRtO66-9.npz'
    np.savez_compressed(tmp_path / name, **values)
    made = make(tmp_path)
    made.load()
    assert windows(made) == [(0, t) for t in range(6)]
    assert str(next(iter(made.chunks.values())).id) == '0ue7UuII3igCSwP9JfnFKb'


def rewrite(path, change):
    columns = npz.read(path)
    change(columns)
    path.unlink()
    with open(path, 'wb') as file:
        np.savez(file, **columns)


DAMAGE = {
    'cut': lambda x: os.truncate(x, x.stat().st_size // 2),
    'empty': lambda x: os.truncate(x, 0),
    'flipped': lambda x: x.write_bytes(x.read_bytes()[:400] + b'\xff' + x.read_bytes()[401:]),
    'text': lambda x: x.write_text('hello'),
    'missing key': lambda x: rewrite(x, lambda c: c.pop('t')),
    'missing stepid': lambda x: rewrite(x, lambda c: c.pop('stepid')),
    'other type': lambda x: rewrite(x, lambda c: c.update(t=c['t'].astype(np.float64))),
    'other shape': lambda x: rewrite(x, lambda c: c.update(image=c['image'][:, :1])),
    'wrong length': lambda x: rewrite(x, lambda c: c.update(t=c['t'][1:])),
    'pickle': lambda x: rewrite(x, lambda c: c.update(t=np.array([{}] * 5, object))),
    'deleted': lambda x: x.unlink(),
    'folder': lambda x: (x.unlink(), x.mkdir()),
}


@pytest.mark.parametrize('with_data', [True, False])
@pytest.mark.parametrize('kind', DAMAGE)
def test_damaged_chunk_costs_that_chunk(tmp_path, kind, with_data, capsys):
    made = make(tmp_path)
    fill(made, 40, workers=1)
    data = made.save()
    path = sorted(tmp_path.glob('*.npz'))[3]
    DAMAGE[kind](path)
    other = make(tmp_path)
    other.load(data if with_data else None)
    # Steps 15 to 19, and the windows that reach into them.
    want = [(0, t) for t in range(37) if t <= 11 or t >= 20]
    assert windows(other) == want
    told = lines(capsys)
    if kind != 'deleted' or with_data:
        assert len(told) == 1
        assert path.name in told[0]
        assert path.exists() == (kind != 'deleted')
    else:
        assert not told
    fill(other, 10, workers=1, start=40)
    check(other.sample(100))
    if with_data:
        # The open stream goes on without a gap.
        assert windows(other)[-10:] == [(0, t) for t in range(37, 47)]
    other.save()
    other.committed()
    assert path.exists() == (kind != 'deleted')


@pytest.mark.parametrize('name', ['notes.txt', 'x.npz', '20261120T180949F670815-a-b.npz', 'a b-1'])
def test_foreign_files_are_named_and_left_alone(tmp_path, name, capsys):
    made = make(tmp_path)
    fill(made, 20)
    data = made.save()
    (tmp_path / name).write_text('hello')
    for state in (data, None):
        other = make(tmp_path)
        other.load(state)
        assert len(other) == len(made)
        told = lines(capsys)
        assert len(told) == 1
        assert name in told[0]
        assert (tmp_path / name).exists()


def test_odd_newest_chunk_does_not_decide(tmp_path, capsys):
    made = make(tmp_path)
    fill(made, 40, workers=1)
    made.save()
    rewrite(sorted(tmp_path.glob('*.npz'))[-1], lambda c: c.pop('t'))
    other = make(tmp_path)
    other.load()
    assert len(other) == 32
    assert len(lines(capsys)) == 1


def test_evicted_chunks_go_after_the_next_complete_save(tmp_path):
    made = make(tmp_path, capacity=20)
    fill(made, 20, workers=1)
    first = made.save()
    made.committed()
    named = {x for x, _ in first['chunks']}
    fill(made, 40, workers=1, start=20)
    assert named <= set(os.listdir(tmp_path))
    second = made.save()
    assert named <= set(os.listdir(tmp_path))
    made.committed()
    assert {x.name for x in tmp_path.glob('*.npz')} == {x for x, _ in second['chunks']}
    # On the long run the disk holds what the memory holds.
    for t in range(60, 600, 20):
        fill(made, 20, workers=1, start=t)
        data = made.save()
        made.committed()
    everything = [x for x in tmp_path.rglob('*') if x.is_file()]
    assert len(everything) == len(data['chunks']) == len(made.chunks) - 1


def test_updates_reach_the_disk_at_the_next_save(tmp_path):
    made = make(tmp_path, capacity=60)
    fill(made, 20)
    made.save()
    made.committed()
    contents = {x: x.read_bytes() for x in tmp_path.glob('*.npz')}
    for value in (1, 2, 3):
        batch = made.sample(6)
        made.update({'stepid': batch['stepid'], 'latent': np.full((6, 4, 3), value, np.float32)})
        data = made.save()
        made.committed()
        other = make(tmp_path, capacity=60)
        other.load(data)
        assert snapshot(other) == snapshot(made)
        newest = make(tmp_path, capacity=60)
        newest.load()
        assert sorted(windows(newest)) == sorted(windows(made))
        assert {x: x.read_bytes() for x in contents} == contents
    # One file for each chunk at most, and only for those that are there.
    assert len(list((tmp_path / 'values').iterdir())) <= len(made.chunks)
    fill(made, 100, start=20)
    data = made.save()
    made.committed()
    named = [x for _, x in data['chunks']]
    assert sorted(named) == sorted(x.name for x in (tmp_path / 'values').iterdir())
    # Chunks that were written since the first update are without what updates change.
    (path,) = tmp_path.glob(data['chunks'][-1][0])
    assert set(npz.read(path)) == {*step(0, 0), 'stepid'} - {'latent'}
    assert set(npz.read(tmp_path / 'values' / named[-1])) == {'latent'}


DAMAGED_VALUES = {
    **{k: v for k, v in DAMAGE.items() if k not in ('missing key', 'missing stepid')},
    'flipped': lambda x: x.write_bytes(x.read_bytes()[:150] + b'\xff' + x.read_bytes()[151:]),
    'missing key': lambda x: rewrite(x, lambda c: c.pop('latent')),
    'other key': lambda x: rewrite(x, lambda c: c.update(t=np.zeros(5, np.int32))),
    'other type': lambda x: rewrite(x, lambda c: c.update(latent=np.float64(c['latent']))),
    'other shape': lambda x: rewrite(x, lambda c: c.update(latent=c['latent'][:, :1])),
    'wrong length': lambda x: rewrite(x, lambda c: c.update(latent=c['latent'][1:])),
    'pickle': lambda x: rewrite(x, lambda c: c.update(latent=np.array([{}] * 5, object))),
}


@pytest.mark.parametrize('apart', [True, False])
@pytest.mark.parametrize('with_data', [True, False])
@pytest.mark.parametrize('kind', DAMAGED_VALUES)
def test_damaged_values_cost_those_only(tmp_path, kind, with_data, apart, capsys):
    made = make(tmp_path)
    fill(made, 4, workers=1)
    if apart:  # From the first update on, chunks are written without their values.
        made.update({'stepid': made.sample(1)['stepid'], 'latent': np.ones((1, 4, 3), np.float32)})
    fill(made, 6, workers=1, start=4)
    ids = np.concatenate([x.columns['stepid'] for x in made.chunks.values() if x.length])
    made.update({'stepid': ids[None, :10], 'latent': np.full((1, 10, 3), 5, np.float32)})
    fill(made, 30, workers=1, start=10)
    made.store.pool.shutdown()
    data = made.save()
    chunks = [x for x in made.chunks.values() if x.length]
    hurt = chunks[0 if apart else 1]
    (path,) = (tmp_path / 'values').glob(f'{hurt.id}-*')
    DAMAGED_VALUES[kind](path)
    other = make(tmp_path)
    other.load(data if with_data else None)
    assert sorted(windows(other)) == sorted(windows(made))
    told = lines(capsys)
    if kind == 'deleted' and not apart:
        assert not told  # The chunk itself has values, though older ones.
    else:
        assert len(told) == 1
        assert str(hurt.id) in told[0]
    first = np.where(np.arange(40) < 10, 5.0, -1)
    number = [int(x.columns['t'][0]) for x in chunks].index(int(hurt.columns['t'][0]))
    assert apart == ('latent' not in npz.read(tmp_path / hurt.filename))
    first[5 * number : 5 * number + 5] = 0 if apart else -1
    found = {
        int(t): value.tolist()
        for x in other.chunks.values()
        for t, value in zip(x.columns['t'][: x.length], x.columns['latent'], strict=False)
    }
    assert found == {t: [first[t]] * 3 for t in range(40)}
    # From the next save on everything is whole again.
    fill(other, 5, workers=1, start=40)
    data = other.save()
    other.committed()
    again = make(tmp_path)
    again.load(data)
    assert snapshot(again) == snapshot(other)
    if not path.is_dir():
        assert not lines(capsys)


def test_values_of_another_type_begin_anew(tmp_path, capsys):
    """As latents do where the compute type is another one."""
    made = make(tmp_path)
    fill(made, 12)
    batch = made.sample(6)
    made.update({'stepid': batch['stepid'], 'latent': np.full((6, 4, 3), 9, np.float32)})
    data = made.save()
    other = make(tmp_path)
    other.load(data)
    for t in range(12, 20):
        for worker in range(3):
            other.add({**step(worker, t), 'latent': np.full(3, 7, np.uint16)}, worker)
    (told,) = lines(capsys, 'begin anew')
    assert 'latent is uint16 (3,) now' in told
    batch = other.sample(100)
    check(batch)
    assert batch['latent'].dtype == np.uint16
    assert (batch['latent'] == np.where(batch['t'] < 12, 0, 7)[..., None]).all()
    data = other.save()
    third = make(tmp_path)
    third.load(data)
    assert snapshot(third) == snapshot(other)
    # Nothing else may change.
    with pytest.raises(ValueError, match='t of the step has type float32'):
        third.add({**step(0, 20), 't': np.float32(20)}, 0)


def test_older_saves_have_what_is_still_there(tmp_path, capsys):
    """Chunks that have left since are told in one line, and values may be newer."""
    made = make(tmp_path, capacity=20)
    fill(made, 30, workers=1)
    made.update({'stepid': made.sample(1)['stepid'], 'latent': np.ones((1, 4, 3), np.float32)})
    old = made.save()
    made.committed()
    fill(made, 12, workers=1, start=30)
    ids = windowslib.gather(made, list(made.items.values()))['stepid']
    made.update({'stepid': ids, 'latent': np.full((20, 4, 3), 2, np.float32)})
    made.save()
    made.committed()
    other = make(tmp_path, capacity=20)
    capsys.readouterr()
    other.load(old)
    assert windows(other) == [(0, t) for t in range(15, 27)]
    (told,) = lines(capsys)
    assert 'not there any more and 1 more chunks' in told
    check(other.sample(50))
    batch = other.sample(50)
    # Those of steps that had been updated by then; of the others there are the values of then.
    newer, same = (batch['t'] >= 19) & (batch['t'] < 25), batch['t'] >= 25
    assert (batch['latent'][newer] == 2).all() and (batch['latent'][same] == -1).all()


@pytest.mark.parametrize('workers', [1, 3, 16])
def test_disk_and_memory_follow_the_capacity(tmp_path, workers):
    made = make(tmp_path, capacity=640, chunksize=1024, workers=workers)
    sizes, steps = [], []
    for t in range(0, 3000 // workers, 20):
        fill(made, 20, workers, start=t)
        made.update({'stepid': made.sample(1)['stepid'], 'latent': np.ones((1, 4, 3), np.float32)})
        if t % 100 == 0:
            made.save()
            made.committed()
            names = [x.stem for x in tmp_path.glob('*.npz')]
            sizes.append(sum(int(x.split('-')[-1]) for x in names))
            steps.append(sum(x.length for x in made.chunks.values()))
            assert len(list((tmp_path / 'values').iterdir())) <= len(names)
            assert not list((tmp_path / 'unsaved').iterdir())
    assert len(made) == 640
    assert max(sizes) == max(steps) <= 1.2 * 640


@pytest.mark.parametrize('capacity', [None, 50, 10**6])
def test_capacity_in_gb(tmp_path, capacity):
    bytes_of_a_step = 4 + 4 + 4 + 1 + 1 + 12 + 20 + replay.ITEM_BYTES
    made = make(tmp_path, capacity=capacity, ram_gb=500.5 * 1.1 * bytes_of_a_step / 1e9, workers=2)
    fill(made, 400, workers=2)
    assert len(made) == min(500, capacity or 500)
    data = made.save()
    # After a restart with another limit, the newest stay.
    other = make(tmp_path, capacity=capacity, ram_gb=30.5 * 1.1 * bytes_of_a_step / 1e9)
    other.load(data)
    assert windows(other) == windows(made)[-30:]


def test_what_was_added_after_the_save_does_not_pile_up(tmp_path):
    made = make(tmp_path)
    fill(made, 20)
    data = made.save()
    made.committed()
    before = snapshot(made)
    for _ in range(3):
        # A run that goes on and is killed.
        lost = make(tmp_path)
        lost.load(data)
        assert snapshot(lost) == before
        fill(lost, 30, start=20)
        lost.store.pool.shutdown()
    last = make(tmp_path)
    last.load(data)
    assert len([x for x in tmp_path.rglob('*') if x.is_file()]) == len(data['chunks'])


def test_without_data_unsaved_chunks_count_too(tmp_path):
    made = make(tmp_path, save_wait=True)
    fill(made, 20, workers=1)
    other = make(tmp_path)
    other.load()
    assert windows(other) == windows(made)


def run_until(tmp_path, patch, at, mode):
    """Two saves with a fault in the last; the states that they took, and the faulty disk.

    Training goes on while the last one is written.
    """
    made = make(tmp_path / 'replay', capacity=10, online=True)
    saves = checkpoint.Checkpoint(tmp_path / 'ckpt', keep=1, replay=made)
    states = []
    fill(made, 9, workers=1)
    saves.save(0)
    # The save that has to survive has update files.
    stepid = made.sample(2)['stepid']
    made.update({'stepid': stepid, 'latent': np.full((2, 4, 3), 2, np.float32)})
    saves.save(1)
    states.append(snapshot(made))
    disk = faults.Disk(patch, at, mode)
    with contextlib.suppress(faults.Crash):
        train(made, start=9, steps=9, value=3)
        write = saves.cut(2)
        states.append(snapshot(made))
        train(made, start=18, steps=7, value=4)
        with contextlib.suppress(OSError):
            write()
        train(made, start=25, steps=3, value=5)
    made.store.pool.shutdown()
    return made, states, disk


def train(made, start, steps, value):
    batch = made.sample(4)
    made.update({'stepid': batch['stepid'], 'latent': np.full((4, 4, 3), value, np.float32)})
    fill(made, steps, workers=1, start=start)


@pytest.fixture
def no_fsync(monkeypatch):
    """A real flush only costs time where no machine crashes."""
    monkeypatch.setattr(files, 'fsync', lambda fd: None)


@pytest.mark.parametrize('mode', ['before', 'torn', 'after'])
def test_crash_at_every_operation(tmp_path, mode, no_fsync):
    with pytest.MonkeyPatch.context() as patch:
        total = run_until(tmp_path / 'count', patch, 0, mode)[2].count
    assert total > 40
    seen = collections.Counter()
    for at in range(1, total + 1):
        with pytest.MonkeyPatch.context() as patch:
            states = run_until(tmp_path / 'run', patch, at, mode)[1]
        other = make(tmp_path / 'run' / 'replay', capacity=10, online=True)
        saves = checkpoint.Checkpoint(tmp_path / 'run' / 'ckpt', keep=1, replay=other)
        assert saves.load()
        got = snapshot(other)
        current = next(n for n, x in enumerate(states) if got['keys'] == x['keys'])
        assert got == states[current], at
        seen[current] += 1
        if at % 4 == 0:
            saves.save(3)
        shutil.rmtree(tmp_path / 'run')
    assert seen[0] > 20
    assert seen[1] > 0


def test_full_disk_at_every_operation(tmp_path, no_fsync):
    with pytest.MonkeyPatch.context() as patch:
        total = run_until(tmp_path / 'count', patch, 0, 'full')[2].count
    for at in range(1, total + 1, 3):
        with pytest.MonkeyPatch.context() as patch:
            made, _, _ = run_until(tmp_path / 'run', patch, at, 'full')
        # There is room again: the same run saves, and not a step is missing.
        made.store.pool = type(made.store.pool)(2)
        checkpoint.Checkpoint(tmp_path / 'run' / 'ckpt', replay=made).save(3)
        other = make(tmp_path / 'run' / 'replay', capacity=10, online=True)
        assert checkpoint.Checkpoint(tmp_path / 'run' / 'ckpt', replay=other).load()
        assert snapshot(other) == snapshot(made)
        # Of the saves that failed nothing is left.
        kept = len(list((tmp_path / 'run' / 'replay').rglob('*.npz')))
        assert kept == 2 * (len(made.chunks) - 1)
        shutil.rmtree(tmp_path / 'run')


def test_failed_save_names_the_file(tmp_path, monkeypatch, capsys):
    made = make(tmp_path, save_wait=True)
    fill(made, 3, workers=1)
    with monkeypatch.context() as patch:
        faults.Disk(patch, 1, 'full')
        with pytest.raises(OSError, match='No space left') as error:
            made.save()
        assert error.value.filename.startswith(str(tmp_path))
        fill(made, 20, workers=1, start=3)
    assert all('No space left' in x for x in lines(capsys, 'Failed'))
    data = made.save()
    other = make(tmp_path)
    other.load(data)
    assert snapshot(other) == snapshot(made)


def test_leftovers_of_dead_writes_go(tmp_path):
    made = make(tmp_path)
    fill(made, 10)
    data = made.save()
    temp = tmp_path / (sorted(tmp_path.glob('*.npz'))[0].name + files.SUFFIX)
    temp.write_text('half')
    make(tmp_path).load(data)
    assert not temp.exists()
