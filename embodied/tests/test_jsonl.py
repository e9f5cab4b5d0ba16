"""JSON lines: every line valid, steps strictly rise, nothing lost or doubled by faults."""

import json

import numpy as np
import pytest

from embodied.core.logs import jsonl


def rows(path):
    def refuse(name):
        raise AssertionError(name)

    return [json.loads(x, parse_constant=refuse) for x in path.read_text().splitlines()]


def scalars(step, **values):
    return tuple((step, k.replace('__', '/'), np.asarray(v)) for k, v in values.items())


def test_one_object_per_step(tmp_path):
    output = jsonl.JSONL(tmp_path / 'logs' / 'metrics.jsonl')
    output(scalars(10, a=1, b=2.5) + scalars(5, a=np.float32(0.5)))
    output(scalars(20, c=True) + ((20, 'text', 'hello'), (20, 'video', np.zeros((2, 4, 4, 3)))))
    assert rows(output.filename) == [
        {'step': 5, 'a': 0.5},
        {'step': 10, 'a': 1.0, 'b': 2.5},
        {'step': 20, 'c': 1.0},
    ]


def test_no_scalars_no_line(tmp_path):
    output = jsonl.JSONL(tmp_path / 'x.jsonl')
    output(((1, 'text', 'hello'),))
    assert not output.filename.exists()


def test_pattern(tmp_path):
    output = jsonl.JSONL(tmp_path / 'x.jsonl', '^episode/score$')
    output(scalars(1, episode__score=3, episode__scores=4, episode__length=5))
    output(scalars(2, episode__length=5))
    assert rows(output.filename) == [{'step': 1, 'episode/score': 3.0}]


def test_what_json_lacks_is_null(tmp_path):
    output = jsonl.JSONL(tmp_path / 'x.jsonl')
    output(scalars(1, a=np.nan, b=np.inf, c=-np.inf, d=1))
    assert rows(output.filename) == [{'step': 1, 'a': None, 'b': None, 'c': None, 'd': 1.0}]


def test_second_write_at_a_step_joins(tmp_path):
    path = tmp_path / 'x.jsonl'
    jsonl.JSONL(path)(scalars(1, a=1) + scalars(2, a=2))
    jsonl.JSONL(path)(scalars(2, b=3) + scalars(3, a=4))
    assert rows(path) == [{'step': 1, 'a': 1}, {'step': 2, 'a': 2, 'b': 3}, {'step': 3, 'a': 4}]


@pytest.mark.parametrize('torn', [b'{"step": 3, "a', b'{"step": 3}', b'\0\0\0\n', b'[]\n'])
def test_torn_end_is_cut(tmp_path, torn):
    path = tmp_path / 'x.jsonl'
    output = jsonl.JSONL(path)
    output(scalars(1, a=1))
    with path.open('ab') as f:
        f.write(torn)
    output(scalars(2, a=2))
    assert rows(path) == [{'step': 1, 'a': 1}, {'step': 2, 'a': 2}]


def test_only_torn(tmp_path):
    path = tmp_path / 'x.jsonl'
    path.write_bytes(b'{"st')
    jsonl.JSONL(path)(scalars(2, a=2))
    assert rows(path) == [{'step': 2, 'a': 2}]


def test_long_lines(tmp_path):
    path = tmp_path / 'x.jsonl'
    output = jsonl.JSONL(path)
    long = {f'name{i:05}': i for i in range(10000)}
    output(scalars(1, **long))
    output(scalars(2, **long))
    output(scalars(2, z=1))
    assert [x['step'] for x in rows(path)] == [1, 2]
    assert len(rows(path)[1]) == 10002


def test_failed_write_is_kept_for_the_next(tmp_path):
    path = tmp_path / 'x.jsonl'
    output = jsonl.JSONL(path, limit=2)
    path.mkdir()
    for step in (1, 2, 3):
        with pytest.raises(OSError):
            output(scalars(step, a=step))
    path.rmdir()
    output(scalars(4, a=4))
    assert rows(path) == [{'step': 3, 'a': 3}, {'step': 4, 'a': 4}]


def test_truncate(tmp_path):
    path = tmp_path / 'x.jsonl'
    jsonl.truncate(path, 10)
    assert not path.exists()
    output = jsonl.JSONL(path)
    for step in (5, 10, 15):
        output(scalars(step, a=step))
    path.write_bytes(path.read_bytes() + b'{"step": 2')
    jsonl.truncate(path, 10)
    assert [x['step'] for x in rows(path)] == [5, 10]
    output(scalars(12, a=1))
    assert [x['step'] for x in rows(path)] == [5, 10, 12]
    jsonl.truncate(path, 4)
    assert path.read_bytes() == b''


def test_read_leaves_out_what_is_torn(tmp_path):
    path = tmp_path / 'metrics.jsonl'
    path.write_text('{"step": 1, "a": 1.0}\nnonsense\n{"step": 2, "a": null}\n{"step": 3, "a"')
    assert jsonl.read(path) == [{'step': 1, 'a': 1.0}, {'step': 2, 'a': None}]
    # The first line of a tail may be a part of one.
    assert jsonl.read(path, tail=50) == [{'step': 2, 'a': None}]
    assert jsonl.read(path, tail=10_000) == jsonl.read(path)
