"""What `--json` prints of a study: the leaderboard, how sure it is, and what the sealed test said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.selection import ranking
from orchestrator.selection.confirmation import Candidate
from orchestrator.selection.sealed_results import Sealed
from orchestrator.selection.statistics import MeanEstimate

if TYPE_CHECKING:
    from orchestrator.selection.results import Results


def of(results: Results) -> dict[str, Any]:
    """Everything that a script would want to know."""
    return {
        "study": results.study.name,
        "folder": str(results.folder),
        "planned": results.planned,
        "searched": results.searched,
        "finished": results.finished,
        "running": results.folder.driver() is not None,
        "leaderboard": [_standing(row) for row in results.leaderboard],
        "verdicts": results.confirmation.verdicts() if results.confirmation else [],
        "test": _tested(results.test),
        "damage": [str(problem) for problem in results.damage],
    }


def _standing(row: ranking.Standing) -> dict[str, Any]:
    best = row.best
    return {
        "head": row.head,
        "objective": row.objective if best else None,
        "objective_is": "mean over fresh seeds" if row.confirmed else "one run, the best of the search",
        "searched_objective": best.objective if best else None,
        "trial": best.name if best else None,
        "status": best.status if best else None,
        "params": best.params if best else None,
        "ties": list(row.ties),
        "counts": row.counts,
        "confirmed": [_candidate(each) for each in row.confirmed.candidates] if row.confirmed else None,
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    return {
        "trial": candidate.trial.name,
        "seeds": list(candidate.scores),
        "objectives": list(candidate.scores.values()),
        "lost": candidate.lost,
        **_estimate(candidate.estimate),
    }


def _estimate(estimate: MeanEstimate | None) -> dict[str, Any]:
    if estimate is None:
        return {"n": 0, "mean": None, "standard_error": None, "interval_95": None}
    interval = list(estimate.interval) if estimate.interval else None
    return {
        "n": estimate.n,
        "mean": estimate.mean,
        "standard_error": estimate.standard_error,
        "interval_95": interval,
    }


def _tested(test: Sealed) -> dict[str, Any]:
    heads = {
        head: {
            "trial": scored.trial.name,
            "images": scored.images,
            "interval_95_images": list(scored.by_images) if scored.by_images else None,
            **_estimate(scored.estimate),
        }
        for head, scored in test.heads.items()
    }
    return {"openings": test.openings, "said": test.said(), "heads": heads, "verdicts": test.verdicts()}
