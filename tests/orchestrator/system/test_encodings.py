"""Files are UTF-8 whatever the locale says; a terminal that lacks a character gets one that it has."""

from __future__ import annotations

import ast
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestrator import printable
from orchestrator.cli import main
from orchestrator.reporting.progress_view import EventLines, LiveTable
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.system.commands import ours
from tests.orchestrator.test_imports import ROOT, SOURCES

LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
OPENS = {"open", "fdopen", "read_text", "write_text", "Popen", "run", "NamedTemporaryFile", "TextIOWrapper"}


def undecided(path: Path) -> Iterator[str]:
    """Calls that open text in whatever encoding the locale has."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = {each.arg: each.value for each in node.keywords}
        modes = [each.value for each in [*node.args, *given.values()] if isinstance(each, ast.Constant)]
        binary = any(isinstance(mode, str) and "b" in mode and len(mode) <= 3 for mode in modes)
        process = name in ("Popen", "run")
        numbered = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "os"  # os.open
        picture = isinstance(node.func, ast.Attribute) and getattr(node.func.value, "id", "") == "Image"
        if picture or (process and not given.keys() & {"text", "universal_newlines"}):
            continue
        if name in OPENS and not (binary or "encoding" in given or (numbered and name == "open")):
            yield f"{path}:{node.lineno}: {ast.unparse(node)}"


def test_every_text_is_opened_as_utf_8() -> None:
    assert [found for path in SOURCES for found in undecided(path)] == []


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "koi8-r"])
def test_every_character_has_one_that_the_terminal_has(encoding: str) -> None:
    text = "2 × 3 ≤ π – θ ± 1° … „é“ 数 \udcff →"
    said = text.encode(encoding, printable.HANDLER).decode(encoding)
    assert "\\u6570 \\udcff ->" in said
    if encoding == "ascii":
        assert said.startswith("2 x 3 <= pi - theta +- 1 deg ... ")


class Terminal(io.TextIOWrapper):
    """Keeps what is written to it in an encoding."""

    def __init__(self, encoding: str) -> None:
        super().__init__(io.BytesIO(), encoding=encoding)

    def said(self) -> str:
        self.flush()
        assert isinstance(self.buffer, io.BytesIO)
        return self.buffer.getvalue().decode(self.encoding)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, build_study: Callable[..., StudyFolder]) -> StudyFolder:
    """A confirmed study below a folder whose name no encoding but UTF-8 has."""
    parent = tmp_path_factory.mktemp("θ数") / "[bold]:smile:"
    return build_study(parent, confirmed=(1, 3), examined=False)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
@pytest.mark.parametrize("verb", ["--help", "doctor", "plan", "status", "best", "inspect", "resume", "embed", "json"])
def test_every_verb_prints_on_any_terminal(
    verb: str, encoding: str, finished: StudyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, nowhere = str(finished.root), str(finished.root / "nowhere…")
    words = {
        "--help": [],
        "plan": ["mnist_2d", "--results", folder],
        "doctor": ["--results", folder],
        "resume": [nowhere],
        "embed": [nowhere, "--data", nowhere],
        "json": ["inspect", folder, "--json"],
    }
    out, err = Terminal(encoding), Terminal(encoding)
    monkeypatch.setattr(sys, "argv", ["orchestrator", *([] if verb == "json" else [verb]), *words.get(verb, [folder])])
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    with pytest.raises(SystemExit):
        main()
    said = out.said() + err.said()
    assert said
    assert "Traceback" not in said
    if verb in ("inspect", "resume", "embed"):
        assert "[bold]:smile:" in said
    if verb == "json":
        json.loads(said)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
@pytest.mark.parametrize("shown", [EventLines, LiveTable])
def test_progress_is_said_as_it_is_written(
    shown: Callable[[], EventLines | LiveTable], encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = Terminal(encoding)
    monkeypatch.setattr(sys, "stderr", stream)
    progress, command = shown(), ours("resume", f"/{'long ' * 40}/[bold]:smile:[/bold]")
    progress.begin("θ [red]", {"arcface": 2}, {}, 3, 1)
    progress.say(f"warning: 2 × θ; {command}")
    progress.close()
    said = stream.said()
    assert ("2 × θ; " if encoding == "utf-8" else "2 x theta; ") + command in said
    assert ("θ [red]" if encoding == "utf-8" else "theta [red]") in said


def test_a_process_with_an_ascii_locale_reads_and_prints(finished: StudyFolder, tmp_path: Path) -> None:
    study = tmp_path / "tiny.yaml"
    study.write_text("name: tiny\ndescription: π – 数\nheads: {arcface: }\n", encoding="utf-8")
    program = "from orchestrator.cli import main; main()"
    environment = os.environ | LOCALE
    done = subprocess.run(
        [sys.executable, "-P", "-c", program, "plan", "tiny.yaml"], env=environment, cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert b"tiny: what is searched" in done.stdout
    assert done.stdout.isascii()
