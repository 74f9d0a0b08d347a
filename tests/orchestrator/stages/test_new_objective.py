"""One more objective takes one file: lower is better, in degrees, and no share. A study by it, from plan to report."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray import tune

from lightning_modules import objectives
from orchestrator.errors import StudyError
from orchestrator.figures.style import Picture
from orchestrator.planning import plan
from orchestrator.reporting import leaderboards, tables
from orchestrator.reporting.comparison import Comparison
from orchestrator.reporting.dashboard import storage_of
from orchestrator.reporting.pictures import head_pictures
from orchestrator.reporting.report import content
from orchestrator.reporting.report.content import Shown
from orchestrator.reporting.report.page import render
from orchestrator.search.allocation import Contest
from orchestrator.selection.replicates import Replicates, ReplicationPlan
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.tracking import publish, sweep
from orchestrator.tracking.run import summary
from orchestrator.trials.head_schedulers import HeadSchedulers
from orchestrator.trials.trainable import run_trial
from orchestrator.trials.trial import Task
from tests import toy_objective

SPREAD = {"objectives": ["spread"]}
ENDS = {  # degrees after each epoch: the best ends lowest
    "softmax": [([50.0, 40.0, 30.5], "completed"), ([60.0, 45.0, 20.25], "completed"), ([70.0], "stopped")],
    "arcface": [([40.0, 20.0, 11.5], "completed"), ([45.0, 25.0, 12.5], "completed")],
}
CONFIRMED = {"softmax-001": [22.0, 23.0, 24.0], "arcface-000": [12.0, 12.5, 13.25], "arcface-001": [10.0, 11.0, 10.5]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Path]]:
    with toy_objective.added(tmp_path_factory.mktemp("objective") / "objectives") as written:
        yield written


@pytest.fixture(scope="module")
def folder(
    files: list[Path], tmp_path_factory: pytest.TempPathFactory, build_study: Callable[..., StudyFolder]
) -> StudyFolder:
    """A finished study by the toy, confirmed."""
    parent = tmp_path_factory.mktemp("made")
    return build_study(parent, [*ENDS], trials=ENDS, confirmed=CONFIRMED, examined=False, search=SPREAD)


@pytest.fixture(scope="module")
def results(folder: StudyFolder) -> Results:
    return Results(folder.root)


def text_of(lines: Any, capsys: pytest.CaptureFixture[str]) -> str:
    for line in lines:
        tables.console_on(sys.stdout).print(line, soft_wrap=True)
    return capsys.readouterr().out


def test_one_file_and_it_is_known_while_it_lies_there(files: list[Path]) -> None:
    assert len(files) == 1
    assert objectives.names() == ("accuracy", "separation", "spread")


def test_it_is_planned_and_trained_for_an_epoch(
    files: list[Path], tiny_study: Callable[..., Study], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(tune, "report", lambda metrics, checkpoint=None: told.append(metrics))
    monkeypatch.setattr(tune, "get_checkpoint", lambda: None)
    study = tiny_study(search=SPREAD, training={"epochs": 2})
    planned = plan.make(study, tmp_path / "results")
    said = tables.plan(planned)
    assert "objective spread within classes: median angle to the mean of the own class; lower is better" in said
    params = {name: item.start for name, item in study.spaces(planned.data.num_classes)["softmax"].items()}
    config = {"trial": {"head": "softmax", "seed": 5, "params": params, "checkpoint": None}}
    run_trial(config, planned.data, Task.of(study, np.arange(10)))

    reached = [row["objective"] for row in told]
    assert all(0 < value < 180 for value in reached)
    assert [row["metrics"]["val/spread_deg"] for row in told] == reached
    assert told[-1]["metrics"]["val/spread_deg_best"] == min(reached)
    assert {"val/cluster_accuracy", "val/separation"} <= told[0]["metrics"].keys()
    assert "val/cluster_accuracy_best" not in told[0]["metrics"]


def test_the_lowest_is_the_best_of_a_head_and_leads(results: Results) -> None:
    assert {head: trial.name for head, trial in results.best.items()} == {
        "arcface": "arcface-001",  # fresh seeds have turned it round
        "softmax": "softmax-001",
    }
    assert [row.head for row in results.leaderboard] == ["arcface", "softmax"]
    assert results.confirmation
    assert results.confirmation.verdicts()[0].startswith("arcface is better than softmax by 12.5° at n = 3")
    assert [each.of_second for each in results.confirmation.heads["arcface"].compared] == ["arcface-000 (+2.1° ± 1.6°)"]
    low, high = results.leaderboard[0].interval(results.support) or (0, 0)
    assert low < 10.5 < high
    assert results.leaderboard[0].confirmed


def test_a_sampler_hears_of_what_is_better_as_higher_and_of_a_diverged_trial_as_the_worst(files: list[Path]) -> None:
    study = Study.model_validate({"name": "toy", "heads": {"softmax": {}}, "search": SPREAD})
    contest, heard = Contest(study, study.spaces(10)), list[Any]()
    given = [contest.next(), contest.next()]
    contest._proposers["softmax"] = SimpleNamespace(learn=lambda *told: heard.append(told))  # type: ignore[assignment]
    for assignment, status in zip(given, ("completed", "diverged"), strict=True):
        assert assignment
        contest.epoch(assignment.name, {"epoch": 1, "objective": 12.5, "metrics": {}})
        contest.end(assignment.name, status)
    assert [told[1] for told in heard] == [[(1, -12.5)], [(1, -12.5), (2, -180.0)]]


def test_a_scheduler_stops_what_spreads_most(files: list[Path]) -> None:
    study = Study.model_validate({"name": "toy", "heads": {"softmax": {}}, "search": SPREAD, "training": {"epochs": 9}})
    schedulers, decisions = HeadSchedulers(study, study.spaces(10)), list[str]()
    for number, value in enumerate((20.0, 30.0, 10.0, 40.0, 5.0)):
        trial = SimpleNamespace(config={"trial": {"head": "softmax", "name": f"softmax-{number:03d}"}}, trial_id="x")
        schedulers.on_trial_add(None, trial)
        decisions.append(schedulers.on_trial_result(None, trial, {"epoch": 1, "objective": value}))
    assert decisions == ["CONTINUE", "STOP", "CONTINUE", "STOP", "CONTINUE"]


def test_a_race_drops_what_spreads_more(results: Results) -> None:
    asked = ReplicationPlan(("arcface-000", "arcface-001"), (1, 2, 3), racing=True)
    dropped = list[str]()
    race = Replicates(asked, [*results.trials.values()], "seed", on_drop=lambda each: dropped.append(each.second))
    for seed in range(3):
        for value in (30.0 + seed / 9, 10.0 + seed / 10):
            run = race.next()
            assert run
            race.epoch(run.name, {"epoch": 1, "objective": value})
            race.end(run.name, "completed")
    assert dropped == ["arcface-000"]


def test_terminal_tables_speak_of_it(results: Results, capsys: pytest.CaptureFixture[str]) -> None:
    said = text_of([*leaderboards.ending(results), *tables.status(results)], capsys)
    assert "made-3d: spread within classes on 80 validation images" in said
    assert "10.5°" in said
    assert "accuracy" not in said.lower()
    compared = text_of(Comparison([results]).table(), capsys)
    assert "spread" in compared
    assert "accuracy" not in compared


def test_its_report_speaks_of_it(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    def undrawn(results: Results, picture: Picture) -> Shown:
        return Shown(picture.name, picture.title, picture.caption, picture.alt, "data:", 1, 1)

    monkeypatch.setattr(content, "_shown", undrawn)  # a report's time is that of its pictures
    monkeypatch.setattr(head_pictures, "unfolding", lambda best: None)
    told = content.collect(results)
    page = render(told)
    assert told["leaderboard"][0]["reached"] == "10.5°"
    shown = [shown for part in ("sheet", "search", "sure") for shown in told[part]]
    words = [f"{each.title} {each.caption} {each.alt}" for each in shown]
    assert [said for said in words if "accuracy" in said.lower() or "0.0" in said] == []
    assert "spread" in [each.name for each in shown]
    table = page[page.index('id="leaderboard"') : page.index('id="sure"')]
    assert "Spread within classes on 80 validation images" in table
    assert "accuracy" not in table.lower()
    measured = {label: meaning for label, _, meaning in told["heads"][0]["measures"]}
    assert measured["spread within classes"] == "the objective: median angle to the mean of the own class"


def test_best_files_a_sweep_a_run_and_the_dashboard_go_its_way(results: Results) -> None:
    assert "Spread within classes on 80 validation images: 10.5°" in results.best_yaml("arcface")
    assert sweep.config(results.study, results.study.spaces(4))["metric"]["goal"] == "minimize"
    events = publish._untold(results, "confirmation")
    assert [event["event"] for event in events] == ["asked"]
    told = summary(results.trials["softmax-000"], "search")
    assert (told["best_objective"], told["best_epoch"]) == (30.5, 3)
    study = storage_of(results).get_all_studies()[0]
    assert [direction.name for direction in study.directions] == ["MINIMIZE"]


def test_a_value_that_it_cannot_have_is_damage(folder: StudyFolder, results: Results, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in folder.trials_file.read_text().splitlines()]
    copy = StudyFolder(tmp_path / "copy")
    copy.root.mkdir()
    copy.study_file.write_text(folder.study_file.read_text())
    next(line for line in lines if line["event"] == "epoch")["objective"] = 181.0
    copy.trials_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (problem, *_) = Results(copy.root, damaged=True).damage
    assert "spread within classes is a number from 0 to 180, but it is 181.0" in problem.value


def test_an_objective_that_no_file_has_is_refused() -> None:
    with pytest.raises((StudyError, ValueError), match="must be one of accuracy, separation"):
        Study.model_validate({"name": "toy", "heads": {"softmax": {}}, "search": {"objectives": ["sprit"]}})
