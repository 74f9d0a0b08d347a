"""What a study will cost, and that everything which cannot run is refused before anything starts."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.cluster.resources import Fleet, Node
from orchestrator.errors import CannotRun, Problem
from orchestrator.files import disk
from orchestrator.planning import plan
from orchestrator.study.schema import Study

MakeStudy = Callable[..., Study]


@pytest.fixture(autouse=True)
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same machine wherever the tests run: four cores, no GPU, 16 GB, an empty disk."""
    monkeypatch.setattr(plan.Fleet, "here", staticmethod(lambda: Fleet((Node(4, memory_bytes=16 * 10**9),))))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**12))


def refused(study: Study, results: Path) -> tuple[Problem, ...]:
    with pytest.raises(CannotRun) as caught:
        plan.make(study, results)
    assert not results.exists()
    return caught.value.problems


def test_counts_trials_epochs_and_image_passes(tiny_study: MakeStudy, tmp_path: Path) -> None:
    study = tiny_study(search={"trials_per_head": 5}, training={"epochs": 3}, confirmation={"top": 0})
    planned = plan.make(study, tmp_path)
    assert (planned.trials, planned.confirming) == (10, 0)
    assert (planned.epochs, planned.image_passes) == (30, 30 * 80)
    assert (len(planned.data.train), len(planned.data.validation), planned.data.num_classes) == (80, 40, 4)
    assert planned.folder.root == tmp_path / "tiny"
    assert planned.warnings == ()


@pytest.mark.parametrize(
    ("trials", "scheduler", "confirmation", "runs"),
    [
        (3, "none", {}, 0),  # little to choose from
        (4, "none", {}, 3),  # the best on three seeds
        (20, "none", {}, 20),  # four on five, as much as the search again
        (20, "asha", {}, 10),
        (2, "none", {"top": 2, "seeds": 3}, 6),
        (2, "none", {"top": 9, "seeds": 3}, 6),  # of two trials
        (20, "none", {"top": 0}, 0),
        (20, "none", {"seeds": 0}, 0),
    ],
)
def test_the_confirmation_is_part_of_the_cost(
    tiny_study: MakeStudy, tmp_path: Path, trials: int, scheduler: str, confirmation: dict[str, int], runs: int
) -> None:
    search = {"trials_per_head": trials, "scheduler": scheduler}
    planned = plan.make(tiny_study(search=search, confirmation=confirmation), tmp_path)
    assert (planned.trials, planned.confirming) == (2 * trials, 2 * runs)
    assert planned.epochs == 2 * (2 * trials + 2 * runs)
    assert planned.image_passes == 80 * planned.epochs
    told = planned.as_dict()
    assert (told["confirmation_runs"], told["most_epochs"]) == (planned.confirming, planned.epochs)
    none = plan.make(tiny_study(search=search, confirmation={"top": 0}), tmp_path)
    assert (planned.disk_bytes > none.disk_bytes) == (runs > 0)


def test_a_plan_is_told_as_json(tiny_study: MakeStudy, tmp_path: Path) -> None:
    planned = plan.make(tiny_study(), tmp_path)
    told = json.loads(json.dumps(planned.as_dict(), allow_nan=False))
    assert (told["trials"], told["confirmation_runs"]) == (4, 0)
    assert (told["most_epochs"], told["most_image_passes"]) == (8, 640)
    assert (told["classes"], told["train_images"], told["validation_images"]) == (4, 80, 40)
    assert told["heads"]["arcface"]["detach_margin"]["value"] is False
    assert told["heads"]["arcface"]["margin_rad"]["max"] == 0.7
    assert "4 classes in 3-D" in told["heads"]["arcface"]["margin_rad"]["reason"]


def test_planning_writes_nothing(tiny_study: MakeStudy, tmp_path: Path) -> None:
    plan.make(tiny_study(), tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("cpu", "concurrent", "slots"),
    [(1, "auto", 4), (2, "auto", 2), (3, "auto", 1), (0.5, "auto", 8), (1, 3, 3), (2, 9, 2)],
)
def test_as_many_trials_run_at_a_time_as_fit_and_are_asked_for(
    tiny_study: MakeStudy, tmp_path: Path, cpu: float, concurrent: Any, slots: int
) -> None:
    study = tiny_study(resources={"cpu": cpu}, search={"concurrent_trials": concurrent})
    assert plan.make(study, tmp_path).slots == slots


def test_a_gpu_limits_how_many_run_at_a_time(
    tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan.Fleet, "here", staticmethod(lambda: Fleet((Node(16, 1, memory_bytes=64 * 10**9),))))
    assert plan.make(tiny_study(resources={"gpu": 0.5}), tmp_path).slots == 2


def test_more_of_everything_needs_more_disk(tiny_study: MakeStudy, tmp_path: Path) -> None:
    def disk(**changes: Any) -> int:
        return plan.make(tiny_study(**changes), tmp_path).disk_bytes

    assert disk(tracking={"mode": "off"}) < disk() < disk(search={"trials_per_head": 9})
    assert disk() < disk(training={"epochs": 9})
    assert disk() < disk(embedding_dim=512)


