"""What the report says of how sure the answer is: its tables hold the record's own numbers, and the page shows them."""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from lightning_modules.metrics.proportions import wilson
from orchestrator.reporting import report
from orchestrator.reporting.pictures import head_pictures, verdict_pictures
from orchestrator.reporting.report import verdict
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder

BuildStudy = Callable[..., StudyFolder]
ENDS = [([0.5, 0.6, 0.7], "completed"), ([0.5, 0.7, 0.9], "completed")]
REACHED = {  # the search preferred the second of each head
    "softmax-001": [0.80, 0.82, 0.84],
    "softmax-000": [0.70, 0.72, 0.71],
    "arcface-001": [0.60, None, 0.62],
    "arcface-000": [0.90, 0.92, 0.94],
}
OPENED = {"event": "opened", "number": 1, "by": "test", "forced": False, "git": None, "orchestrator": "0.1.0"}


@pytest.fixture
def sure(tmp_path: Path, build_study: BuildStudy) -> StudyFolder:
    heads = ("softmax", "arcface")
    return build_study(tmp_path, heads, trials=dict.fromkeys(heads, ENDS), confirmed=REACHED, examined=False)


def look(folder: StudyFolder, scores: dict[str, list[float]], images: int = 400) -> None:
    """Writes what a test of the study would have left behind."""
    at = {"time": "2026-01-02T10:00:00.000+00:00"}
    events: list[dict[str, Any]] = [
        {"event": "asked", "configurations": [*scores], "seeds": [75_000, 75_001], "racing": False}
    ]
    for name, values in scores.items():
        for number in range(1, len(values) + 1):
            run = f"{name}-final-{number}"
            known = {"head": name[:-4], "index": number, "seed": 74_999 + number, "params": {}}
            events.append({"event": "start", "trial": run, **known})
            events.append({"event": "epoch", "trial": run, "epoch": 1, "objective": 1.0, "metrics": {}})
            events.append({"event": "end", "trial": run, "status": "completed", "reason": ""})
    events.append(OPENED)
    for name, values in scores.items():
        for number, value in enumerate(values, start=1):
            measured = {"run": f"{name}-final-{number}", "images": images, "measures": {"cluster_accuracy": value}}
            events.append({"event": "measured", "opening": 1, **measured})
    folder.test_file.write_text("".join(json.dumps({**event, **at}) + "\n" for event in events))


def test_the_table_has_the_mean_its_error_and_its_interval(sure: StudyFolder) -> None:
    rows = {row["trial"]: row for row in verdict.collect(Results(sure.root))["confirmed"]}
    values = [0.90, 0.92, 0.94]
    error = statistics.stdev(values) / 3**0.5
    low, high = stats.t.interval(0.95, 2, statistics.mean(values), error)
    assert rows["arcface-000"] == {
        "head": "arcface", "trial": "arcface-000", "is_best": True, "said": "best arcface", "searched": "0.7000",
        "mean": "0.9200", "error": f"{error:.4f}", "interval": f"{low:.4f} – {min(high, 1):.4f}", "n": "3",
    }  # fmt: skip
    assert rows["softmax-001"]["is_best"]
    assert (rows["arcface-001"]["said"], rows["arcface-001"]["n"]) == ("1 of its runs failed", "2")
    assert rows["softmax-000"]["said"] == ""  # worse on every seed


def test_the_leaderboard_shows_means_and_what_the_search_saw(sure: StudyFolder) -> None:
    results = Results(sure.root)
    shown = {row.head: verdict.standing(results, row) for row in results.leaderboard}
    assert [*shown] == ["arcface", "softmax"]
    assert shown["arcface"]["reached"] == "0.9200"
    assert (shown["arcface"]["searched"], shown["arcface"]["runs"]) == ("0.7000", "3 fresh seeds")


def test_an_interval_of_accuracies_ends_at_1(tmp_path: Path, build_study: BuildStudy) -> None:
    folder = build_study(tmp_path, ["softmax"], confirmed={"softmax-000": [0.9, 1.0]}, examined=False)
    (row,) = verdict.collect(Results(folder.root))["confirmed"]
    assert row["interval"].endswith("– 1.0000")


def test_a_test_is_told_with_its_opening_and_both_intervals(sure: StudyFolder) -> None:
    look(sure, {"softmax-001": [0.70, 0.72], "arcface-000": [0.88, 0.90]})
    told = verdict.collect(Results(sure.root))
    assert [row["head"] for row in told["tested"]] == ["arcface", "softmax"]
    assert told["tested"][0]["mean"] == "0.8900"
    assert told["tested"][0]["images"] == "{:.4f} – {:.4f}".format(*wilson(0.89, 400))
    assert told["test_images"] == 400
    assert any("opened once" in said for said in told["cautions"])


def test_nothing_is_told_of_what_has_not_happened(tmp_path: Path, build_study: BuildStudy) -> None:
    folder = build_study(tmp_path, ["softmax"], examined=False)
    told = verdict.collect(Results(folder.root))
    assert not told["confirmed"]
    assert not told["tested"]
    assert told["cautions"] == []
    assert [*verdict_pictures.pictures(Results(folder.root))] == []


def test_the_page_shows_it_all(sure: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head_pictures, "bests", lambda results: [])  # pictures of embeddings take long, and are not it
    look(sure, {"softmax-001": [0.70, 0.72], "arcface-000": [0.88, 0.90]})
    page = report.write(Results(sure.root)).read_text()
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.partition("<main>")[2].partition("</main>")[0]))
    assert "How sure is this?" in text
    for said in ("0.9200", "3 fresh seeds", "1 of its runs failed", "On the test images", "opened once", "0.8900"):
        assert said in text, said
    assert {path.name for path in sure.plots.glob("*.png")} >= {"confirmation.png", "test.png"}


def test_pictures_say_what_their_points_are(sure: StudyFolder) -> None:
    look(sure, {"softmax-001": [0.70, 0.72], "arcface-000": [0.88, 0.90]})
    confirmed, tested = verdict_pictures.pictures(Results(sure.root))
    names = [label.get_text() for label in confirmed.figure.axes[0].get_yticklabels()]
    assert names == ["arcface-000", "arcface-001", "softmax-001", "softmax-000"]
    drawn = [line.get_xdata() for line in confirmed.figure.axes[0].lines]
    assert any([float(value) for value in each] == [0.90, 0.92, 0.94] for each in drawn)
    assert "3 fresh seeds" in confirmed.caption
    assert "400 test images" in tested.caption
    assert "opened once" in tested.caption


def test_a_front_joins_the_trials_that_no_other_beats_in_both(tmp_path: Path, build_study: BuildStudy) -> None:
    search = {"objectives": ["accuracy", "separation"], "scheduler": "none"}
    folder = build_study(tmp_path, ["softmax"], trials={"softmax": ENDS}, search=search, examined=False)
    lines = [json.loads(line) for line in folder.trials_file.read_text().splitlines()]
    for line in lines:
        if line["event"] == "epoch":
            line["metrics"]["val/separation"] = 3.0 if line["trial"] == "softmax-000" else 2.0
    folder.trials_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (picture,) = verdict_pictures.pictures(Results(folder.root))
    points = [[*map(tuple, line.get_xydata().tolist())] for line in picture.figure.axes[0].lines]
    assert [(2.0, 0.9), (3.0, 0.7)] in points
