"""Carries what another study found best over to a new one, as the configurations that its first trials take."""

from __future__ import annotations

from pathlib import Path

from orchestrator.errors import CannotRun, Problem
from orchestrator.selection.results import Results
from orchestrator.study.schema import Study
from search_spaces import transfer


def start_from(study: Study, folder: str | Path, num_classes: int) -> Study:
    """The study, with the best of every head that both have as the starting point of its search.

    Scales and margins are carried in normalised units (`search_spaces.transfer`), everything else as it is. Raises
    CannotRun where the other study has no result of any of these heads.
    """
    known = Results(folder)
    source, target = (known.num_classes, known.study.embedding_dim), (num_classes, study.embedding_dim)
    found = {
        head: transfer.carried(head, best.params, source, target)
        for head, best in known.best.items()
        if head in study.heads
    }
    if not found:
        rule, value = "a start needs the best of a head that this study searches too", ", ".join(known.best) or "none"
        raise CannotRun(
            [Problem(f"--start-from {folder}", rule, value, f"this study searches {', '.join(study.heads)}")]
        )
    search = study.search.model_copy(update={"start_at": {**found, **study.search.start_at}})
    return study.model_copy(update={"search": search})
