"""An interrupted search proposes what the uninterrupted one would have proposed, and nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.search.allocation import Contest
from orchestrator.stages import training
from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study


def study(searcher: str) -> Study:
    search = {"trials_per_head": 12, "searcher": searcher, "seed": 3}
    return Study.model_validate({"name": "x", "heads": {"cosface": {}}, "search": search})


def run(contest: Contest, trials: int) -> list[Trial]:
    """So many trials, one after the other, each with an objective that depends on its settings alone."""
    done = []
    for _ in range(trials):
        given = contest.next()
        assert given is not None
        objective = 1 - abs(given.params["margin_cos"] - 0.3)
        contest.epoch(given.name, {"epoch": 1, "objective": objective})
        contest.end(given.name, "completed")
        rows: list[dict[str, Any]] = [{"epoch": 1, "objective": objective}]
        done.append(Trial(given.name, given.head, given.index, given.seed, given.params, "completed", "", rows))
    return done


@pytest.mark.parametrize("searcher", ["random", "tpe"])
@pytest.mark.parametrize("interrupted_after", [1, 3, 7])
def test_a_resumed_search_goes_on_as_if_it_had_not_been_interrupted(searcher: str, interrupted_after: int) -> None:
    spaces = study(searcher).spaces(10)
    whole = run(Contest(study(searcher), spaces), 12)
    record = whole[:interrupted_after]
    resumed = run(Contest(study(searcher), spaces, record), 12 - interrupted_after)

    assert [trial.params for trial in record + resumed] == [trial.params for trial in whole]
    assert len({str(trial.params) for trial in whole}) == 12


def test_a_trial_that_a_scheduler_had_stopped_ends_before_anything_trains(tmp_path: Path) -> None:
    folder = StudyFolder(tmp_path / "small")
    about = {"head": "arcface", "seed": 1, "params": {"lr": 0.1}}
    row = {"event": "epoch", "epoch": 1, "objective": 0.5, "metrics": {}}
    with folder.writer() as writer:
        for index, decided in enumerate(({"stops": True}, {})):
            name = f"arcface-{index:03d}"
            writer.append({"event": "start", "trial": name, "index": index, **about})
            writer.append({**row, "trial": name, **decided})
        for _ in range(2):  # a driver may be killed right after it, too
            training._end_stopped(writer)
    stopped, running = folder.trials().values()
    assert (stopped.status, stopped.reason) == ("stopped", "not among the best of its head after epoch 1")
    assert running.status == "running"
    assert len(folder.events()) == 5
