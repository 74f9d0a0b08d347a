"""The benchmarks' study can run, and their figures come out of a record; speeds themselves are never asserted."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

from orchestrator import Results, Study
from orchestrator.files.atomic import write_atomic
from orchestrator.planning import plan
from orchestrator.storage.event_log import Trial, replay
from tests.benchmarks import ablation, losses, published, records, scale, startup, tracking, whole_search
from tests.benchmarks.showcase import inserted


@pytest.fixture
def overhead() -> ModuleType:
    return importlib.import_module("tests.benchmarks.overhead")


def test_the_study_of_the_overhead_benchmark_is_twelve_trials_of_one_epoch(
    overhead: ModuleType, tmp_path: Path
) -> None:
    """The published overhead is of so many trials, so the benchmark must run those."""
    planned = plan.make(Study.load("quick", overhead.OVERRIDES), tmp_path)
    assert (planned.trials, planned.epochs) == (12, 12)


def test_overhead_is_what_is_left_of_the_wall_time_beside_training(overhead: ModuleType, tmp_path: Path) -> None:
    study = Study.load("quick", [*overhead.OVERRIDES, "search.trials_per_head=2"])
    folder = plan.make(study, tmp_path).folder
    write_atomic(folder.study_file, study.to_yaml())
    with folder.writer() as writer:
        for number, head in enumerate(("arcface", "cosface") * 2):
            name = f"{head}-{number // 2:03d}"
            times = {"time/train_s": 3.0, "time/validation_s": 0.5, "time/setup_s": 2.0 if number < 2 else 0.1}
            start = {"head": head, "index": number // 2, "seed": 0, "params": {}}
            writer.append({"event": "start", "trial": name, **start})
            writer.append({"event": "epoch", "trial": name, "epoch": 1, "objective": 0.9, "metrics": times})
            writer.append({"event": "end", "trial": name, "status": "completed", "reason": ""})
    found = overhead.figures(Results(folder.root), wall_s=10.0)
    assert found["outside_training_s_per_trial"] == (2 * 10.0 - 4 * 3.0) / 4
    assert found["outside_training_share_of_wall"] == 0.4
    assert (found["setup_s_first_in_a_process"], found["setup_s_later_worst"]) == (2.0, 0.1)


@pytest.mark.parametrize("way", tracking.WAYS)
def test_the_searches_of_the_tracking_benchmark_differ_in_tracking_alone(way: str, tmp_path: Path) -> None:
    study = Study.load("quick", [*tracking.OVERRIDES, f"tracking.mode={way}"])
    assert plan.make(study, tmp_path).trials == 4
    off = Study.load("quick", [*tracking.OVERRIDES, "tracking.mode=off"])
    assert study.model_dump(exclude={"tracking"}) == off.model_dump(exclude={"tracking"})


def test_the_search_of_the_scale_benchmark_is_of_so_many_trials(tmp_path: Path) -> None:
    planned = plan.make(Study.load("quick", scale.OVERRIDES), tmp_path)
    assert (planned.trials, planned.epochs) == (scale.MARKS[-1], scale.MARKS[-1])


def test_scale_is_measured_between_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scale, "MARKS", (2, 4))
    marks, trial = scale.Marks(), Trial("arcface-000", "arcface", 0, 0, {})
    moments = iter([100.0, 103.0, 109.0])
    monkeypatch.setattr(scale.time, "perf_counter", lambda: next(moments))
    marks.started(trial)
    for _ in range(4):
        marks.ended(trial)
    assert marks.found["seconds_per_trial_0_to_2"] == 1.5
    assert marks.found["seconds_per_trial_2_to_4"] == 3.0
    assert marks.found["driver_mb_at_4"] > 10


def test_both_whole_searches_are_of_the_same_trials(tmp_path: Path) -> None:
    same, own = (plan.make(Study.load("mnist_3d", each), tmp_path) for each in (whole_search.SAME, whole_search.OURS))
    assert same.trials == own.trials == whole_search.TRIALS
    assert same.study.training.epochs == whole_search.EPOCHS
    (space,) = same.spaces.values()
    assert space["magnitude"].parameter.is_constant


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context:DeprecationWarning")  # the library's
@pytest.mark.parametrize("number", range(len(losses.ANGULAR) + len(losses.MINED)))
def test_both_ways_of_a_loss_compute_the_same_gradient(number: int) -> None:
    head, ours, theirs = losses.pairs(10)[number]
    slopes = [step() for step in (ours, theirs)]
    assert slopes[0].norm() > 0
    torch.testing.assert_close(*slopes, rtol=1e-3, atol=1e-6, msg=head)


def test_the_peak_of_memory_is_what_a_step_holds_at_a_time() -> None:
    kept: list[torch.Tensor] = []

    def step() -> None:
        first = torch.zeros(1000)
        del first
        second, third = torch.zeros(2000), torch.zeros(500)
        kept[:] = [second + 1]
        del second, third

    assert losses.peak_bytes(step) == pytest.approx(4 * (2000 + 500 + 2000), rel=0.01)


def test_the_records_of_the_benchmark_are_those_of_a_search() -> None:
    trials = replay([event for number in range(4) for event in records.of_trial(number)])
    assert [trial.status for trial in trials.values()] == ["completed"] * 4
    assert [len(trial.epochs) for trial in trials.values()] == [records.EPOCHS] * 4


def test_the_launch_of_the_startup_benchmark_is_one_trial(tmp_path: Path) -> None:
    overrides = [each.removeprefix("--set=") for each in startup.SMALL if each.startswith("--set=")]
    planned = plan.make(Study.load("quick", overrides), tmp_path)
    assert (planned.trials, planned.confirming) == (1, 0)


def test_what_was_not_measured_is_left_open_in_the_table() -> None:
    machine = {"date": "2026-01-02", "cores": 2, "memory_gb": 8, "processor": "processor"}
    machine |= {"packages": {"torch": "2", "pytorch-lightning": "3", "ray": "4"}}
    ratio = {f"trial_over_bare_loop{end}": value for end, value in (("", 0.934), ("_lowest", 0.9), ("_highest", 1.0))}
    ratio |= {"rounds": 3}
    said = published.section({"machine": machine, "throughput": ratio, "whole_search": {"trials": 6, "epochs": 4}})
    assert "on 2026-01-02: 2 cores of an processor, 8 GB, torch 2, pytorch-lightning 3, ray 4." in said
    assert "| 0.93 × (0.90 … 1.00 in 3 rounds) |" in said
    assert "a search of 6 trials, 4 epochs, " in said
    assert said.count("| – |") == len(published.ROWS) - 1


def test_readme_says_what_the_published_run_measured() -> None:
    root = Path(__file__).parents[1]
    known, readme = json.loads((root / "results" / "benchmarks.json").read_text()), (root / "README.md").read_text()
    content = published.section(known)
    assert "| – |" not in content
    assert inserted(readme, content, published.BEGIN, published.END) == readme


@pytest.mark.parametrize("dimensions", ablation.DIMENSIONS)
@pytest.mark.parametrize("variant", ablation.VARIANTS, ids=lambda variant: variant.name)
def test_a_variant_of_the_ablation_differs_from_the_recipe_in_what_it_says(
    variant: ablation.Variant, dimensions: int
) -> None:
    plain = ablation.recipe(ablation.Variant("the recipe", head=variant.head), dimensions)
    study, params = ablation.recipe(variant, dimensions)
    settings = [{**each.training.model_dump(), **each.body.options()} for each in (plain[0], study)]
    pairs = [settings, (plain[1], params)]
    differ = {name for one, other in pairs for name in one.keys() | other.keys() if one.get(name) != other.get(name)}
    named = {override.partition("=")[0].rpartition(".")[2] for override in variant.overrides}
    assert differ == named | ({"magnitude"} if "scale" in named else set())


def test_the_published_ablation_is_of_the_record_beside_it_and_of_todays_variants() -> None:
    results = Path(__file__).parents[1] / "results"
    rows = [json.loads(line) for line in (results / "ablation.jsonl").read_text().splitlines()]
    assert (results / "ablation.md").read_text() == ablation.table(rows)
    assert len(rows) == sum(each.seeds for each in ablation.VARIANTS) * len(ablation.DIMENSIONS)
    for row in rows:
        (variant,) = [each for each in ablation.VARIANTS if each.name == row["variant"]["name"]]
        assert row["params"] == ablation.recipe(variant, row["dimensions"])[1]
