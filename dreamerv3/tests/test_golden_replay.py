"""Replay, streams, ratio and priorities against the recorded behaviour of the reference program."""

import collections

import elements
import numpy as np
import pytest

from dreamerv3.tests import recordings
from embodied.core import ratio, replay, selectors, streams

pytestmark = pytest.mark.golden


@pytest.fixture(params=recordings.paths('replay') or [None], ids=lambda x: x.stem if x else 'none')
def golden(request):
    if request.param is None:
        recordings.require('replay')
    return recordings.load_json(request.param)


@pytest.fixture
def counting_ids():
    """Ids of chunks count up from 1, as in the recordings."""
    elements.UUID.reset(debug=True)
    yield
    elements.UUID.reset(debug=False)


class Recorded:
    """A replay that is fed with the recorded script, and knows which step went where."""

    def __init__(self, golden, **kwargs):
        self.replay = replay.Replay(golden['length'], chunksize=golden['chunksize'], **kwargs)
        self.places = {}  # (chunk id, index) -> (worker, t)

    def add(self, step, **extra):
        before = {x.id: x.length for x in self.replay.chunks.values()}
        keys = ('is_first', 'is_last', 'is_terminal')
        values = {k: np.bool_(step[k]) for k in keys if k in step}
        self.replay.add({'reward': np.float32(step['reward']), **values, **extra}, step['worker'])
        for chunk in self.replay.chunks.values():
            if chunk.length > before.get(chunk.id, 0):
                self.places[int(chunk.id), chunk.length - 1] = [step['worker'], step['t']]

    def where(self, position):
        chunk = int(self.replay.serials[position >> 32].id)
        return self.places[chunk, position & 0xFFFFFFFF]

    def starts(self):
        return [self.where(x) for x in self.replay.items.values()]

    def waiting(self):
        streams = self.replay.streams.items()
        return {str(k): [self.where(x) for x in v.waiting] for k, v in streams}

    def lengths(self):
        return {str(int(x.id)): x.length for x in self.replay.chunks.values()}


@pytest.fixture
def recorded(golden, counting_ids):
    """A replay after the recorded script, checked against the log after every step."""
    made = Recorded(
        golden, capacity=golden['capacity'], online=golden['online'], seed=golden['seed']
    )
    queue = []
    for step, want in zip(golden['script'], golden['log'], strict=True):
        latent = {'latent': np.float32(-1)} if 'latent' in golden['sample_keys'] else {}
        queued = len(made.replay.queue)
        made.add(step, **latent)
        # Named when they come: the chunk of a queued window may be freed later.
        queue += [made.where(x) for x in list(made.replay.queue)[queued:]]
        assert [step['worker'], step['t']] == want['added']
        assert len(made.replay) == want['num_items']
        assert made.starts() == want['item_starts']
        assert queue == want['online_queue']
        assert made.waiting() == want['waiting']
        assert len(made.replay.chunks) == want['num_chunks']
        assert made.lengths() == want['chunk_lengths']
    return made


def test_log_and_starts(golden, recorded):
    assert sorted(recorded.starts()) == sorted(golden['possible_starts'])


def test_samples(golden, recorded):
    flags = ('is_first', 'is_last', 'is_terminal')
    for number, want in enumerate(golden['samples']):
        got = recorded.replay.sample(1)
        assert sorted(got) == sorted(golden['sample_keys']), number
        assert got['stepid'].dtype == np.uint8
        assert got['stepid'][0].tolist() == want['stepid'], number
        assert got['reward'][0].tolist() == want['reward'], number
        for key in flags:
            assert got[key][0].tolist() == want[key], (number, key)
        first = got['stepid'][0, 0]
        place = (int.from_bytes(first[:16], 'big'), int.from_bytes(first[16:], 'big'))
        assert recorded.places[place] == want['start'], number
    stats = recorded.replay.stats()
    for key, value in golden['stats'].items():
        assert stats[key] == value, key


def test_samples_in_one_batch(golden, recorded):
    got = recorded.replay.sample(len(golden['samples']))
    assert got['stepid'].tolist() == [x['stepid'] for x in golden['samples']]
    assert got['is_last'].tolist() == [x['is_last'] for x in golden['samples']]


