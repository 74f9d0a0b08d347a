"""Pictures of a search: whatever the searcher and the scheduler, at any time, and ASHA's rungs as Ray has them."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from ray.tune.schedulers import TrialScheduler

from orchestrator.figures.style import Picture
from orchestrator.reporting.pictures import head_pictures, search_pictures
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.trials.head_schedulers import HeadSchedulers

BuildStudy = Callable[..., StudyFolder]
SIX = ("softmax", "triplet", "arcface", "cosface", "sphereface", "hybrid")
ALL = ["accuracy", "progress", "curves", "maps", "margins"]


def pictures(results: Results) -> Iterator[Picture]:
    yield from search_pictures.pictures(results)
    yield from (search_pictures.parallel(results, head) for head in results.study.heads)


def is_drawn(picture: Picture) -> None:
    assert Image.open(io.BytesIO(picture.png(dpi=30))).size > (50, 50)


def words(picture: Picture) -> str:
    """All that is said outside the axes."""
    axes = [axes.get_title() or axes.get_title("left") for axes in picture.figure.axes]
    return " ".join([picture.title, picture.caption, picture.alt, picture.figure.get_suptitle(), *axes])


def test_a_finished_search_has_five_pictures_and_one_for_each_head(made_study: Callable[..., Results]) -> None:
    results = made_study(2, "softmax", "arcface")
    assert [picture.name for picture in pictures(results)] == [*ALL, "softmax-parallel", "arcface-parallel"]


@pytest.mark.parametrize("dimensions", [2, 3, 5])
def test_every_picture_has_a_title_a_caption_and_a_description(
    made_study: Callable[..., Results], dimensions: int
) -> None:
    for picture in pictures(made_study(dimensions)):
        assert picture.title
        assert picture.alt
        assert picture.caption.endswith(".")
        assert not re.search(r"None|nan|\{|\}|  ", picture.caption + picture.alt)


@pytest.mark.parametrize("name", [*ALL[:4], "arcface-parallel"])
def test_every_picture_of_something_measured_says_its_n(made_study: Callable[..., Results], name: str) -> None:
    (picture,) = [picture for picture in pictures(made_study(3)) if picture.name == name]
    assert re.search(r"\b80 validation images|n = 1|\b\d+ trials", words(picture)), f"{name} says: {words(picture)}"


def test_no_two_pictures_of_a_study_have_the_same_name(made_study: Callable[..., Results]) -> None:
    results = made_study(3, *SIX)
    found = head_pictures.bests(results)
    names = [picture.name for picture in pictures(results)]
    names += [head_pictures.side_by_side(results, found).name]
    names += [picture.name for best in found for picture in head_pictures.pictures(best)]
    names += [f"{best.head}-epochs" for best in found]
    assert len(set(names)) == len(names) == 5 + 6 + 1 + 6 * 5 + 4 + 6


@pytest.mark.parametrize(
    ("searcher", "scheduler"),
    [("tpe", "asha"), ("random", "none"), ("grid", "asha"), ("grid", "none"), ("random", "pbt")],
)
def test_pictures_of_every_searcher_and_scheduler(
    tmp_path: Path, build_study: BuildStudy, searcher: str, scheduler: str
) -> None:
    folder = build_study(tmp_path, examined=False, search={"searcher": searcher, "scheduler": scheduler})
    for picture in pictures(Results(folder.root)):
        assert ("rung" in words(picture)) is (picture.name == "curves" and scheduler == "asha")


@pytest.mark.parametrize("head", SIX)
def test_pictures_of_a_single_head(tmp_path: Path, build_study: BuildStudy, head: str) -> None:
    shown = [*pictures(Results(build_study(tmp_path, [head], examined=False).root))]
    margin = [] if head in ("softmax", "triplet") else ["margins"]
    assert [picture.name for picture in shown] == [*ALL[:4], *margin, f"{head}-parallel"]
    is_drawn(shown[-1])


def test_a_search_of_nothing_has_no_map(tmp_path: Path, build_study: BuildStudy) -> None:
    folder = build_study(tmp_path, ["softmax"], examined=False)
    fixed = {"softmax": {"lr": 0.01, "head_lr": 0.05, "weight_decay": 0.01, "warmup_share": 0.25}}
    study = Study.model_validate(Results(folder.root).study.model_dump() | {"heads": fixed})
    folder.study_file.write_text(study.to_yaml())
    assert [picture.name for picture in search_pictures.pictures(Results(folder.root))] == ALL[:3]


RUNNING: dict[str, Any] = {
    "no trial yet": {"softmax": [], "arcface": []},
    "no epoch yet": {"softmax": [([], "running")], "arcface": [([], "running")]},
    "no trial has ended": {"softmax": [([0.5, 0.6], "running")], "arcface": [([0.4], "running")]},
    "one head has a result": {"softmax": [([0.5], "stopped"), ([0.7], "running")], "arcface": []},
    "all are lost": {"softmax": [([], "failed")], "arcface": [([0.2], "diverged"), ([], "failed")]},
    "zero": {"softmax": [([0.0], "completed")], "arcface": [([1.0, 1.0], "completed")]},
}


@pytest.mark.parametrize("ends", RUNNING.values(), ids=list(RUNNING))
def test_pictures_while_it_runs(tmp_path: Path, build_study: BuildStudy, ends: dict[str, Any]) -> None:
    results = Results(build_study(tmp_path, [*ends], trials=ends, examined=False).root)
    for picture in search_pictures.pictures(results):
        is_drawn(picture)
    assert ("accuracy" in {picture.name for picture in search_pictures.pictures(results)}) is bool(results.best)


def test_the_ticks_beside_a_best_are_the_other_trials(tmp_path: Path, build_study: BuildStudy) -> None:
    ends = {"softmax": [([0.7, 0.8, 0.9], "completed"), ([0.5], "stopped"), ([0.88], "completed")]}
    results = Results(build_study(tmp_path, ["softmax"], trials=ends, examined=False).root)
    (axes,) = next(search_pictures.pictures(results)).figure.axes
    ticks = [value for line in axes.lines if line.get_marker() == "|" for value in line.get_xdata()]
    assert sorted(ticks) == [0.5, 0.88]


def test_time_is_counted_from_where_the_caption_and_the_axis_say(made_study: Callable[..., Results]) -> None:
    picture = next(picture for picture in search_pictures.pictures(made_study(3)) if picture.name == "progress")
    axis = picture.figure.axes[1].get_xlabel()
    assert ("first result" in picture.caption) == ("first result" in axis), f"{picture.caption} / {axis}"


def stopped_at(study: Study) -> list[int]:
    """The epochs at which a trial that has just become poor is stopped by Tune's own ASHA."""
    found = []
    for last in range(1, study.training.epochs):
        schedulers = HeadSchedulers(study, {"softmax": {}})
        decisions: list[str] = []
        for name, ending in (("softmax-000", 0.9), ("softmax-001", 0.1)):
            trial = SimpleNamespace(config={"trial": {"head": "softmax", "name": name}})
            schedulers.on_trial_add(None, trial)
            for epoch in range(1, last + 1):
                objective = ending if epoch == last else 0.9
                decisions.append(schedulers.on_trial_result(None, trial, {"epoch": epoch, "objective": objective}))
        if decisions[-1] == TrialScheduler.STOP:
            found.append(last)
    return found


