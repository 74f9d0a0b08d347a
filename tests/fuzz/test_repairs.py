"""Every fix that a study's refusals offer holds: done as it says, the problem is gone."""

from __future__ import annotations

import json
from pathlib import Path

from orchestrator.errors import StudyError
from orchestrator.study.schema import Study
from tests.fuzz import repairs
from tests.orchestrator.study.test_odd_studies import REFUSED
from tests.orchestrator.study.test_refusals import WRONG


def found(path: Path, text: str) -> list[tuple[str, str, str]]:
    path.write_text(text, encoding="utf-8")
    try:
        Study.load(path)
    except StudyError as error:
        return [(problem.place, problem.rule, problem.fix) for problem in error.problems]
    return []


def test_doing_as_a_fix_says_removes_its_problem(tmp_path: Path) -> None:
    path, tried = tmp_path / "study.yaml", 0
    for text, *_ in (*WRONG, *REFUSED):
        content = repairs.parsed(text) if len(text) < 10_000 else None
        for place, rule, fix in found(path, text) if isinstance(content, dict) else ():
            for mended in repairs.repaired(content, place, rule, fix):
                left = found(path, json.dumps(mended))
                assert (place, rule) not in [problem[:2] for problem in left], f"{place}: {fix}\n{mended}"
                tried += 1
    assert tried > 80
