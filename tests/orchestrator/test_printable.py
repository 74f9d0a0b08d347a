"""What comes from files and servers, on a terminal: it is seen, it does nothing there, and it tells no password."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator.errors import CannotRun, Problem
from orchestrator.printable import discreet, visible
from orchestrator.reporting.progress_view import EventLines, LiveTable
from orchestrator.reporting.tables import console_on, empty_table
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.system.streams import Steadfast, Visible

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x7f\u202egnp\u2066\ud800"
SEEN = "\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\r\\x7f\\u202egnp\\u2066\\ud800"
LOOKS = """
import sys
from orchestrator.cli import main
folder = sys.argv[1]
for verb in (["status"], ["best"], ["inspect"], ["inspect", "--json"], ["confirm"]):
    sys.argv = ["orchestrator", *verb, folder]
    try:
        main()
    except SystemExit:
        pass
"""


def test_control_characters_are_seen_and_all_others_are_left() -> None:
    assert visible(EVIL) == SEEN
    kept = "é θ ± 日本\t“quoted”\n\u200d👍 C:\\new"
    assert visible(kept) == kept


FORGED = "lost\narcface-001 completed\n  fix    rm -rf ~"


def test_a_value_makes_no_line_of_a_table_or_of_a_problem() -> None:
    table, out = empty_table("", ("head",)), io.StringIO()
    table.add_row(FORGED)
    console_on(out).print(table, FORGED, width=200)
    assert not [line for line in out.getvalue().splitlines() if line.strip().startswith(("arcface-001", "fix"))]
    problem = Problem(FORGED, FORGED, FORGED, FORGED)
    refused = CannotRun([problem, problem], FORGED)
    assert [line[:9] for line in str(refused).splitlines()] == ["lost\\narc", "  rule   ", "  value  ", "  fix    "] * 2


@pytest.mark.parametrize("kind", [LiveTable, EventLines])
def test_a_message_makes_no_line_that_looks_like_another(
    kind: type[LiveTable | EventLines], capsys: pytest.CaptureFixture[str]
) -> None:
    kind().say(FORGED)
    first, *further = capsys.readouterr().err.splitlines()
    assert first.endswith("lost")
    assert further == ["    arcface-001 completed", "      fix    rm -rf ~"]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("https://me:secret@api.wandb.ai/x does not answer", "https://api.wandb.ai/x does not answer"),
        ("s3://KEY:secret@bucket/runs?region=x", "s3://bucket/runs?region=x"),
        ("http://token@host: http://a@b@c", "http://host: http://b@c"),
        ("abfs://box@lab.net/a abfss://box@lab.net", "abfs://box@lab.net/a abfss://box@lab.net"),
        ("abfs://lab:key@lab.net/box", "abfs://lab.net/box"),
        ("http://host/a@b, me@home.org, @ all", "http://host/a@b, me@home.org, @ all"),
    ],
)
def test_no_password_of_an_address_is_told(said: str, told: str) -> None:
    assert "secret" not in discreet(said)
    assert visible(said) == told


@pytest.mark.parametrize("stream", [Steadfast, Visible])
def test_whatever_is_printed_on_a_stream_is_made_visible(stream: Callable[[io.StringIO], io.StringIO]) -> None:
    text = io.StringIO()
    print(EVIL, "https://me:secret@host", file=stream(text))
    stream(text).writelines([EVIL])
    assert text.getvalue() == f"{SEEN} https://host\n{SEEN}"


def test_tables_keep_their_own_style_and_their_columns() -> None:
    text = io.StringIO()
    table = empty_table(f"title {EVIL}", ("name",), caption=EVIL)
    table.add_row(EVIL)
    console = console_on(Visible(text))  # type: ignore[arg-type]
    console._force_terminal, console.width = True, 100
    console.print(table, EVIL)
    assert text.getvalue().count("\\u202egnp") == 4
    assert not set(text.getvalue()) & set("\x07\x9b\r\x7f\u202e\u2066\ud800")
    rows = [line for line in text.getvalue().splitlines() if "│" in line or "┃" in line]
    assert len({len(line.replace("\x1b[1m", "").replace("\x1b[0m", "")) for line in rows}) == 1


@pytest.fixture
def evil_study(build_study: Callable[..., StudyFolder], tmp_path: Path) -> StudyFolder:
    """A finished study whose record has such things wherever someone could have put them."""
    folder = build_study(tmp_path)
    lines = []
    for line in folder.trials_file.read_text().splitlines():
        event = json.loads(line)
        if "reason" in event:
            event |= {"reason": f"failed {EVIL[:-1]}", "traceback": f"line {EVIL[:-1]}"}
        if "params" in event:
            event["params"] |= {f"key{EVIL[:-1]}": f"value{EVIL[:-1]}"}
        lines.append(json.dumps(event) + "\n")
    folder.trials_file.write_text("".join(lines))
    return folder


def test_no_verb_passes_on_what_a_record_has(evil_study: StudyFolder) -> None:
    """Neither to a pipe nor to a terminal, where the verbs' own style is left."""
    command = [sys.executable, "-P", "-c", LOOKS, str(evil_study.root)]
    piped = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=True).stdout
    for said in (piped, on_a_terminal(command)):
        assert b"failed \\x1b]0;owned" in said
        for evil in (b"\x1b]0;", b"\x1b[2J", b"\x07", "\u202e".encode(), "\x9b".encode()):
            assert evil not in said
    assert b"\x1b[" not in piped


def on_a_terminal(command: list[str]) -> bytes:
    """What a program writes to one."""
    reader, writer = pty.openpty()
    shown = b""
    with subprocess.Popen(command, stdout=writer, stderr=writer, env={**os.environ, "TERM": "xterm"}):
        os.close(writer)
        with suppress(OSError), open(reader, "rb", 0) as terminal:  # it is gone with the program
            while some := terminal.read(65536):
                shown += some
    return shown
