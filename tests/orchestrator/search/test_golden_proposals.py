"""A seed proposes what it proposed before: every sampler, with conditions, and after an interruption.

`golden_proposals.json` holds what was proposed on 2026-11-28. A change of it changes the results of users' studies.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.objectives.separation import OBJECTIVE as SEPARATION
from orchestrator.search.allocation import Contest
from orchestrator.storage.event_log import Trial
from orchestrator.study.schema import Study

GOLDEN = Path(__file__).with_name("golden_proposals.json")
SEARCHES: dict[str, dict[str, Any]] = {
    "tpe": {"searcher": "tpe"},
    "random": {"searcher": "random"},
    "grid": {"searcher": "grid", "grid_points": 2},
    "joint tpe": {"searcher": "tpe", "joint": True},
    "joint random": {"searcher": "random", "joint": True},
    "front tpe": {"searcher": "tpe", "scheduler": "none", "objectives": ["accuracy", "separation"]},
}
FATES = ("completed", "stopped", "completed", "diverged", "completed", "failed", "completed")


def study(search: dict[str, Any]) -> Study:
    magnitude = {"values": ["fixed", "feature"]}
    heads = {"arcface": {}, "sphereface": {"scale": {"min": 8.0, "max": 32.0}, "magnitude": magnitude}}
    return Study.model_validate({"name": "g", "heads": heads, "search": {"trials_per_head": 8, "seed": 3} | search})


def play(contest: Contest, most: int = 10**6) -> list[Trial]:
    """Up to so many trials, one after the other; settings decide what each reaches, and its place how it ends."""
    played: list[Trial] = []
    while len(played) < most and (given := contest.next()):
        status = FATES[given.seed % len(FATES)]
        objective = 1 - abs(given.params["lr"] - 0.01) * 9 - given.params["weight_decay"]
        rows = [
            {"epoch": epoch, "objective": objective * epoch / 2, "metrics": {SEPARATION.metric: objective / epoch}}
            for epoch in range(1, 1 if status == "failed" else 3)
        ]
        for row in rows:
            contest.epoch(given.name, row)
        contest.end(given.name, status)
        known = (given.name, given.head, given.index, given.seed, given.params)
        played.append(Trial(*known, status, "", rows))  # type: ignore[arg-type]
    return played


def told(trial: Trial) -> str:
    """A proposal in a line; twelve digits, for the last ones differ between processors."""
    values = (
        f"{name}={value:.12g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in trial.params.items()
    )
    return f"{trial.name} {trial.seed} {' '.join(values)}"


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("interrupted_after", [0, 5])
def test_a_seed_proposes_what_it_always_did(search: str, interrupted_after: int) -> None:
    asked = study(SEARCHES[search])
    spaces = asked.spaces(10)
    record = play(Contest(asked, spaces), interrupted_after)
    found = [*map(told, record + play(Contest(asked, spaces, record)))]
    assert found == json.loads(GOLDEN.read_text(encoding="utf-8"))[search]
