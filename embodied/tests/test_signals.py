"""Signals become a wish to stop."""

import signal
import threading

import pytest

from embodied.core.system import signals


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_first_signal_only_sets_it(number, capfd):
    before = signal.getsignal(number)
    with signals.Stop() as stop:
        assert not stop and stop.reason is None
        signal.raise_signal(number)
        assert stop
        assert stop.reason == number.name
    assert signal.getsignal(number) is before
    assert capfd.readouterr().err.count(number.name) == 1


@pytest.mark.parametrize('first', [signal.SIGINT, signal.SIGTERM])
def test_second_interrupt_ends_at_once(first):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), signals.Stop():
        signal.raise_signal(first)
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_further_terminations_change_nothing(capfd):
    with signals.Stop() as stop:
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
        assert stop.reason == 'SIGTERM'
    assert capfd.readouterr().err.count('\n') == 2


def test_no_terminal_to_tell(monkeypatch):
    def write(fd, data):
        raise OSError('gone')

    monkeypatch.setattr(signals.os, 'write', write)
    with signals.Stop() as stop:
        signal.raise_signal(signal.SIGTERM)
        assert stop


def test_outside_of_the_main_thread():
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work():
        with signals.Stop() as stop:
            seen.append((bool(stop), signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]
