"""README's tables hold the records' own numbers, and README is what the published studies make of it."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from orchestrator.storage.study_folder import StudyFolder
from tests.benchmarks import showcase
from tests.benchmarks.showcase import Published

ROOT = Path(__file__).parents[1]
REFERENCE: dict[str, Any] = {
    "body": {"name": "reference", "depth": 8},
    "train_images": 50_000,
    "heads": {"arcface": {"epochs": 20, "accuracy": {"2": 0.9280, "3": 0.9710}}},
}
OWN, DISTANCE = [0.990, 0.992, 0.991], [0.988, 0.989, 0.990]


@pytest.fixture
def published(tmp_path: Path, build_study: Callable[..., StudyFolder]) -> Published:
    """A made study of arcface and softmax, tested on three seeds: softmax scores less on each."""
    folder = build_study(tmp_path, ("softmax", "arcface"), body={"name": "strided"}, examined=False)
    best = {head: trial.name for head, trial in showcase.Results(folder.root).best.items()}
    events: list[dict[str, Any]] = [
        {"event": "asked", "configurations": [*best.values()], "seeds": [7, 8, 9], "racing": False}
    ]
    for head, name in best.items():
        for number in (1, 2, 3):
            run = f"{name}-final-{number}"
            events.append(
                {"event": "start", "trial": run, "head": head, "index": number, "seed": 6 + number, "params": {}}
            )
            events.append({"event": "epoch", "trial": run, "epoch": 1, "objective": 1.0, "metrics": {}})
            events.append({"event": "end", "trial": run, "status": "completed", "reason": ""})
    events.append({"event": "opened", "number": 1, "by": "test", "forced": False, "git": None, "orchestrator": "0.1.0"})
    for head, name in best.items():
        for number, (own, distance) in enumerate(zip(OWN, DISTANCE, strict=True), start=1):
            worse = 0.05 if head == "softmax" else 0.0
            measures = {"cluster_accuracy": own - worse, "cluster_accuracy_euclidean": distance - worse}
            measured = {"run": f"{name}-final-{number}", "images": 10_000, "measures": measures}
            events.append({"event": "measured", "opening": 1, **measured})
    at = {"time": "2026-01-02T10:00:00.000+00:00"}
    folder.test_file.write_text("".join(json.dumps({**event, **at}) + "\n" for event in events))
    return Published(folder.root, REFERENCE)


def test_a_row_is_mean_interval_and_number_of_the_sealed_test_on_both_geometries(published: Published) -> None:
    own, distance, reference, _ = published.cells("arcface")
    half = stats.t.ppf(0.975, 2) * statistics.stdev(OWN) / 3**0.5
    assert own == f"0.9910 ± {half:.4f} (n = 3)"
    assert distance.startswith("0.9890 ± ")
    assert reference == "0.9710"


def test_what_was_computed_is_passes_times_multiply_adds(published: Published) -> None:
    study = published.results.study
    images = published.results.provenance["train_images"] + study.data.validation_images
    less = 20 * 50_000 * 17.2e6 / (study.training.epochs * images * 0.746e6)
    assert float(published.cells("arcface")[3].removesuffix(" ×")) == pytest.approx(less, rel=0.01)


def test_a_head_without_reference_or_without_a_test_has_none(published: Published) -> None:
    assert published.cells("softmax")[2:] == ["–", "–"]
    assert published.cells("triplet") == ["–"] * 4


def test_the_section_says_which_heads_differ(published: Published) -> None:
    said = showcase.section([published], ["arcface", "softmax"], "heads.png")
    assert "| arcface | 0.9910 ± " in said
    assert "arcface is better than softmax by 0.0500 at n = 3" in said
    assert "10,000 sealed test images" in said
    assert "![The embeddings of arcface, softmax](heads.png)" in said


def test_only_what_stands_between_the_marks_is_replaced() -> None:
    readme = f"before\n{showcase.BEGIN}old\n{showcase.END}after\n"
    new = showcase.inserted(readme, "new\n")
    assert new == f"before\n{showcase.BEGIN}new\n{showcase.END}after\n"
    with pytest.raises(ValueError, match="no place"):
        showcase.inserted("before\nafter\n", "new\n")


def test_every_head_of_the_published_studies_has_its_picture(published: Published) -> None:
    panels = published.panels(["arcface", "triplet", "softmax"])
    assert [panel.title.splitlines()[0] for panel in panels] == ["arcface, 3-D", "softmax, 3-D"]


def test_readme_is_what_the_published_studies_make_of_it() -> None:
    results, readme = ROOT / "results", (ROOT / "README.md").read_text()
    reference = json.loads((results / "reference.json").read_text())
    opened = [name for name in showcase.STUDIES if (results / name / "test.jsonl").exists()]
    found = [Published(results / name, reference) for name in opened]
    if not found:
        pytest.skip("no study with an opened test is published yet")
    content = showcase.section(found, [*reference["heads"], "hybrid"], "results/heads.png")
    assert showcase.inserted(readme, content) == readme
