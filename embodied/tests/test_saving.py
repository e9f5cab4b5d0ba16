"""Saves in the background: when they begin, what is told, and that none is forgotten."""

import errno

import pytest

from embodied.core import clock
from embodied.core.system import processes
from embodied.run import saving

FULL = OSError(errno.ENOSPC, 'No space left on device', 'ckpt/tmp/agent.safetensors')


class Made:
    """A saver with a checkpoint whose saves end when the test says so, and a clock of its own."""

    def __init__(self, every=100):
        self.time = 0
        self.step = 0
        self.begun = []
        self.lines = []
        self.future = None
        self.outcome = None  # Of a save that is waited for.
        now = lambda: self.time
        self.saver = saving.Saver(self, self.begin, every, self.lines.append, now)
        self.saver.due = clock.LocalClock(every, now=now)

    def begin(self):
        assert self.future is None
        self.begun.append(self.step)
        self.future = [self.step]

    @property
    def busy(self):
        return self.future is not None and len(self.future) == 1

    def end(self, outcome=None):
        """The save in progress ends, with an error or well."""
        self.future.append(outcome)

    def result(self):
        (step, *outcome), self.future = self.future, None
        if error := (outcome or [self.outcome])[0]:
            raise error
        return f'ckpt/{step}'

    def run(self, seconds):
        """Turns of a loop, one a second."""
        for _ in range(seconds):
            self.time += 1
            self.step += 1
            self.saver(self.step)


def test_begins_when_due_and_tells_when_it_is_over():
    made = Made()
    made.run(150)
    assert made.begun == [101] and not made.lines
    made.end()
    made.run(1)
    assert made.lines == ['Saved checkpoint: ckpt/101'] and made.saver.saved == 101
    made.run(100)
    assert made.begun == [101, 201]


def test_one_that_is_due_waits_for_the_one_in_progress():
    made = Made()
    made.run(350)
    assert made.begun == [101]
    made.end()
    made.run(1)
    assert made.begun == [101, 351]


def test_never_and_always():
    made = Made(every=0)
    made.run(1000)
    assert made.begun == []
    made = Made(every=-1)
    made.run(5)
    assert made.begun == [1, 2, 3, 4, 5] and len(made.lines) == 4


def test_failed_ones_are_tried_again_soon_and_then_less_often():
    made = Made(every=900)
    made.run(901)
    for wait in (10, 20, 40):
        made.end(FULL)
        made.run(wait)
        begun = len(made.begun)
        made.run(2)
        assert len(made.begun) == begun + 1
    made.end()
    made.run(1)
    told = f'Could not save, will try again: {FULL}'
    assert 'agent.safetensors' in told
    last = f'Saved checkpoint: ckpt/{made.begun[-1]}, after 3 that failed'
    assert made.lines == [told] * 3 + [last]
    made.run(800)
    assert len(made.begun) == 4


def test_what_cannot_even_begin_is_tried_again():
    made = Made()
    begin, made.saver.begin = made.saver.begin, lambda: (_ for _ in ()).throw(FULL)
    made.run(105)
    assert len(made.lines) == 1 and not made.begun
    made.saver.begin = begin
    made.run(10)
    assert len(made.begun) == 1


def test_the_end_waits_for_the_last_save():
    made = Made()
    made.run(120)
    made.saver.finish(made.step)
    assert made.begun == [101, 120] and made.saver.saved == 120
    assert len(made.lines) == 2
    made.saver.finish(made.step)
    assert made.begun == [101, 120]


def test_the_end_is_told_if_it_cannot_be_saved():
    made = Made()
    made.outcome = FULL
    with pytest.raises(processes.ProcessError, match=r'end of the run: .*No space left.*ckpt/tmp'):
        made.saver.finish(7)
    assert len(made.lines) == 1 and made.saver.saved is None


def test_other_errors_are_raised():
    made = Made()
    made.run(101)
    made.end(ValueError('Cannot save agent/x'))
    with pytest.raises(ValueError, match='agent/x'):
        made.run(1)


@pytest.mark.parametrize('kind, waits', [(None, 1), (RuntimeError, 1), (KeyboardInterrupt, 0)])
def test_an_error_of_the_run_does_not_cut_off_a_save(kind, waits):
    made = Made()
    made.run(101)
    made.saver.close(kind, None, None)
    assert len(made.lines) == waits
