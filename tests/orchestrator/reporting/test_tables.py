"""What a person reads on a terminal: the plan, the state of a search, the leaderboard."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from orchestrator.cluster.resources import Fleet, Node
from orchestrator.planning import plan
from orchestrator.reporting import leaderboards, tables
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study

MakeStudy = Callable[..., Study]
MakeRecord = Callable[..., StudyFolder]


def printed(things: Iterable[Table | str], width: int = 300) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    for thing in things:
        console.print(thing, highlight=False, markup=False, soft_wrap=isinstance(thing, str))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def rows(text: str) -> dict[str, list[str]]:
    """The cells of a printed table by its first column."""
    cells = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    return {first: rest for first, *rest in cells}


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan.Fleet, "here", staticmethod(lambda: Fleet((Node(4, memory_bytes=16 * 10**9),))))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (11.6, "12 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (250, "4 min 10 s"), (3600, "1 h 00 min"),
     (11_100, "3 h 05 min"), (90_000, "25 h 00 min")],
)  # fmt: skip
def test_durations_are_short(seconds: float, text: str) -> None:
    assert tables.duration(seconds) == text


def test_settings_are_short() -> None:
    shown = tables.settings({"lr": 0.0123456, "scale": 18.0, "mining": "semi_hard", "normalise": True, "number": 12345})
    assert shown == "lr 0.0123, scale 18, mining semi_hard, normalise True, number 12345"


def test_a_plan_shows_every_space_its_start_and_its_reason(tiny_study: MakeStudy, tmp_path: Path) -> None:
    study = tiny_study(heads={"arcface": {}, "sphereface": {"margin_mult": {"min": 1.1, "max": 1.5}}, "softmax": {}})
    text = printed(tables.plan(plan.make(study, tmp_path)))
    cells = rows(text)
    assert cells["lr"][:3] == ["all", "0.002 … 0.03 log", "0.01"]
    assert cells["head_lr"][0] == "softmax"
    assert cells["magnitude"][0] == "arcface, sphereface"
    assert cells["weight_decay"][:3] == ["softmax", "0.0001 … 0.1 log", "0.01"]
    assert cells["margin_rad"][:3] == ["arcface", "0.05 … 0.7", "0.5"]
    assert "4 classes in 3-D" in cells["margin_rad"][3]
    assert cells["margin_mult"] == ["sphereface", "1.1 … 1.5", "1.4", "as the study says"]
    assert cells["magnitude"][1] == "feature | fixed"
    assert "scale (if magnitude is fixed)" in cells
    assert "constant  weight_decay (arcface, sphereface) 0.01, warmup_share 0.25" in text
    assert "80 images to train, 40 to validate, 4 classes, 6 × 5 × 1; the test images stay sealed" in text
    assert "3 heads × 2 = 6, 4 at a time" in text
    assert "at most 12 epochs" in text
    assert str(tmp_path / "tiny") in text


def test_constants_that_differ_between_heads_are_all_shown(tiny_study: MakeStudy, tmp_path: Path) -> None:
    slow, fast = {"lr": 0.002}, {"lr": 0.03}
    study = tiny_study(heads={"arcface": slow, "cosface": slow, "softmax": fast, "triplet": fast})
    (constants,) = [
        line for line in printed(tables.plan(plan.make(study, tmp_path))).splitlines() if line.startswith("constant")
    ]
    assert "0.002" in constants
    assert "0.03" in constants


@pytest.mark.parametrize("width", [40, 80, 300])
def test_a_plan_loses_nothing_on_a_narrow_terminal(tiny_study: MakeStudy, tmp_path: Path, width: int) -> None:
    text = printed(tables.plan(plan.make(tiny_study(), tmp_path)), width)
    assert "…\n" not in text
    columns = [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]
    assert "margin_rad" in "".join(columns)


def test_progress_counts_what_became_of_every_trial(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    folder = make_record(
        tiny_study(search={"trials_per_head": 6}),
        ("arcface", 0, [0.3, 0.9], "completed"),
        ("arcface", 1, [0.95], "stopped"),
        ("arcface", 2, [], "failed"),
        ("arcface", 3, [0.1], "diverged"),
        ("arcface", 4, [0.2], "running"),
    )
    cells = rows(printed(tables.status(Results(folder.root))))
    assert cells["arcface"] == ["1", "1", "1", "2", "1", "0.9500"]
    assert cells["softmax"] == ["0", "0", "0", "0", "6", "–"]


def test_the_state_of_a_study_says_what_to_do_next(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    ends: list[Any] = [("arcface", 0, [0.5], "completed"), ("softmax", 0, [], "failed")]
    folder = make_record(tiny_study(), *ends)
    text = printed(tables.status(Results(folder.root)))
    assert f"tiny: 2 of 4 trials ended; interrupted; go on with: orchestrator resume {folder.root}" in text
    assert "softmax-000 failed: because it failed" in text
    with folder.writer():
        assert "2 of 4 trials ended; running since 20" in printed(tables.status(Results(folder.root)))
    done = make_record(
        tiny_study(name="done"), *ends, ("arcface", 1, [0.5], "stopped"), ("softmax", 1, [0.5], "completed")
    )
    assert "done: 4 of 4 trials ended; finished" in printed(tables.status(Results(done.root)))


def test_the_leaderboard_shows_score_trial_ties_and_searched_settings(
    tiny_study: MakeStudy, make_record: MakeRecord
) -> None:
    params = {"lr": 0.0123456, "weight_decay": 0.01, "scale": 16.0}
    folder = make_record(
        tiny_study(heads={"arcface": {"scale": 16.0}, "softmax": {}, "triplet": {}}),
        ("arcface", 0, [0.1, 0.71239], "completed"),
        ("arcface", 1, [0.1, 0.71239], "completed"),
        params=params,
    )
    with folder.writer() as writer:
        writer.append(
            {"event": "start", "trial": "softmax-000", "head": "softmax", "index": 0, "seed": 1, "params": {}}
        )
        measured = {"val/cluster_accuracy_spherical": 0.88, "val/cluster_accuracy_euclidean": 0.9}
        writer.append({"event": "epoch", "trial": "softmax-000", "epoch": 1, "objective": 0.9, "metrics": measured})
        writer.append({"event": "end", "trial": "softmax-000", "status": "stopped", "reason": ""})
    for labels in (None, np.arange(40) % 4):
        if labels is not None:
            folder.save_labels(labels)
        text = printed(leaderboards.leaderboard_of(Results(folder.root)))
        cells = rows(text)
        assert cells["arcface"] == ["0.7124", "–", "–", "2", "arcface-000 = arcface-001"]
        assert "arcface   lr 0.0123\n" in text
        assert cells["softmax"] == ["0.9000", "0.8800", "0.9000", "1", "softmax-000 (stopped after 1 epochs)"]
        assert cells["triplet"] == ["–", "–", "–", "–", "none has ended with a result"]
        assert "40 validation images, 3-D" in text


def test_the_end_of_a_search_says_where_everything_is(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    trials: list[Any] = [("arcface", 0, [0.9], "completed"), ("arcface", 1, [0.5], "stopped")]
    folder = make_record(tiny_study(heads={"arcface": {}}), *trials)
    (folder.wandb / "offline-run-1").mkdir(parents=True)
    text = printed(leaderboards.ending(Results(folder.root)))
    assert f"orchestrator launch {folder.best}/arcface.yaml" in text
    assert f"{folder.report_file}" in text
    assert f"orchestrator sync {folder.root}" in text
    assert "a fresh seed will likely score a little less" in text
    silent = make_record(tiny_study(name="s", heads={"arcface": {}}, tracking={"mode": "off"}), *trials)
    assert "wandb" not in printed(leaderboards.ending(Results(silent.root)))


def test_the_end_of_an_interrupted_search_says_how_to_go_on(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    folder = make_record(tiny_study(), ("arcface", 0, [0.9], "completed"), ("softmax", 0, [0.1], "diverged"))
    text = printed(leaderboards.ending(Results(folder.root)))
    assert f"Interrupted. Go on with: orchestrator resume {folder.root}" in text
    assert "softmax-000 diverged: because it diverged" in text
    assert "report.html" not in text


def test_a_search_in_which_all_failed_names_no_file_that_is_not_there(
    tiny_study: MakeStudy, make_record: MakeRecord
) -> None:
    folder = make_record(
        tiny_study(heads={"arcface": {}}), ("arcface", 0, [], "failed"), ("arcface", 1, [], "diverged")
    )
    results = Results(folder.root)
    assert results.write_best() == []
    text = printed(leaderboards.ending(results))
    assert "arcface-000 failed: because it failed" in text
    assert "arcface.yaml" not in text
    assert "report.html" not in text