def test_a_taken_name_is_refused(tiny_study: MakeStudy, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    plan.make(tiny_study(), tmp_path)  # an empty folder takes nothing
    (tmp_path / "tiny" / "study.yaml").touch()
    with pytest.raises(CannotRun) as caught:
        plan.make(tiny_study(), tmp_path)
    (problem,) = caught.value.problems
    assert (problem.place, problem.rule) == ("name", "each study has a folder of its own")
    assert str(tmp_path / "tiny") in problem.value
    assert f"orchestrator resume {tmp_path / 'tiny'}" in problem.fix
    assert "--next-name" in problem.fix
    assert plan.make(tiny_study(), tmp_path, resuming=True).trials == 4


def test_a_file_in_the_place_of_the_folder_is_refused(tiny_study: MakeStudy, tmp_path: Path) -> None:
    (tmp_path / "tiny").write_text("not a folder")
    with pytest.raises(CannotRun) as caught:
        plan.make(tiny_study(), tmp_path)
    assert [problem.place for problem in caught.value.problems] == ["name"]


@pytest.mark.parametrize(
    ("resources", "place", "rule", "value", "fix"),
    [
        ({"cpu": 5}, "resources.cpu", "this machine has 4 cores", "5 for each trial", "write cpu: 4 or less"),
        ({"gpu": 1}, "resources.gpu", "this machine has 0 GPUs", "1 for each trial", "write gpu: 0"),
        ({"tpu": 8}, "resources.tpu", "this machine has 0 TPU chips", "8 for each trial", "write tpu: 0"),
    ],
)
def test_resources_that_the_machine_has_not_are_refused(
    tiny_study: MakeStudy, tmp_path: Path, resources: dict[str, float], place: str, rule: str, value: str, fix: str
) -> None:
    assert refused(tiny_study(resources=resources), tmp_path / "r") == (Problem(place, rule, value, fix),)


def test_a_full_disk_is_refused(tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=10**8 if path == tmp_path else 10**12)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    (problem,) = refused(tiny_study(), tmp_path / "not" / "yet" / "there")
    assert problem.place == "results"
    assert "0.1 GB free" in problem.value
    assert asked[0] == tmp_path


def test_where_memory_is_short_the_plan_knows_what_may_be_lowered(tiny_study: MakeStudy, tmp_path: Path) -> None:
    fleet = Fleet((Node(2, memory_bytes=2e9),))
    two = plan.make(tiny_study(), tmp_path, fleet=fleet)
    lower = f"; search.concurrent_trials may be lowered in {two.folder.study_file}"
    assert two.memory == f"2 trials at a time: about 1.4 GB of 2.0 GB{lower}"
    one = plan.make(tiny_study(search={"concurrent_trials": 1}), tmp_path, fleet=fleet)
    assert one.memory == "1 trial at a time: about 0.7 GB of 2.0 GB"


def test_a_study_that_goes_on_needs_no_room_for_what_it_has_written(
    tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tiny_study()
    needed = plan.make(study, tmp_path, resuming=True).disk_bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=needed - 1000))
    with pytest.raises(CannotRun, match="the disk must have room"):
        plan.make(study, tmp_path, resuming=True)
    written = tmp_path / study.name / "ray/attempt-1/arcface-000"
    written.mkdir(parents=True)
    (written / "last.ckpt").write_bytes(bytes(1000))
    (written / "gone").symlink_to(tmp_path / "nowhere")
    assert plan.make(study, tmp_path, resuming=True).study == study
    with pytest.raises(CannotRun, match="the disk must have room"):
        plan.make(study, tmp_path / "elsewhere")


