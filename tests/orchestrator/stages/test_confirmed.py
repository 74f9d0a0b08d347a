"""What is told of a study whose best configurations were trained on fresh seeds: tables, JSON, best files."""

from __future__ import annotations

import io
import json
import math
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from lightning_modules.objectives.base import Support
from orchestrator.reporting import leaderboards, tables
from orchestrator.reporting.comparison import Comparison
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import read_events
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study

Build = Callable[..., StudyFolder]
T_QUANTILES = {2: 12.706, 3: 4.303, 5: 2.776}  # Student's t at 97.5%, for n − 1 degrees of freedom
SEARCHED: dict[str, Any] = {
    "softmax": [([0.5, 0.6, 0.90], "completed"), ([0.5, 0.6, 0.89], "completed"), ([0.3], "stopped")],
    "arcface": [([0.5, 0.6, 0.88], "completed"), ([0.5, 0.6, 0.80], "completed"), ([], "failed")],
}
REACHED: dict[str, list[float | None]] = {  # the lucky softmax-000 is no better than softmax-001, and arcface is
    "softmax-000": [0.80, 0.82, 0.81],
    "softmax-001": [0.84, 0.85, 0.86],
    "arcface-000": [0.87, 0.88, 0.89],
}


@pytest.fixture
def build(build_study: Build, tmp_path: Path) -> Callable[..., Results]:
    def make(confirmed: Any = None, **changes: Any) -> Results:
        kept = {"trials": SEARCHED, "examined": False, "confirmed": confirmed or REACHED} | changes
        return Results(build_study(tmp_path, **kept).root)

    return make


def printed(things: Iterable[Table | str]) -> str:
    told = io.StringIO()
    for thing in things:
        Console(file=told, width=300).print(thing, highlight=False, markup=False)
    return told.getvalue()


def cells(text: str) -> dict[str, list[str]]:
    """The cells of a printed table by its first column."""
    lines = [[cell.strip() for cell in line.strip("│").split("│")] for line in text.splitlines() if "│" in line]
    return {first: rest for first, *rest in lines}


def test_a_mean_over_fresh_seeds_decides_between_heads_and_within_them(build: Callable[..., Results]) -> None:
    results = build()
    assert results.finished
    assert [(row.head, row.objective) for row in results.leaderboard] == [
        ("arcface", pytest.approx(0.88)),
        ("softmax", pytest.approx(0.85)),
    ]
    assert {head: best.name for head, best in results.best.items()} == {
        "arcface": "arcface-000",
        "softmax": "softmax-001",
    }
    assert (results.folder.best / "softmax.yaml").exists() is False
    assert {path.stem for path in results.write_best()} == {"arcface", "softmax"}
    assert Study.load(results.folder.best / "softmax.yaml").training.lr == results.trials["softmax-001"].params["lr"]


def test_the_leaderboard_shows_means_intervals_seeds_and_what_the_search_saw(build: Callable[..., Results]) -> None:
    text = printed(leaderboards.leaderboard_of(build()))
    shown = cells(text)
    assert list(shown) == ["arcface", "softmax"]
    half = T_QUANTILES[3] * 0.01 / math.sqrt(3)
    assert shown["arcface"] == ["0.8800", f"{half:.4f}", "3", "0.8800", "arcface-000"]
    assert shown["softmax"] == ["0.8500", f"{half:.4f}", "3", "0.8900", "softmax-001"]
    assert [head.strip() for head in text.splitlines()[2].strip("┃").split("┃")] == [
        "head", "accuracy", "± 95%", "seeds", "searched", "configuration",
    ]  # fmt: skip


def test_one_seed_has_no_interval(build: Callable[..., Results]) -> None:
    shown = cells(printed(leaderboards.leaderboard_of(build({"softmax-000": [0.7], "arcface-000": [0.6]}))))
    assert shown["softmax"][:3] == ["0.7000", "–", "1"]


