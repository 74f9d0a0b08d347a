"""What a study is refused for."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import Problem, StudyError
from orchestrator.study.schema import Study

LONGEST_MESSAGE = 20_000


def refused(file: Path, *overrides: str) -> tuple[Problem, ...]:
    """All that is wrong with a study, told shortly."""
    with pytest.raises(StudyError) as caught:
        Study.load(file, overrides)
    assert overrides or caught.value.source == str(file)
    assert len(str(caught.value)) < LONGEST_MESSAGE
    return caught.value.problems