def test_where_there_is_room_nobody_counts_what_a_study_has_written(
    tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To look at each of a hundred thousand files of a network disk takes minutes."""
    monkeypatch.setattr(disk, "used_bytes", lambda folder: pytest.fail("it looks at every file"))
    assert plan.make(tiny_study(), tmp_path, resuming=True).trials == 4


@pytest.mark.parametrize(("size", "fix"), [(81, "write 64 or less"), (1024, "write 64 or less")])
def test_a_batch_larger_than_the_training_images_is_refused(
    tiny_study: MakeStudy, tmp_path: Path, size: int, fix: str
) -> None:
    (problem,) = refused(tiny_study(training={"batch_size": size}), tmp_path / "r")
    assert (problem.place, problem.value, problem.fix) == ("training.batch_size", str(size), fix)
    assert "80 training images" in problem.rule


@pytest.mark.parametrize(
    ("images", "workers", "fix"),
    [
        (80, 3, "write 78"),
        (80, 4, "write 64"),
        (12, 1, "use 16 images or more to train on: a batch has 16 at least"),
        (40, 64, "use 64 images or more to train on: a batch has 16 at least"),
    ],
)
def test_the_size_that_is_offered_for_a_batch_is_one_that_can_be(
    tiny_study: MakeStudy, tmp_path: Path, images: int, workers: int, fix: str
) -> None:
    changes: dict[str, Any] = {"data": {"validation_images": 120 - images}, "resources": {"workers": workers}}
    changes["resources"]["cpu"] = 0.01
    study = tiny_study(training={"batch_size": 192}, **changes)
    (problem,) = refused(study, tmp_path / "r")
    assert (problem.place, problem.fix) == ("training.batch_size", fix)
    if fix.startswith("write"):
        plan.make(tiny_study(training={"batch_size": int(fix.removeprefix("write "))}, **changes), tmp_path / "r")


def test_everything_that_stands_in_the_way_is_said_at_once(
    tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    study = tiny_study(resources={"cpu": 64, "gpu": 8}, training={"batch_size": 512})
    places = [problem.place for problem in refused(study, tmp_path / "r")]
    assert places == ["resources.cpu", "resources.gpu", "results", "TMPDIR", "training.batch_size"]


GRID = {"heads": {"arcface": {"lr": 0.01, "head_lr": 0.01, "scale": 16}}}  # margin_rad alone is searched


def test_a_grid_with_fewer_points_than_trials_is_refused(tiny_study: MakeStudy, tmp_path: Path) -> None:
    study = tiny_study(**GRID, search={"searcher": "grid", "grid_points": 3, "trials_per_head": 4})
    (problem,) = refused(study, tmp_path / "r")
    assert (problem.place, problem.value) == ("heads.arcface", "3 points for 4 trials")
    assert problem.fix.endswith("trials_per_head: 3")
    enough = tiny_study(**GRID, search={"searcher": "grid", "grid_points": 4, "trials_per_head": 4})
    assert plan.make(enough, tmp_path).trials == 4


def test_a_grid_that_is_much_too_large_is_refused(tiny_study: MakeStudy, tmp_path: Path) -> None:
    study = tiny_study(search={"searcher": "grid", "grid_points": 100}, heads={"arcface": {}})
    (problem,) = refused(study, tmp_path / "r")
    assert problem.place == "heads.arcface"
    assert problem.value == "1,010,000 points"
    assert "at most 100,000 points" in problem.rule


def test_warns_where_a_study_runs_otherwise_than_it_may_seem(tiny_study: MakeStudy, tmp_path: Path) -> None:
    planned = plan.make(tiny_study(search={"concurrent_trials": 9}), tmp_path)
    (concurrency,) = planned.warnings
    assert "concurrent_trials is 9, but only 4 fit" in concurrency


def test_warns_where_a_margin_is_asked_to_grow_for_longer_than_it_may(tiny_study: MakeStudy, tmp_path: Path) -> None:
    def warnings(own: dict[str, float], **training: float) -> tuple[str, ...]:
        heads = {"softmax": {}, "triplet": {}, "arcface": own, "cosface": {}}
        return plan.make(tiny_study(heads=heads, training={"epochs": 4, **training}), tmp_path).warnings

    rule = "margins grow for at most half of the training, 2 epochs; margin_warmup_epochs:"
    assert warnings({"margin_warmup_epochs": 2.0}) == ()
    assert warnings({"margin_warmup_epochs": 2.5}) == (f"{rule} arcface 2.5",)
    assert warnings({}, margin_warmup_epochs=3.0) == (f"{rule} arcface 3, cosface 3",)


def test_warns_where_memory_will_be_short(
    tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan.Fleet, "here", staticmethod(lambda: Fleet((Node(4, memory_bytes=2 * 10**9),))))
    study = tiny_study(search={"scheduler": "none"})
    (warning,) = plan.make(study, tmp_path).warnings
    assert warning == "4 trials at a time need about 2.8 GB of the 2.0 GB of memory"


def test_the_next_free_name_is_taken(tiny_study: MakeStudy, tmp_path: Path) -> None:
    study = tiny_study()
    assert plan.free_name(study, tmp_path) == study
    for taken, free in (("tiny", "tiny-2"), ("tiny-2", "tiny-3")):
        (tmp_path / taken).mkdir()
        renamed = plan.free_name(study, tmp_path)
        assert renamed.name == free
        assert renamed.model_copy(update={"name": "tiny"}) == study


def test_the_next_free_name_of_a_long_one_is_still_a_name(tiny_study: MakeStudy, tmp_path: Path) -> None:
    study = tiny_study(name="a" * 64)
    (tmp_path / study.name).mkdir()
    renamed = plan.free_name(study, tmp_path)
    (tmp_path / "study.yaml").write_text(renamed.to_yaml())
    assert Study.load(tmp_path / "study.yaml") == renamed


def test_the_machine_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    machine = Fleet.here()
    assert machine.cpus >= 1
    assert machine.gpus >= 0
    assert machine.memory_bytes > 10**8


def test_planning_loads_no_framework(tiny_study: MakeStudy, tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(tiny_study(heads={"softmax": {}}).to_yaml())
    code = (
        "import sys\n"
        "from orchestrator.planning import plan\n"
        "from orchestrator.study.schema import Study\n"
        f"print(plan.make(Study.load({str(tmp_path / 'tiny.yaml')!r}), {str(tmp_path)!r}).trials)\n"
        "heavy = {'torch', 'ray', 'pytorch_lightning', 'wandb', 'matplotlib', 'optuna', 'scipy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["2", "[]"]
