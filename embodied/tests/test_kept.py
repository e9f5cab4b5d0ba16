"""Outputs that keep what they could not write."""

import numpy as np
import pytest

from embodied.core.logs import kept


class Output(kept.Kept):
    """Writes to a list, unless it is broken at a step."""

    def __init__(self, each=True, **kwargs):
        super().__init__(**kwargs)
        self.each = each
        self.written = []
        self.broken = None
        self.ended = 0

    def open(self):
        if self.broken == 'open':
            raise OSError('cannot be opened')

    def write(self, step, values):
        if self.broken == step:
            raise OSError(f'cannot write {step}')
        self.written.append((step, values))

    def end(self):
        self.ended += 1

    def abort(self):
        raise OSError('cannot be closed')


def test_steps_are_written_in_order():
    output = Output()
    output([(1, 'a', 1), (1, 'b', 2), (2, 'a', 3)])
    output([(2, 'b', 4)])
    assert output.written == [(1, {'a': 1, 'b': 2}), (2, {'a': 3}), (2, {'b': 4})]
    output(())
    assert len(output.written) == 3


@pytest.mark.parametrize('each', [True, False])
def test_what_failed_is_tried_again(each):
    output = Output(each)
    output.broken = 2
    with pytest.raises(OSError, match='cannot write 2'):
        output([(1, 'a', 1), (2, 'a', 2)])
    output.broken = 'open'
    with pytest.raises(OSError):
        output([(3, 'a', 3)])
    output.broken = None
    output([(4, 'a', 4)])
    steps = [step for step, _ in output.written]
    # Without a flush, nobody knows what of the first attempt arrived.
    assert steps == ([1, 2, 3, 4] if each else [1, 1, 2, 3, 4])
    assert output.waiting == []


def test_pauses_grow():
    now = [0.0]
    output = Output(pause=10, longest=30, clock=lambda: now[0])
    output.broken = 'open'
    failed = []
    for second in range(0, 101, 5):
        now[0] = second
        try:
            output([(second, 'a', second)])
        except OSError:
            failed.append(second)
    assert failed == [0, 10, 30, 60, 90]
    output.broken = None
    # The end does not wait.
    output.close()
    assert [step for step, _ in output.written] == [*range(0, 101, 5)]
    assert output.ended == 1


def test_end_comes_after_a_failure():
    output = Output()
    output.broken = 'open'
    with pytest.raises(OSError):
        output([(1, 'a', 1)])
    with pytest.raises(OSError):
        output.close()
    assert output.ended == 1


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(kept, 'LIMIT', 10)
    monkeypatch.setattr(kept, 'MEDIA', 2)
    output = Output(pause=1e9)
    output.broken = 'open'
    with pytest.raises(OSError):
        output([(0, 'a', 0)])
    for step in range(1, 50):
        output([(step, 'a', step), (step, 'image', np.zeros((2, 2, 3)))])
    assert [step for step, name, _ in output.waiting if name == 'image'] == [48, 49]
    assert len(output.waiting) == 10
