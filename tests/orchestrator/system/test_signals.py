"""A signal asks while trials train and ends all else at once; whoever is ending, or under nohup, is not disturbed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from orchestrator.system.signals import NUMBERS, PATIENCE_S, StopSignals

GO_ON = "orchestrator resume results/small"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def safe() -> str:
    return f"what is recorded is safe; go on with: {GO_ON}"


def send(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", NUMBERS)
def test_while_trials_train_the_first_signal_asks(number: int) -> None:
    with StopSignals(safe) as signals, signals.gently():
        assert not signals.stop.is_set()
        send(number)
        assert signals.stop.is_set()
        assert signals.asked


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_timeout_and_slurm_may_ask_more_than_once(number: int) -> None:
    with StopSignals(safe) as signals, signals.gently():
        for _ in range(3):
            send(number)


def test_a_second_ctrl_c_ends_at_once_and_says_how_to_go_on() -> None:
    with StopSignals(safe) as signals, signals.gently():
        send(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt, match=f"what is recorded is safe; go on with: {GO_ON}"):
            send(signal.SIGINT)


def test_whoever_takes_too_long_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with StopSignals(safe) as signals, signals.gently():
        signals.end_if_late()  # nobody has asked
        send(signal.SIGTERM)
        signals.end_if_late()
        monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + PATIENCE_S)
        with pytest.raises(KeyboardInterrupt, match=f"go on with: {GO_ON}"):
            signals.end_if_late()


def test_where_a_stop_was_asked_for_otherwise_ctrl_c_is_still_the_first() -> None:
    with StopSignals(safe) as signals, signals.gently():
        signals.stop.set()  # time is up
        send(signal.SIGINT)
        assert signals.asked


@pytest.mark.parametrize("number", NUMBERS)
def test_all_else_is_ended_at_once_and_whoever_cleans_up_is_not_disturbed(number: int) -> None:
    with StopSignals(safe) as signals:
        with pytest.raises(KeyboardInterrupt, match="ended at once"):
            send(number)
        for other in NUMBERS:
            send(other)
        assert signals.stop.is_set()


def test_a_signal_that_came_too_late_for_the_trials_ends_what_comes_after_them() -> None:
    with StopSignals(safe) as signals:
        signals.end_if_asked()
        with signals.gently():
            send(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signals.end_if_asked()


def test_what_nohup_ignores_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with StopSignals(safe) as signals, signals.gently():
        send(signal.SIGHUP)
        signals.listen()
        send(signal.SIGHUP)
        assert not signals.stop.is_set()


def test_signals_that_someone_took_are_taken_back_and_at_last_given_back() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]
    with StopSignals(safe) as signals, signals.gently():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as Ray does
        signals.listen()
        send(signal.SIGTERM)
        assert signals.asked
    assert [signal.getsignal(number) for number in NUMBERS] == before


def test_one_that_a_host_program_took_before_python_began_stays_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    known, getsignal = signal.getsignal(signal.SIGTERM), signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda number: None if number == signal.SIGTERM else getsignal(number))
    with StopSignals(safe) as signals:
        signals.listen()
        assert getsignal(signal.SIGTERM) == known
        assert getsignal(signal.SIGHUP) == signals._request
    assert getsignal(signal.SIGTERM) == known


def test_in_a_servers_thread_none_is_heard() -> None:
    before = [signal.getsignal(number) for number in NUMBERS]

    def work() -> None:
        with StopSignals(safe) as signals:
            signals.listen()
            seen.extend(signal.getsignal(number) for number in NUMBERS)

    seen: list[object] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == before


def test_a_signal_while_a_program_ends_does_not_change_its_code() -> None:
    program = """
import atexit, os, signal
from orchestrator import cli
def app(): raise SystemExit(130)
cli.app = app
atexit.register(os.kill, os.getpid(), signal.SIGTERM)
cli.main()
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 130
