"""What the report says of how sure the answer is: the confirmation, the test, and optima at an edge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_modules.objectives.base import Objective
from orchestrator.reporting import leaderboards
from orchestrator.selection import boundary_optima, ranking
from orchestrator.selection.candidates import Candidate, Confirmed
from orchestrator.selection.results import Results
from orchestrator.selection.statistics import MeanEstimate
from orchestrator.system.commands import ours


def collect(results: Results) -> dict[str, Any]:
    """Tables and sentences, as plain values for the page."""
    known, test, objective = results.confirmation, results.test, results.study.objective
    confirmed = known.heads.values() if known else ()
    rows = [
        {
            "head": each.head,
            "trial": candidate.trial.name,
            "is_best": candidate is each.best,
            "said": _said(each, candidate, known.dropped if known else {}),
            "searched": candidate.trial.reached,
            **_written(candidate.estimate, objective),
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
            {"head": head, "trial": scored.trial.name, "images": objective.write_interval(scored.by_images)}
            | _written(scored.estimate, objective)
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
    return {
        "reached": row.reached,
        "interval": row.best.judged_by.write_interval(row.interval(results.support)),
        "runs": row.runs,
        "searched": row.best.reached,
    }


def _written(estimate: MeanEstimate, objective: Objective) -> dict[str, str]:
    return {
        "mean": objective.write(estimate.mean),
        "error": objective.write(estimate.standard_error),
        "interval": objective.write_interval(estimate.interval),
        "n": str(estimate.n),
    }
