"""Printed commands: pasted into a shell, each names the folder that was meant, whatever that is called."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.cli import VERBS
from orchestrator.reporting import leaderboards, tables
from orchestrator.reporting.inspection import inspected
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.system.commands import ours, quoted, typed
from tests.orchestrator.test_imports import ROOT, SOURCES

PROGRAMS = rf"(orchestrator ({'|'.join(VERBS)})|wandb \w+|ray \w+( \w+)?)"
ODD = (
    """it's a "study"; $(touch fell) `touch fell` & > fell #!""",
    "two\nlines\tand \\n %s \x1b[2J 'quoted'",
    "-rf",
    "~root",
    "[bold]naïve:smile:[bold] 数 \udcff",
)


def in_a_shell(command: str, folder: Path, shell: str = "sh") -> list[str]:
    """The words that a program gets which is started by that line; the line's first word is replaced."""
    arguments = command.partition(" ")[2]
    done = subprocess.run([shell, "-c", f"printf '%s\\0' {arguments}"], cwd=folder, capture_output=True, check=True)
    assert not done.stderr
    return [word.decode(errors="surrogateescape") for word in done.stdout.split(b"\0")[:-1]]


@pytest.mark.parametrize("name", ODD)
def test_a_printed_command_names_the_folder_that_was_meant(name: str, tmp_path: Path) -> None:
    made = tmp_path / name
    made.mkdir()
    verb, place, option = in_a_shell(ours("resume", Path(name), "--again"), tmp_path)
    assert (verb, option) == ("resume", "--again")
    assert not place.startswith(("-", "~"))
    assert (tmp_path / place).samefile(made)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@settings(max_examples=10, deadline=None)
@given(words=st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1), min_size=20))
def test_any_words_come_back(words: list[str]) -> None:
    words = [f"{word.lstrip('-~')}." for word in words]  # $(…) drops newlines at an end; what a shell prints has none
    assert in_a_shell(typed("program", *words), Path("/")) == words


@pytest.mark.skipif(not shutil.which("bash"), reason="POSIX has had a word for it since 2024, and not every sh")
@pytest.mark.parametrize("name", ["ends with lines\n\n", "\n", "two\nlines\n", "it's\n"])
def test_a_newline_at_the_end_of_a_name_comes_back(name: str) -> None:
    command = typed("program", name)
    assert "\n" not in command
    assert in_a_shell(command, Path("/"), "bash") == [name]


def test_plain_names_stay_as_they_are() -> None:
    assert ours("status", "results/mnist-2d") == "orchestrator status results/mnist-2d"
    assert quoted("s3://bucket/runs?endpoint=http://127.0.0.1&x=1").startswith("'s3://")


def printed(folder: StudyFolder) -> Iterator[str]:
    """What is said of a study at its end, by status and by inspect."""
    results = Results(folder.root)
    yield from (line for line in [*leaderboards.ending(results), tables.state(results)] if isinstance(line, str))
    with inspected(str(folder)) as known:
        yield from known.links.values()


@pytest.mark.parametrize("ends", [None, {"arcface": [([0.5], "running")]}], ids=["finished", "interrupted"])
def test_what_a_study_says_can_be_pasted(
    ends: dict[str, list[tuple[list[float], str]]] | None, build_study: Callable[..., StudyFolder], tmp_path: Path
) -> None:
    parent = tmp_path / """it's a "study"; $(touch fell)"""
    folder = build_study(parent, ("arcface",), trials=ends, examined=False)
    commands = [
        found[0] for line in printed(folder) if (found := re.search(rf"{PROGRAMS} '[^(]*\(touch fell\)\S+", line))
    ]
    assert len(commands) >= 3
    for command in commands:
        assert in_a_shell(command, tmp_path)[1].startswith(str(folder.root)), command


def untouched(path: Path) -> Iterator[str]:
    """Texts in which a command goes on with something that has not been through `commands`."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            for before, after in zip(node.values, node.values[1:], strict=False):
                if isinstance(before, ast.Constant) and isinstance(after, ast.FormattedValue):
                    yield from re.findall(rf"{PROGRAMS}( --\S+)* $", str(before.value))


def test_no_command_is_put_together_by_hand() -> None:
    assert {str(path): found for path in SOURCES if (found := [*untouched(path)])} == {}