def test_a_head_that_lost_all_its_runs_stands_below_with_its_one_run(build: Callable[..., Results]) -> None:
    results = build({"softmax-000": [None, None], "arcface-000": [0.5, 0.6]})
    assert results.finished
    assert [(row.head, row.confirmed is None) for row in results.leaderboard] == [("arcface", False), ("softmax", True)]
    shown = cells(printed(leaderboards.leaderboard_of(results)))
    assert shown["softmax"] == ["0.9000", "–", "0", "0.9000", "softmax-000"]
    told = {row["head"]: row for row in results.as_dict()["leaderboard"]}
    assert told["softmax"]["objective_is"] == "one run, the best of the search"
    assert told["softmax"]["confirmed"] is None
    assert told["arcface"]["objective_is"] == "mean over fresh seeds"


def test_a_run_that_was_lost_is_told_and_costs_its_configuration_the_first_place(build: Callable[..., Results]) -> None:
    results = build({"softmax-000": [0.95, None, 0.97], "softmax-001": [0.8, 0.81, 0.82], "arcface-000": [0.5] * 3})
    assert results.best["softmax"].name == "softmax-001"
    told = next(row for row in results.as_dict()["leaderboard"] if row["head"] == "softmax")
    assert [(each["trial"], each["n"], each["lost"]) for each in told["confirmed"]] == [
        ("softmax-001", 3, 0),
        ("softmax-000", 2, 1),
    ]
    only = build({"softmax-000": [0.95, None, 0.97], "arcface-000": [0.5] * 3}, name="only")
    assert "softmax: 1 of its runs failed" in printed(leaderboards.ending(only))


def test_the_end_says_how_sure_the_order_is(build: Callable[..., Results]) -> None:
    text = printed(leaderboards.ending(build()))
    assert "the mean over fresh seeds with its 95% interval" in text
    assert "a fresh seed will likely score" not in text
    assert "  arcface is better than softmax by 0.0300 at n = 3" in text
    assert "not told apart from" not in text
    level = build({"softmax-000": [0.8, 0.84], "softmax-001": [0.81, 0.82], "arcface-000": [0.78, 0.85]}, name="level")
    text = printed(leaderboards.ending(level))
    assert "softmax: not told apart from softmax-000: softmax-001 (−0.0050 ± 0.1906)" in text  # t at 1 df: 12.706
    assert "  softmax and arcface cannot be told apart at n = 2" in text


