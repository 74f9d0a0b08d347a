"""What a finished study gets at its end: a wider study, its best models, its report. The record has all of it."""

from __future__ import annotations

from orchestrator.errors import Interrupted
from orchestrator.planning.plan import Plan
from orchestrator.reporting import report
from orchestrator.selection import boundary_optima
from orchestrator.selection.results import Results
from orchestrator.stages import best_models
from orchestrator.system import interruptions
from orchestrator.system.commands import ours
from orchestrator.trials.progress import Progress


def conclude(planned: Plan, results: Results, progress: Progress) -> None:
    """Keeps and measures the best models, and writes the report. The search is recorded: no failure here costs it."""
    try:
        boundary_optima.write_wider(results)
        best_models.examine(planned, results, progress.say)
        draw_report(results, progress)
    except Exception as error:
        if (cause := interruptions.of(error)) and cause.kind == "disk":
            raise Interrupted(cause.said) from error
        not_concluded(results, error, progress)


def draw_report(results: Results, progress: Progress) -> None:
    """Writes the report, and says that it takes a while."""
    progress.say("drawing the report")
    report.write(results)


def not_concluded(results: Results, error: Exception, progress: Progress) -> None:
    """Says that models or the report could not be made of what is recorded, and marks the results so."""
    results.concluded = False
    again = f"everything recorded is safe; {ours('resume', results.folder)} tries again"
    progress.say(f"the models or the report could not be made: {type(error).__name__}: {error}; {again}")
