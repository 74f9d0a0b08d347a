"""One study, ended in one way at one stage after another, looked at each time, and let go on to its undisturbed end.

A stream that is broken from the start on ends nothing: its study goes through all stages at once.
"""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from orchestrator.storage.study_folder import StudyFolder
from tests.ends.program import Program, content, drain, start, wait_until
from tests.ends.ways import ENDS, STAGES, End, Stage

SENTENCE = re.compile(r"orchestrator\s+(resume|test|confirm)\s+\S")
REACHED_S = 400  # guards against hanging, beside a busy neighbour
ENDED_S = 100
GONE_S = 5


@dataclass
class Outcome:
    """What came of a cell. code, said_s and ended_s: of the ended program. wrong: what should have been otherwise."""

    end: str
    stage: str
    code: int | None = None
    said_s: float | None = None
    ended_s: float | None = None
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        """In a cell of the table."""
        said, ended = (f"{each:.1f}" if each is not None else "–" for each in (self.said_s, self.ended_s))
        seen = f"{self.code}" if ENDS[self.end].code is None else f"{self.code}, {said} s, {ended} s"
        return f"{'**wrong**' if self.wrong else 'right'} ({seen})"


@dataclass(frozen=True)
class Base:
    """The smallest study and what it comes to undisturbed. patience_s: until the sentence, and the end."""

    root: Path
    patience_s: float

    def undisturbed(self, verb: str) -> StudyFolder:
        return StudyFolder(self.root / {"launch": "launched", "test": "tested"}[verb] / "small")


def run(end: str, stages: list[str], base: Base, place: Path) -> list[Outcome]:
    """The cells of one end at some stages of one verb, each with what came of it."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    folder, verb = StudyFolder(place / "small"), STAGES[stages[0]].verb
    words: list[object] = ["launch", base.root / "small.yaml", "--results", place]
    if verb == "test":
        shutil.copytree(base.undisturbed("launch").root, folder.root)
        words = ["test", folder.root]
    outcomes = (_through if ENDS[end].code is None else _ended)(end, stages, words, folder, base)
    if differs := _differences(base.undisturbed(verb), folder):
        for outcome in outcomes:
            outcome.wrong.append(f"not as undisturbed: {', '.join(differs[:4])}")
    return outcomes


def _through(end: str, stages: list[str], words: list[object], folder: StudyFolder, base: Base) -> list[Outcome]:
    outcome = Outcome(end, stages[0])
    program = start(words, folder.root.parent / "0", ENDS[end].streams)
    try:
        ended = _wait_for_end(program)
        outcome.code = program.process.poll()
        if not ended or outcome.code != ENDS[end].exits:
            outcome.wrong.append(f"does not go on to its end: {program.said()[-300:]!r}" if ended else "hangs")
        _see_what_is_left(outcome, folder, program)
    finally:
        program.end()
    return [replace(outcome, stage=stage, wrong=[*outcome.wrong]) for stage in stages]


def _ended(end: str, stages: list[str], words: list[object], folder: StudyFolder, base: Base) -> list[Outcome]:
    outcomes = []
    for turn, stage in enumerate(stages):
        outcome, program = Outcome(end, stage), start(words, folder.root.parent / str(turn), ENDS[end].streams)
        try:
            _disturb(outcome, ENDS[end], STAGES[stage], folder, program, base.patience_s)
            _see_what_is_left(outcome, folder, program)
        finally:
            program.end()
        outcomes.append(outcome)
        told = SENTENCE.findall(program.said())
        words = [told[-1] if told else STAGES[stage].verb.replace("launch", "resume"), folder.root]
    program = start(words, folder.root.parent / "last")
    try:
        if not _wait_for_end(program) or program.process.returncode:
            said = f"{words[0]} exits with {program.process.poll()}: {program.said()[-300:]!r}"
            outcomes[-1].wrong.append(said)
    finally:
        program.end()
    return outcomes


def _wait_for_end(program: Program) -> bool:
    wait_until(lambda: program.process.poll() is not None, program, REACHED_S)
    return program.process.poll() is not None


def _disturb(
    outcome: Outcome, how: End, where: Stage, folder: StudyFolder, program: Program, patience_s: float
) -> None:
    if not wait_until(lambda: where.reached(folder, program), program, REACHED_S):
        outcome.wrong.append(f"the stage is not reached: {program.process.poll()}, {program.said()[-300:]!r}")
        return
    before = len(program.said())
    how.apply(program)
    _follow(outcome, program, before)
    if outcome.code != how.code:
        outcome.wrong.append(f"code {outcome.code}, not {how.code}")
    if how.says and (outcome.said_s is None or outcome.said_s > patience_s):
        outcome.wrong.append("no sentence" if outcome.said_s is None else "a late sentence")
    if outcome.ended_s is None or outcome.ended_s > patience_s:
        outcome.wrong.append("a late end")
    if "Traceback" in program.said():
        outcome.wrong.append("a traceback")


def _follow(outcome: Outcome, program: Program, before: int) -> None:
    """Until the program has ended. before: how much it had said before it was disturbed."""
    began = time.monotonic()
    while time.monotonic() < began + ENDED_S:
        outcome.code, passed_s = program.process.poll(), time.monotonic() - began
        drain(program)
        if outcome.said_s is None and SENTENCE.search(program.said()[before:]):
            outcome.said_s = passed_s
        if outcome.code is not None:
            outcome.ended_s = passed_s
            return
        time.sleep(0.05)


def _see_what_is_left(outcome: Outcome, folder: StudyFolder, program: Program) -> None:
    if left := program.left_after(GONE_S):
        names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in left if Path(f"/proc/{pid}").exists()}
        outcome.wrong.append(f"{len(left)} processes left: {', '.join(sorted(names))}")
    if scratch := [path.name for path in program.room.iterdir()]:
        outcome.wrong.append(f"scratch left: {scratch}")
    if folder.driver_file.exists():
        outcome.wrong.append("driver.json left")


def _differences(known: StudyFolder, folder: StudyFolder) -> list[str]:
    expected, found = content(known), content(folder)
    return [key for key in sorted(expected.keys() | found.keys()) if expected.get(key) != found.get(key)]
