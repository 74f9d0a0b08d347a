"""What `--json` prints of a study: the leaderboard, how sure it is, and what the sealed test said."""

from __future__ import annotations

from typing import Any

from orchestrator.selection import ranking
from orchestrator.selection.candidates import Candidate
from orchestrator.selection.sealed_results import Sealed
from orchestrator.selection.statistics import MeanEstimate


def standing(row: ranking.Standing) -> dict[str, Any]:
    """A row of the leaderboard, with each run on a fresh seed where it is confirmed."""
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


def tested(test: Sealed) -> dict[str, Any]:
    """What the sealed test said, and how often its images were looked at."""
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