@pytest.mark.parametrize("epochs", [1, 2, 9, 10, 12, 28])
@pytest.mark.parametrize(("grace", "factor"), [(1, 3), (1, 2), (2, 2), (3, 4), (1, 16)])
def test_the_rungs_are_those_at_which_ray_stops_trials(made_study: Any, epochs: int, grace: int, factor: int) -> None:
    content = {
        "name": "x",
        "heads": {"softmax": {}},
        "training": {"epochs": epochs},
        "search": {"grace_epochs": min(grace, epochs), "reduction_factor": factor},
    }
    study = Study.model_validate(content)
    assert search_pictures.rungs(SimpleNamespace(study=study)) == stopped_at(study)  # type: ignore[arg-type]


@pytest.mark.parametrize("scheduler", ["none", "pbt"])
def test_without_asha_there_are_no_rungs(scheduler: str) -> None:
    search = {"scheduler": scheduler, "searcher": "random"}
    study = Study.model_validate({"name": "x", "heads": {"softmax": {}}, "search": search})
    assert search_pictures.rungs(SimpleNamespace(study=study)) == []  # type: ignore[arg-type]


def test_the_caption_of_the_curves_names_the_rungs(made_study: Callable[..., Results]) -> None:
    results = made_study(3)
    picture = next(picture for picture in search_pictures.pictures(results) if picture.name == "curves")
    assert search_pictures.rungs(results) == [1]
    assert "rungs, after epochs 1." in picture.caption


def test_a_clock_that_steps_back_turns_no_trial_into_an_earlier_one() -> None:
    clock = ["10:00:00", "10:01:00", "09:00:00", "09:02:00", "09:02:30"]
    events = [{"event": "start", "trial": "a-000", "time": "2026-01-01T08:00:00.000+00:00"}]
    for number, at in enumerate(clock):
        events.append({"event": "epoch", "trial": "a-000", "epoch": number, "time": f"2026-01-01T{at}.000+00:00"})
    assert [*search_pictures.minutes(events).values()] == [0, 1, 1, 3, 3.5]
    assert search_pictures.minutes([]) == {}
