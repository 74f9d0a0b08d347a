"""A record with a line that says nothing: who looks sees the rest and which line it is, who would go on is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.errors import CannotRun
from orchestrator.reporting.pictures import search_pictures
from orchestrator.selection.results import Results
from orchestrator.storage import event_log
from orchestrator.storage.event_log import Record, read_events
from orchestrator.storage.study_folder import StudyFolder

TIME = "2026-01-01T10:00:00.000+00:00"
START = {"trial": "a-000", "head": "a", "index": 0, "seed": 7, "params": {"lr": 0.01}}


def line(event: str, **told: Any) -> bytes:
    return json.dumps({"event": event, **told, "time": TIME}).encode()


SOUND = [
    line("start", **START),
    line("epoch", trial="a-000", epoch=1, objective=0.5, metrics={"time/train_s": 2.0}),
    line("end", trial="a-000", status="completed", reason=""),
]


@pytest.mark.parametrize(
    ("damaged", "wrong"),
    [
        (b"garbage", "Expecting value at line 1, column 1"),
        (b"\0" * 512, "Expecting value at line 1, column 1"),
        (b'{"event": "end"', "Expecting ',' delimiter at line 1, column 16"),
        (b"\xff\xfe{}", "byte 1 is no UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"event": "end", "trial": NaN}', "NaN is no number of JSON"),
        (b'{"event": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (b"[]", r"an event is an object, but this is \[\]"),
        (line("ending", trial="a-000"), "no event is called 'ending'; there are start, epoch"),
        (line("end", trial="a-000", status="completed"), "reason: Field required"),
        (line("end", trial="a-000", status="won", reason=""), "status: .* it is 'won'"),
        (line("epoch", trial="a-000", epoch="1", objective=0.5, metrics={}), "epoch: .* it is '1'"),
        (line("epoch", trial="a-000", epoch=2, objective=1.5, metrics={}), "objective: .* it is 1.5"),
        (SOUND[1].replace(b"0.5", b"1e999"), "objective: .* it is inf"),
        (SOUND[1].replace(b"2.0", b"1e999"), "metrics.time/train_s: .* it is inf"),
        (line("start", **START | {"trial": "../../a"}), "trial: .* it is '../../a'"),
        (line("start", **START | {"params": {"lr": [1]}}), r"params.lr.*: .* it is \[1\]"),
        (line("start", **START | {"seed": 8}), "a-000 has started before, as another"),
        (line("end", trial="b-000", status="completed", reason=""), "no line before it says that b-000 has started"),
        (line("asked", configurations=["b-000"], seeds=[1], racing=False), "the search has no result of a trial b-000"),
        (json.dumps({"event": "end", "trial": "a-000", "status": "completed", "reason": ""}).encode(), "time: Field"),
    ],
)
def test_a_damaged_line_in_the_middle_is_named_and_the_others_are_read(
    damaged: bytes, wrong: str, tmp_path: Path
) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_bytes(b"\n".join([*SOUND[:2], damaged, SOUND[2], b""]))
    record = Record(path, search={})
    assert [event["event"] for event in record.news()] == ["start", "epoch", "end"]
    assert record.trials["a-000"].status == "completed"
    (problem,) = record.damage
    assert problem.place == f"{path}:3"
    assert problem.value
    with pytest.raises(CannotRun, match=wrong):
        read_events(path, search={})


def test_lines_that_rest_on_a_damaged_one_are_named_with_it(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_bytes(b"\n".join([b"", SOUND[0][:-5], *SOUND[1:], b""]))
    record = Record(path)
    assert not [*record.news()]
    assert [problem.place for problem in record.damage] == [f"{path}:{number}" for number in (2, 3, 4)]


def test_an_end_with_a_result_rests_on_the_line_that_told_it(tmp_path: Path) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_bytes(b"\n".join([SOUND[0], b"garbage", SOUND[2], b""]))
    record = Record(path)
    assert [event["event"] for event in record.news()] == ["start"]
    assert [problem.value for problem in record.damage][1] == "no line before it says what a-000 has reached"


def test_a_line_that_is_too_long_is_never_held_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "MOST_BYTES", 1000)
    path = tmp_path / "trials.jsonl"
    path.write_bytes(b"\n".join([SOUND[0], b"x" * 5500, *SOUND[1:], b""]))
    record = Record(path)
    assert len([*record.news()]) == 3
    assert [problem.value for problem in record.damage] == ["it is longer than 1,000 bytes"]


@pytest.mark.parametrize("other", [b"", SOUND[0] + b"\n", b"\n".join([SOUND[0], SOUND[1][:-5] + b'9"}', b""]), None])
def test_a_record_that_was_put_in_the_place_of_the_one_that_was_read_is_named(
    other: bytes | None, tmp_path: Path
) -> None:
    path = tmp_path / "trials.jsonl"
    path.write_bytes(b"\n".join([*SOUND[:2], b""]))
    record = Record(path)
    record.catch_up()
    path.unlink()
    if other is not None:
        path.write_bytes(other)
    record.catch_up()
    with pytest.raises(CannotRun, match="what was read of it a moment ago is not there any more"):
        record.require_whole()


def test_a_folder_in_place_of_a_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match="Is a directory"):
        read_events(tmp_path)
    assert read_events(tmp_path / "absent") == []


def test_a_writer_refuses_what_could_not_be_read_again(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "study")
    with folder.writer() as writer, pytest.raises(ValueError, match="unreadable: no event is called 'ending'"):
        writer.append({"event": "ending", "trial": "a-000"})
    assert folder.events() == []


@pytest.fixture
def damaged(build_study: Callable[..., StudyFolder], tmp_path: Path) -> StudyFolder:
    """A confirmed study whose two records have each a line that says nothing."""
    folder = build_study(tmp_path, confirmed=(1, 2))
    for path in (folder.trials_file, folder.confirmation_file):
        lines = path.read_bytes().splitlines()
        path.write_bytes(b"\n".join([*lines[:8], b"garbage", *lines[8:], b""]))
    return folder


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["best"], ["inspect"], ["compare"]])
def test_whoever_looks_sees_the_rest_and_which_lines_are_damaged(
    words: list[str], damaged: StudyFolder, tmp_path: Path
) -> None:
    more = ["--figure", str(tmp_path / "figure.svg")] if words == ["compare"] else words[1:]
    shown = CliRunner().invoke(app, [words[0], str(damaged.root), *more])
    assert shown.exit_code == 1, shown.output
    assert "softmax" in shown.stdout
    assert "0.9" in shown.stdout
    for path in (damaged.trials_file, damaged.confirmation_file):
        assert f"{path}:9" in shown.stderr
    if "--json" in words:
        assert len(json.loads(shown.stdout)["damage"]) == 2
    assert not damaged.best.exists()  # what was written from the whole record is better


def test_pictures_of_a_search_rest_on_the_lines_that_are_left(damaged: StudyFolder) -> None:
    results = Results(damaged.root, damaged=True)
    assert [picture.name for picture in search_pictures.pictures(results)][:2] == ["accuracy", "progress"]
    assert results.damage


@pytest.mark.parametrize("verb", ["resume", "confirm", "test"])
def test_whoever_would_go_on_is_refused_before_anything_changes(verb: str, damaged: StudyFolder) -> None:
    before = {path: path.read_bytes() for path in damaged.root.iterdir() if path.is_file()}
    refused = CliRunner().invoke(app, [verb, str(damaged.root)])
    assert refused.exit_code == 4
    assert f"{damaged.trials_file}:9" in refused.stderr
    assert "put the file back" in refused.stderr
    assert {path: path.read_bytes() for path in damaged.root.iterdir() if path.is_file()} == before
