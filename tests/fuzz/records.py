"""Records that are broken: who looks is shown what is left and which lines are broken, who would go on is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.cluster.resources import Fleet, Node
from orchestrator.errors import CannotRun
from orchestrator.planning import plan
from orchestrator.reporting.dashboard import storage_of
from orchestrator.selection.replicates import ReplicationPlan, fresh_seeds, run_name
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from tests import made
from tests.fuzz import mutations
from tests.fuzz.child import Case

CASES = 2500
PAGE = ["dashboard"]  # what it would show; a report is drawn for seconds, and has tests of its own
VERBS = (["status"], ["status", "--json"], ["best"], ["best", "--json"], ["inspect"], ["inspect", "--json"], PAGE)
TIME = "2026-01-01T12:00:00.000+00:00"


def prepare(folder: Path) -> Case:
    """A finished study that was confirmed and tested, of which each case breaks one record, or two."""
    study = made.build(folder, confirmed=(2, 3))
    study.test_file.write_text("".join(json.dumps({**event, "time": TIME}) + "\n" for event in _tested(study)))
    whole = {path: path.read_bytes() for path in study.records().values()}

    def case(random: Random) -> str:
        for path, content in whole.items():
            path.write_bytes(content)
        for path in random.choice(([study.trials_file], [*whole][1:2], [*whole][2:], random.sample([*whole], 2))):
            path.write_bytes(broken(whole[path], random))
        shown = "in part" if _look(study, random.choice(VERBS)) else "whole"
        return f"shown {shown}, {_go_on(study)}"

    return case


def broken(content: bytes, random: Random) -> bytes:
    """A record with lines that are other than they were."""
    how: Callable[[bytes, Random], bytes] = random.choice((mutations.of_bytes, _with_odd_values, _with_odd_lines))
    return how(content, random)


def _with_odd_values(content: bytes, random: Random) -> bytes:
    lines = content.splitlines()
    for number in random.sample(range(len(lines)), random.choice((1, 1, 3))):
        lines[number] = mutations.written(mutations.of_json(json.loads(lines[number]), random))
    return b"\n".join(lines) + b"\n"


def _with_odd_lines(content: bytes, random: Random) -> bytes:
    """Lines that are missing, come twice or elsewhere, or never were events."""
    lines = content.splitlines()
    for _ in range(random.choice((1, 1, 3))):
        number = random.randrange(len(lines))
        odd: Any = [b"{}", b"null", b"[" * 3000, b"\0" * 512, b'{"event": 1e999}', b"x" * 2**25, b"", b"\xff\xfe"]
        odd += [b'{"event": "ending", "trial": "softmax-000"}', b'{"event": "end", "trial": "nobody-000"}']
        line = random.choice([lines[number], lines[random.randrange(len(lines))], random.choice(odd)])
        place = random.randrange(len(lines))
        lines[place : place + random.choice((0, 1))] = [line] * random.choice((0, 1, 2))
        if not lines:
            return b""
    return b"\n".join(lines) + b"\n"


def _look(study: StudyFolder, words: list[str]) -> int:
    """What the exit code of a verb that looks is; whatever else than a code it ends with is raised."""
    if words == PAGE:
        known = Results(study.root, damaged=True)
        storage_of(known)
        return int(bool(known.damage))
    done = CliRunner().invoke(app, [words[0], str(study.root), *words[1:]], catch_exceptions=False)
    if done.exit_code not in (0, 1):
        raise AssertionError(f"{words} refuses to show anything: {done.output}")
    if done.exit_code == 1 and not any(f"{path}" in done.stderr for path in study.records().values()):
        assert words[0] == "best", done.output
        assert "no trial of" in done.stderr, done.output
    return done.exit_code


def _go_on(study: StudyFolder) -> str:
    """Whether the verbs that write would begin: not where anything is damaged."""
    known = Results(study.root, damaged=True)
    try:
        plan.again(Results(study.root), Fleet((Node(2, memory_bytes=8 * 10**9),)))
    except CannotRun as error:
        places = {problem.place for problem in error.problems}
        if known.damage:
            assert any(str(study.root) in place for place in places), places
            return "refused"
    assert not known.damage
    return "goes on"


def _tested(study: StudyFolder) -> list[dict[str, Any]]:
    """What a record of a test says in which each head's best was trained and measured twice."""
    known = Results(study.root)
    asked = ReplicationPlan(
        tuple(best.name for best in known.best.values()), tuple(fresh_seeds(known.study, "final", 2))
    )
    code = {"git": {"commit": "0" * 40, "changed": False}, "orchestrator": "0.1.0"}
    events, measured = [asked.event()], [{"event": "opened", "number": 1, "by": "test", "forced": False, **code}]
    for number, seed in enumerate(asked.seeds, start=1):
        for best in known.best.values():
            run = {"trial": run_name(best.name, "final", number)}
            told = {"head": best.head, "index": number, "seed": seed, "params": best.params}
            events.append({"event": "start", **run, **told})
            events.append({"event": "epoch", **run, "epoch": 1, "objective": 0.9, "metrics": {"val/separation": 1.5}})
            events.append({"event": "end", **run, "status": "completed", "reason": ""})
            found = {"images": 500, "measures": {"cluster_accuracy": 0.8 + number / 100, "separation_ratio": 2.0}}
            measured.append({"event": "measured", "opening": 1, "run": run["trial"], **found})
    return events + measured
