"""Progress: a moving line on a terminal, plain lines in a log, a time that is left."""

import io

import pytest

from embodied.core.logs import progress


class Stream(io.StringIO):
    def __init__(self, tty):
        super().__init__()
        self.tty = tty

    def isatty(self):
        return self.tty


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def make(tty, **kwargs):
    stream, clock = Stream(tty), Clock()
    return progress.Progress(stream=stream, clock=clock, **kwargs), stream, clock


def test_log_has_one_plain_line_each_interval():
    bar, stream, clock = make(False, total=1000, every=10)
    for step in range(0, 500, 10):
        bar.update(step, updates=step // 10)
        clock.now += 1
    bar.update(500, score=12.345)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert lines[0] == '100/1,000  10/s  10 updates  0:10 elapsed  ETA 1:30'
    assert lines[-1] == '500/1,000  10/s  49 updates  score 12.35  0:50 elapsed  ETA 0:50'
    assert '\r' not in stream.getvalue() and '\x1b' not in stream.getvalue()


def test_terminal_has_one_moving_line(monkeypatch):
    monkeypatch.setenv('COLUMNS', '100')
    bar, stream, clock = make(True, total=100)
    bar.update(0)
    clock.now += 1
    bar.update(50)
    parts = stream.getvalue().split('\r\x1b[K')[1:]
    assert parts[1].startswith('[########--------]  50%  50/100  50/s')
    assert '\n' not in stream.getvalue()
    bar.log('Saved.')
    assert stream.getvalue().endswith('\r\x1b[KSaved.\n\r\x1b[K' + parts[1])
    bar.close()
    assert stream.getvalue().endswith('\n')


def test_terminal_line_fits(monkeypatch):
    monkeypatch.setenv('COLUMNS', '30')
    bar, stream, _ = make(True, total=100)
    bar.update(50)
    assert len(stream.getvalue().removeprefix('\r\x1b[K')) == 29


def test_many_calls_draw_seldom():
    bar, stream, clock = make(True, total=100000)
    for step in range(10000):
        clock.now += 0.001
        bar.update(step)
    assert stream.getvalue().count('\r') <= 21


def test_speed_is_that_of_this_process():
    bar, stream, clock = make(False, total=2000, every=1)
    bar.update(1000)
    clock.now += 10
    bar.update(1100)
    assert stream.getvalue().splitlines()[-1].startswith('1,100/2,000  10/s')
    assert stream.getvalue().splitlines()[-1].endswith('ETA 1:30')


def test_duration_ends_it_too():
    bar, stream, clock = make(False, total=int(1e10), duration=100, every=1)
    bar.update(0)
    clock.now += 40
    bar.update(10)
    assert stream.getvalue() == '10 steps  0.25/s  0:40 elapsed  ETA 1:00\n'


def test_no_limit_has_no_eta():
    bar, stream, clock = make(False, every=1)
    bar.update(0)
    clock.now += 1
    bar.update(10)
    assert stream.getvalue().endswith('ETA -\n')


def test_never():
    bar, stream, clock = make(False, total=10, every=0)
    clock.now += 1000
    bar.update(5)
    assert stream.getvalue() == ''
    bar.close()
    assert stream.getvalue().startswith('5/10')


def test_broken_stream_does_not_end_the_run():
    bar, stream, _ = make(False)
    stream.write = lambda text: (_ for _ in ()).throw(BrokenPipeError())
    bar.log('hello')


@pytest.mark.parametrize(
    'seconds, text',
    [(0, '0:00'), (125, '2:05'), (3725, '1:02:05'), (86400 * 3 + 3600 * 4, '3d 4h')],
)
def test_clock_time(seconds, text):
    assert progress.clock_time(seconds) == text