def test_report_leaves_the_online_queue(golden, recorded):
    queued = list(recorded.replay.queue)
    got = recorded.replay.sample(2, mode='report')
    assert sorted(got) == sorted(golden['report_sample_keys'])
    assert list(recorded.replay.queue) == queued


def test_update(golden, recorded):
    rows, values = golden['update']['rows'], golden['update']['values']
    inverse = {tuple(v): k for k, v in recorded.places.items()}

    def stepid(place):
        chunk, index = inverse[tuple(place)]
        return list(chunk.to_bytes(16, 'big') + index.to_bytes(4, 'big'))

    ids = np.array([[stepid(x) for x in row] for row in rows], np.uint8)
    recorded.replay.update({'stepid': ids, 'latent': np.array(values, np.float32)})
    changed = []
    for chunk in recorded.replay.chunks.values():
        for index, value in enumerate(chunk.columns['latent'][: chunk.length].tolist()):
            if value != -1:
                changed.append([*recorded.places[int(chunk.id), index], value])
    assert sorted(changed) == sorted(golden['update']['changed'])


def test_uniform_selector(golden):
    selector = selectors.Uniform(golden['uniform_selector']['seed'])
    for operation, value in golden['uniform_selector']['ops']:
        if operation == 'insert':
            for key in value:
                selector[key] = []
        elif operation == 'delete':
            del selector[value]
        elif operation == 'keys':
            assert selector.keys == value
        elif operation == 'sample':
            assert [selector() for _ in value] == value
        else:
            raise AssertionError(f'unknown operation {operation}')


def test_consec(golden):
    settings = golden['consec']
    length = settings['source_length']
    starts = iter(range(0, 100 * len(settings['chunks']), 100))
    source = streams.Stateless(lambda: {'index': np.arange(length)[None] + next(starts)})
    stream = streams.Consec(source, settings['length'], settings['consec'], settings['prefix'])
    for want in settings['chunks']:
        got = next(stream)
        assert got['consec'].dtype == np.int32
        assert {k: v[0].tolist() for k, v in got.items()} == want


def test_save(golden, counting_ids, tmp_path):
    want = golden['save']
    keys = want['file_keys']
    made = Recorded(golden, directory=tmp_path, online=golden['online'])
    for step in golden['script']:
        made.add({k: v for k, v in step.items() if k in keys or k in ('worker', 't')})
    assert len(made.replay) == want['items_before']
    data = made.replay.save()
    names = [x.name for x in tmp_path.glob('*.npz')]
    assert len(names) == want['num_files']
    assert sorted(int(x.split('-')[-1].removesuffix('.npz')) for x in names) == want['lengths']
    with np.load(next(tmp_path.glob(f'*-{golden["chunksize"]}.npz'))) as file:
        assert {k: [str(file[k].dtype), list(file[k].shape)] for k in file} == keys
    # From the files alone, and from the files with the data of the save.
    for state in (None, data):
        other = replay.Replay(golden['length'], directory=tmp_path, chunksize=golden['chunksize'])
        other.load(state)
        assert len(other) == want['items_after']
        serials, positions = other.serials, other.items.values()
        rewards = [serials[x >> 32].columns['reward'][x & 0xFFFFFFFF] for x in positions]
        assert sorted(rewards) == want['reward_of_item_starts_after']


def test_train_ratio(golden):
    for value, calls in golden['train_ratio']['calls'].items():
        counter = ratio.Ratio(float(value))
        assert [[step, counter(step)] for step, _ in calls] == calls, value


def test_priority(golden):
    want = golden['priority']
    selector = selectors.Prioritized(want['exponent'], want['initial'], maxfrac=want['maxfrac'])
    for number, steps in enumerate(want['items']):
        selector[number] = steps
    selector.prioritize(list(want['prios']), list(want['prios'].values()))
    got = [selector.tree[number] for number in range(len(want['items']))]
    np.testing.assert_allclose(got, want['mass'], rtol=1e-12)
    counts = collections.Counter(selector() for _ in range(2000))
    share = want['mass'][0] / sum(want['mass'])
    assert abs(counts[0] / 2000 - share) < 5 * np.sqrt(share * (1 - share) / 2000)
