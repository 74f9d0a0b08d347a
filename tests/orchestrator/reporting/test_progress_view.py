"""What a search says while it runs: one line an event in a pipe, a table on a terminal, and how long is left."""

from __future__ import annotations

import re
import sys
import time

import pytest

from orchestrator.reporting import progress_view
from orchestrator.reporting.progress_view import EventLines, LiveTable, Silent, for_this_terminal
from orchestrator.storage.event_log import Trial

HEADS = {"arcface": 2, "softmax": 2}


class Clock:
    """A time that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    strftime = staticmethod(time.strftime)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_view, "time", clock)
    return clock


def trial(name: str, epochs: int, status: str = "running", reason: str = "") -> Trial:
    rows = [{"epoch": epoch, "objective": 0.5} for epoch in range(1, epochs + 1)]
    head, _, index = name.partition("-")
    return Trial(name, head, int(index), 0, {"lr": 0.01234, "mining": "semi_hard"}, status, reason, rows)  # type: ignore[arg-type]


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What was said on stderr, without the time of day that each line begins with."""
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d \S", line) for line in lines)
    return [line[9:] for line in lines]


def test_every_event_is_one_line(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    shown, trials = EventLines(), dict[str, Trial]()
    shown.begin("small", HEADS, trials, epochs=3, slots=2)
    known = trials["arcface-000"] = trial("arcface-000", 0)
    shown.started(known)
    clock.now += 10
    known.epochs.append({"epoch": 1, "objective": 0.98765})
    shown.epoch(known, known.epochs[-1])
    known.status, known.reason = "diverged", "the loss became nan"
    shown.ended(known)
    shown.close()
    assert lines_of(capsys) == [
        "small: 4 trials of 2 heads, 2 at a time",
        "arcface-000 starts: lr 0.0123, mining semi_hard",
        "arcface-000 epoch 1/3: 0.9877",
        "arcface-000 diverged: the loss became nan (1/4 trials; 10 s so far, about 30 s left)",
    ]


def test_a_resumed_search_says_what_it_knows_and_what_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    trials = {"arcface-000": trial("arcface-000", 3, "completed"), "softmax-000": trial("softmax-000", 1)}
    shown = EventLines()
    shown.begin("small", HEADS, trials, epochs=3, slots=1)
    shown.started(trials["softmax-000"])
    assert lines_of(capsys) == [
        "small: 4 trials of 2 heads, 1 at a time, 2 known",
        "softmax-000 goes on: lr 0.0123, mining semi_hard",
    ]


def test_what_is_said_may_hold_brackets(capsys: pytest.CaptureFixture[str]) -> None:
    """As paths and errors do; Rich would read [/tmp] as the end of a style."""
    shown = EventLines()
    shown.begin("small", HEADS, {}, epochs=3, slots=1)
    shown.say("warning: no room in [/tmp]")
    assert lines_of(capsys)[-1] == "warning: no room in [/tmp]"
    live = LiveTable()
    live.begin("small", HEADS, {}, epochs=3, slots=1)
    try:
        live.say("warning: no room in [/tmp]")
    finally:
        live.close()
    assert "warning: no room in [/tmp]" in capsys.readouterr().err


def test_the_time_left_is_known_after_the_first_epoch(clock: Clock) -> None:
    shown, trials = Silent(), {"arcface-000": trial("arcface-000", 0)}
    shown.begin("small", {"arcface": 2}, trials, epochs=4, slots=1)
    assert shown.left() == "time left: known after the first epochs"
    clock.now += 60
    trials["arcface-000"].epochs.append({"epoch": 1, "objective": 0.5})
    # one of eight epochs in a minute: three of this trial and four of the next one are left
    assert shown.left() == "1 min 00 s so far, about 7 min 00 s left"


def test_the_time_left_learns_how_early_trials_are_stopped(clock: Clock) -> None:
    trials = dict[str, Trial]()
    shown = Silent()
    shown.begin("small", {"arcface": 4}, trials, epochs=10, slots=1)
    clock.now += 100
    trials["arcface-000"] = trial("arcface-000", 2, "stopped")
    trials["arcface-001"] = trial("arcface-001", 2, "stopped")
    assert shown.left() == "1 min 40 s so far, about 1 min 40 s left"


def test_epochs_of_an_earlier_attempt_took_no_time_now(clock: Clock) -> None:
    trials = {"arcface-000": trial("arcface-000", 4, "completed"), "arcface-001": trial("arcface-001", 2)}
    shown = Silent()
    shown.begin("small", {"arcface": 2}, trials, epochs=4, slots=1)
    assert shown.left() == "time left: known after the first epochs"
    clock.now += 30
    trials["arcface-001"].epochs.append({"epoch": 3, "objective": 0.5})
    assert shown.left() == "30 s so far, about 30 s left"


def test_a_search_that_is_over_has_no_time_left(clock: Clock) -> None:
    trials = dict[str, Trial]()
    shown = Silent()
    shown.begin("small", {"arcface": 1}, trials, epochs=1, slots=1)
    clock.now += 5
    trials["arcface-000"] = trial("arcface-000", 1, "completed")
    assert shown.left() == "5 s in all"


def test_the_live_table_shows_the_search(capsys: pytest.CaptureFixture[str]) -> None:
    trials = {"arcface-000": trial("arcface-000", 1, "completed")}
    live = LiveTable()
    live.begin("small", HEADS, trials, epochs=3, slots=2)
    live.started(trials["arcface-000"])
    live.ended(trials["arcface-000"])
    live.close()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "small: 2 trials at a time" in captured.err
    assert "arcface" in captured.err


@pytest.mark.parametrize(("terminal", "kind"), [(True, LiveTable), (False, EventLines)])
def test_a_terminal_gets_the_table_and_a_pipe_the_lines(
    monkeypatch: pytest.MonkeyPatch, terminal: bool, kind: type[Silent]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert type(for_this_terminal()) is kind
