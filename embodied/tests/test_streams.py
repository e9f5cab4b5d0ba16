"""Streams: one contract for all, and nothing lost or doubled on the way."""

import gc
import json
import threading

import numpy as np
import pytest

from embodied.core import base, streams, trees


class Count(base.Stream):
    """Windows of consecutive numbers; it counts how often it was asked."""

    def __init__(self, length=7, start=0, live=False):
        self.length = length
        self.number = start
        self.live = live

    def __next__(self):
        row = np.arange(self.length) + 100 * self.number
        self.number += 1
        return {'x': np.stack([row, -row])}

    def save(self):
        return {'number': self.number}

    def load(self, data):
        self.number = data['number']


def double(batch, factor=2):
    batch['y'] = batch.pop('x') * factor
    return batch


def mixer(live):
    sources = {'a': Count(live=live), 'b': Count(start=50)}
    return streams.Mixer(sources, {'a': 1, 'b': 2}, seed=3)


MAKE = {
    'map': lambda live: streams.Map(Count(live=live), double, factor=3),
    'zip': lambda live: streams.Zip([Count(live=live), Count(start=9)]),
    'mixer': mixer,
    'consec': lambda live: streams.Consec(Count(live=live), 3, 2, prefix=1),
    'prefetch': lambda live: streams.Prefetch(Count(live=live), double, amount=2),
    'prefetch one': lambda live: streams.Prefetch(Count(live=live)),
    'prefetch none': lambda live: streams.Prefetch(Count(live=live), amount=0),
    'chain': lambda live: streams.Prefetch(
        streams.Consec(streams.Map(Count(live=live), dict), 2, 3, 1), double, amount=4
    ),
    'prefetch twice': lambda live: streams.Prefetch(
        streams.Prefetch(Count(live=live), amount=2), double, amount=3
    ),
}


@pytest.fixture(params=MAKE)
def name(request):
    return request.param


@pytest.fixture(params=[True, False], ids=['live', 'not live'])
def make(request, name):
    made = []

    def function():
        made.append(MAKE[name](request.param))
        return made[-1]

    yield function
    for stream in made:
        if hasattr(stream, 'close'):
            stream.close()


def take(stream, amount):
    return [plain(next(stream)) for _ in range(amount)]


def plain(batch):
    data, arrays = trees.split(batch)
    return json.dumps(data), {k: v.tolist() for k, v in arrays.items()}


@pytest.mark.parametrize('before', [0, 1, 2, 5])
def test_contract(make, before):
    """A saved position continues with exactly the batches that would have come."""
    stream = make()
    assert iter(stream) is stream
    whole = take(make(), before + 10)
    assert take(stream, before) == whole[:before]
    data, arrays = trees.split(stream.save())
    state = trees.join(json.loads(json.dumps(data)), arrays)
    assert take(stream, 10) == whole[before:]
    other = make()
    other.load(state)
    assert take(other, 10) == whole[before:]
    # Also in a stream that had gone elsewhere.
    stream.load(state)
    again, _ = trees.split(stream.save())
    assert again == data
    assert take(stream, 10) == whole[before:]


def test_stateless():
    numbers = iter(range(10))
    stream = streams.Stateless(lambda step, offset: next(numbers) * step + offset, 10, offset=1)
    assert [next(stream) for _ in range(3)] == [1, 11, 21]
    stream.load(stream.save())
    assert next(stream) == 31
    assert next(streams.Stateless(iter([5]))) == 5


def test_consec_cuts_with_prefix():
    stream = streams.Consec(Count(), 3, 2, prefix=1, contiguous=True)
    batches = [next(stream) for _ in range(4)]
    assert [x['x'][0].tolist() for x in batches[:2]] == [[0, 1, 2, 3], [3, 4, 5, 6]]
    assert batches[2]['x'][0, 0] == 100
    assert [x['consec'].tolist() for x in batches[:2]] == [[[0] * 4] * 2, [[1] * 4] * 2]
    assert all(x['x'].flags.c_contiguous and x['x'].flags.owndata for x in batches)


def test_consec_with_windows_that_do_not_fit():
    with pytest.raises(ValueError, match='x of the window has 8 steps, but 2 batches of length 3'):
        next(streams.Consec(Count(8), 3, 2, prefix=1))
    assert next(streams.Consec(Count(8), 3, 2, prefix=1, strict=False))['x'].shape == (2, 4)
    with pytest.raises(ValueError, match='has 6 steps'):
        next(streams.Consec(Count(6), 3, 2, prefix=1, strict=False))
    with pytest.raises(ValueError, match=r'length \(0\)'):
        streams.Consec(Count(), 0, 1)


def test_mixer_follows_the_weights():
    stream = streams.Mixer([Count(), Count(start=10**6)], [1, 3], seed=0)
    late = [next(stream)['x'][0, 0] >= 10**8 for _ in range(2000)]
    assert abs(np.mean(late) - 0.75) < 0.05
    with pytest.raises(ValueError, match='same names'):
        streams.Mixer({'a': Count()}, {'b': 1})
    with pytest.raises(ValueError, match='not all 0'):
        streams.Mixer([Count()], [0])


def test_live_sources_are_read_by_the_caller():
    """So what a replay gives depends on the number of batches only."""
    readers = []

    def read():
        readers.append(threading.current_thread())
        return {'x': np.zeros(2)}

    stream = streams.Prefetch(streams.Map(streams.Stateless(read), dict), double, amount=3)
    assert stream.live
    assert not readers
    next(stream)
    assert len(readers) == 4
    next(stream)
    assert readers == [threading.current_thread()] * 5
    stream.close()


def test_transform_runs_in_the_background():
    threads = []
    stream = streams.Prefetch(Count(live=True), lambda x: threads.append(threading.get_ident()))
    next(stream)
    next(stream)
    stream.close()
    assert set(threads) == {stream.thread.ident}


def test_bounded_number_of_batches_ahead():
    source = Count()
    stream = streams.Prefetch(source, amount=3)
    for _ in range(5):
        next(stream)
    stream.close()
    assert source.number == 8


@pytest.mark.parametrize('live', [True, False])
def test_error_comes_with_its_batch(live):
    class Failing(Count):
        def __next__(self):
            batch = super().__next__()
            if self.number == 3:
                raise RuntimeError('third')
            return batch

    stream = streams.Prefetch(Failing(live=live), double, amount=2)
    assert [next(stream)['y'][0, 0] for _ in range(2)] == [0, 200]
    with pytest.raises(RuntimeError, match='third'):
        next(stream)
    assert next(stream)['y'][0, 0] == 600
    stream.close()


def test_error_of_the_transform_and_end_of_the_source():
    stream = streams.Prefetch(streams.Stateless(iter([{'x': 1}, {}, {'x': 3}])), double)
    assert next(stream) == {'y': 2}
    with pytest.raises(KeyError, match='x'):
        next(stream)
    assert list(stream) == [{'y': 6}]
    stream.close()


def test_thread_ends_with_the_stream():
    closed, forgotten = streams.Prefetch(Count()), streams.Prefetch(Count())
    next(closed)
    next(forgotten)
    closed.close()
    closed.close()
    assert not closed.thread.is_alive()
    with pytest.raises(ValueError, match='closed'):
        next(closed)
    thread = forgotten.thread
    assert thread.daemon
    del forgotten
    gc.collect()
    thread.join(timeout=10)
    assert not thread.is_alive()
    with pytest.raises(ValueError, match='amount is -1'):
        streams.Prefetch(Count(), amount=-1)
