"""What the report says of how sure the answer is: the confirmation, the test, and optima at an edge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.reporting import leaderboards
from orchestrator.selection import boundary_optima, ranking
from orchestrator.selection.confirmation import Candidate, Confirmed
from orchestrator.selection.results import Results
from orchestrator.selection.statistics import MeanEstimate
from orchestrator.system.commands import ours


def collect(results: Results) -> dict[str, Any]:
    """Tables and sentences, as plain values for the page."""
    known, test = results.confirmation, results.test
    confirmed = known.heads.values() if known else ()
    rows = [
        {
            "head": each.head,
            "trial": candidate.trial.name,
            "is_best": candidate is each.best,
            "said": _said(each, candidate, known.dropped if known else {}),
            "searched": f"{candidate.trial.objective:.4f}",
            **_written(candidate.estimate),
        }
        for each in confirmed
        for candidate in each.candidates
        if candidate.estimate
    ]
    return {
        "confirmed": rows,
        "seeds": known.asked.seeds if known else (),
        "racing": bool(known and known.asked.racing),
        "verdicts": known.verdicts() if known else [],
        "tested": [
            {"head": head, "trial": scored.trial.name, "images": _interval(scored.by_images)}
            | _written(scored.estimate)
            for head, scored in test.heads.items()
        ],
        "test_images": next((scored.images for scored in test.heads.values()), 0),
        "test_verdicts": test.verdicts(),
        "cautions": leaderboards.cautions(results),
        "edges": [str(hit) for hit in boundary_optima.hits(results)] if results.searched and results.best else [],
        "wider": ours("launch", results.folder.wider_file) if results.folder.wider_file.exists() else "",
    }


def _said(head: Confirmed, candidate: Candidate, dropped: Mapping[str, int]) -> str:
    """What is to be known of a candidate beside its numbers."""
    name = candidate.trial.name
    found = [f"best {head.head}"] if candidate is head.best else []
    indistinguishable = next((each for each in head.indistinguishable if each.second == name), None)
    if indistinguishable:
        found.append(f"not told apart from the best (p = {indistinguishable.p:.2g})")
    if name in dropped:
        found.append(f"out of the race after {dropped[name]} seeds")
    if candidate.lost:
        found.append(f"{candidate.lost} of its runs failed")
    return ", ".join(found)


def standing(results: Results, row: ranking.Standing) -> dict[str, str]:
    """The figures of one head in the leaderboard: a mean over seeds where it is confirmed, else one run."""
    assert row.best
    ends = row.interval(results.study.data.validation_images)
    return {
        "accuracy": f"{row.objective:.4f}",
        "interval": _interval(ends) if ends else "–",
        "runs": row.runs,
        "searched": f"{row.best.objective:.4f}",
    }


def _written(estimate: MeanEstimate) -> dict[str, str]:
    return {
        "mean": f"{estimate.mean:.4f}",
        "error": "–" if estimate.standard_error is None else f"{estimate.standard_error:.4f}",
        "interval": "–" if estimate.interval is None else _interval(estimate.interval),
        "n": str(estimate.n),
    }


def _interval(ends: tuple[float, float]) -> str:
    """An accuracy is never above 1, whatever the formula of its interval says."""
    return f"{max(0.0, ends[0]):.4f} – {min(1.0, ends[1]):.4f}"