@pytest.mark.parametrize("size", [(1, 2), (2, 5)])
def test_what_is_told_as_json_are_the_numbers_of_the_record(
    build: Callable[..., Results], size: tuple[int, int]
) -> None:
    results = build(size)
    told = json.loads(json.dumps(results.as_dict(), allow_nan=False))
    reached: dict[str, list[float]] = {}
    for event in read_events(results.folder.confirmation_file):
        if event["event"] == "epoch" and event["epoch"] == 3:
            reached.setdefault(event["trial"].rpartition("-seed-")[0], []).append(event["objective"])
    assert len(reached) == 2 * size[0]
    assert (told["searched"], told["finished"]) == (True, True)
    for row in told["leaderboard"]:
        assert len(row["confirmed"]) == size[0]
        assert (row["trial"], row["objective"]) == (row["confirmed"][0]["trial"], row["confirmed"][0]["mean"])
        assert row["searched_objective"] == results.trials[row["trial"]].objective
        for each in row["confirmed"]:
            values = reached[each["trial"]]
            half = T_QUANTILES[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
            assert each["objectives"] == values
            assert (each["n"], each["mean"]) == (size[1], pytest.approx(statistics.fmean(values)))
            assert each["interval_95"] == pytest.approx([each["mean"] - half, each["mean"] + half], rel=1e-4)
            assert results.confirmation
            assert each["seeds"] == list(results.confirmation.asked.seeds)
    assert len(told["verdicts"]) == 1
    assert told["test"] == {"openings": [], "said": "the test images are sealed", "heads": {}, "verdicts": []}


def test_a_study_without_a_confirmation_tells_of_one_run(build_study: Build, tmp_path: Path) -> None:
    results = Results(build_study(tmp_path, trials=SEARCHED, examined=False).root)
    assert results.finished
    told = results.as_dict()
    assert told["verdicts"] == []
    for row in told["leaderboard"]:
        assert row["objective_is"] == "one run, the best of the search"
        assert row["confirmed"] is None
        assert row["objective"] == row["searched_objective"]


def test_a_best_file_says_its_mean_its_luck_and_its_peers(build: Callable[..., Results]) -> None:
    results = build({"softmax-000": [0.8, 0.84], "softmax-001": [0.81, 0.82], "arcface-000": [0.79, 0.85]})
    lines = results.best_yaml("softmax").splitlines()
    assert lines[0] == "# The best softmax of the study made-3d: trial softmax-000, seed 100."
    assert lines[1].startswith("# Cluster accuracy on 80 validation images: 0.8200 ± ")
    assert lines[1].endswith(" (95%), the mean over 2 fresh seeds.")
    assert lines[2] == "# With its own seed 0.9000, one of 2 runs, so partly luck."
    assert lines[3] == "# Not told apart at n = 2 from softmax-001 (−0.0050 ± 0.1906)."


def test_a_study_is_not_finished_before_its_last_fresh_seed(build: Callable[..., Results]) -> None:
    folder = build(confirmation={"top": 2, "seeds": 3}).folder
    lines = folder.confirmation_file.read_bytes().splitlines(keepends=True)
    ends = [number for number, line in enumerate(lines) if json.loads(line)["event"] == "end"]
    for kept, runs in ((0, 0), (1, 0), (ends[0] + 1, 1), (ends[-1], len(ends) - 1)):
        folder.confirmation_file.write_bytes(b"".join(lines[:kept]))
        half = Results(folder.root)
        assert (half.searched, half.finished) == (True, False)
        assert [row.confirmed for row in half.leaderboard] == [None, None]
        assert half.best["softmax"].name == "softmax-000"
        state = printed(tables.status(half))
        planned = " of at most 9" if kept else ""
        assert f"6 of 6 trials ended; {runs}{planned} runs of its confirmation ended; interrupted" in state
        assert f"orchestrator resume {folder.root}" in printed(leaderboards.ending(half))
    folder.confirmation_file.write_bytes(b"".join(lines))
    assert "6 of 6 trials ended; finished" in printed(tables.status(Results(folder.root)))


def test_a_finished_search_that_owes_its_confirmation_is_not_finished(build_study: Build, tmp_path: Path) -> None:
    four: dict[str, Any] = {head: [([0.5, 0.6, 0.7], "completed")] * 4 for head in ("softmax", "arcface")}
    folder = build_study(tmp_path, trials=four, examined=False, confirmation={})
    results = Results(folder.root)
    assert (results.searched, results.finished) == (True, False)
    assert "8 of 8 trials ended; 0 runs of its confirmation ended; interrupted" in printed(tables.status(results))


def test_studies_are_compared_by_their_means_and_a_single_run_beside_them_is_said_to_be_one(
    build: Callable[..., Results], build_study: Build, tmp_path: Path
) -> None:
    confirmed = build()
    single = Results(build_study(tmp_path, trials=SEARCHED, examined=False, name="single").root)
    half = T_QUANTILES[3] * 0.01 / math.sqrt(3)
    rows = {(row.study, row.head): row for row in Comparison([confirmed, single]).rows}
    mean = rows["made-3d", "softmax"]
    assert (mean.trial.name, mean.objective, mean.runs) == ("softmax-001", pytest.approx(0.85), "3 fresh seeds")
    assert mean.interval == pytest.approx((0.85 - half, 0.85 + half), abs=1e-5)
    one = rows["single", "softmax"]
    assert (one.trial.name, one.objective, one.runs) == ("softmax-000", 0.9, "1, best of 2")
    warning = "some are means over fresh seeds and some the best single run, which is partly luck"
    assert warning in Comparison([confirmed, single]).warnings
    assert Comparison([confirmed]).warnings == Comparison([single]).warnings == []


def test_an_interval_over_seeds_stays_an_accuracy(build: Callable[..., Results]) -> None:
    (row, _) = build({"softmax-000": [0.99, 0.5], "arcface-000": [0.1, 0.1]}).leaderboard
    assert row.interval(Support(80)) == (0.0, 1.0)
    one = build({"softmax-000": [0.99], "arcface-000": [0.1]}, name="one").leaderboard[0]
    assert one.interval(Support(80)) is None
