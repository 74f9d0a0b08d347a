"""A study is ended again and again, each time in another way and at another stage, and comes to its undisturbed end.

`make ends` tries every way at every stage; here is one of each kind.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.storage.study_folder import StudyFolder
from tests.ends.program import STUDY, Program, content, start, wait_until
from tests.ends.ways import ENDS, STAGES

pytestmark = [pytest.mark.timeout(600), pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")]
DISTURBED = {"search": "raylet killed", "confirmation": "SIGTERM to every process", "report": "SIGTERM"}
PATIENCE_S = 200  # beside a busy neighbour


@dataclass(frozen=True)
class Ended:
    """A driver that was ended. scratch: what it used while it was at work."""

    code: int | None
    said: str
    left: list[int]
    scratch: Path


@dataclass(frozen=True)
class Studies:
    """One study twice. undisturbed: with nobody to read what it says. ends: of the other, by stage."""

    undisturbed: tuple[int | None, StudyFolder]
    disturbed: tuple[int | None, StudyFolder]
    ends: dict[str, Ended]


def end_of(program: Program) -> int | None:
    wait_until(lambda: program.process.poll() is not None, program, PATIENCE_S)
    code = program.process.poll()
    wait_until(lambda: not program.processes(), program, 10)
    return code


@pytest.fixture(scope="module")
def studies(small_mnist: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studies]:
    root, programs = tmp_path_factory.mktemp("ends"), list[Program]()
    (root / "small.yaml").write_text(STUDY.format(data=small_mnist))
    places = [root / name for name in ("undisturbed", "disturbed")]
    for place, streams in zip(places, ("stderr unread, stdout closed", ""), strict=True):
        words: list[object] = ["launch", root / "small.yaml", "--results", place]
        programs.append(start(words, place, streams))
    folder, ends, known = StudyFolder(places[1] / "small"), dict[str, Ended](), 0
    try:
        for stage, end in DISTURBED.items():
            program = programs[-1]
            wait_until(lambda stage=stage, program=program: STAGES[stage].reached(folder, program), program, PATIENCE_S)
            scratch = Path(json.loads(folder.driver_file.read_text())["scratch"])
            ENDS[end].apply(program)
            code = end_of(program)
            said = program.said()
            ends[stage] = Ended(code, said[known:], program.processes(), scratch)
            known = len(said)
            programs.append(start(["resume", folder.root], places[1]))
        resumed = end_of(programs[-1]), folder
        yield Studies((end_of(programs[0]), StudyFolder(places[0] / "small")), resumed, ends)
    finally:
        for program in programs:
            program.end()


def test_nobody_who_reads_ends_nothing(studies: Studies) -> None:
    code, folder = studies.undisturbed
    assert code == 0
    assert folder.report_file.exists()
    assert not list((folder.root.parent / "t").iterdir())  # its TMPDIR


@pytest.mark.parametrize("stage", DISTURBED)
def test_an_end_says_how_to_go_on_and_leaves_nothing(studies: Studies, stage: str) -> None:
    ended = studies.ends[stage]
    assert ended.code == ENDS[DISTURBED[stage]].code, ended.said
    assert "what is recorded is safe; go on with: orchestrator resume" in ended.said
    assert "Traceback" not in ended.said
    assert not ended.left
    assert not ended.scratch.exists()


def test_an_end_of_ray_is_told_from_one_that_was_asked_for(studies: Studies) -> None:
    assert "Ray has ended: its raylet was killed by SIGKILL" in studies.ends["search"].said
    assert "Ray has ended" not in studies.ends["confirmation"].said


def test_after_all_ends_the_study_is_as_it_would_have_been(studies: Studies) -> None:
    code, folder = studies.disturbed
    assert code == 0
    assert content(folder) == content(studies.undisturbed[1])
    assert not list((folder.root.parent / "t").iterdir())
