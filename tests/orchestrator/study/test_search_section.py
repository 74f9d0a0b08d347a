"""The `search` section: its keys side by side in a file, and inside the options of what is chosen alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import StudyError
from orchestrator.planning import cautions
from orchestrator.search.samplers.grid import Grid
from orchestrator.search.schedulers.asha import Asha
from orchestrator.search.schedulers.none import NoScheduler
from orchestrator.search.schedulers.pbt import Pbt
from orchestrator.study.schema import Search, Study

KEYS = [  # of the normal form that the record of a study keeps: those of before, in their order
    "trials_per_head", "searcher", "scheduler", "seed", "concurrent_trials", "start_from_defaults", "grid_points",
    "grace_epochs", "reduction_factor", "perturb_every_epochs", "process_failures", "stalled_after_s", "most_failures",
    "joint", "objectives", "allow_unequal", "start_at",
]  # fmt: skip
WRITTEN: list[dict[str, Any]] = [
    {},
    {"scheduler": "none"},
    {"grace_epochs": 2, "reduction_factor": 2},
    {"scheduler": "none", "grace_epochs": 2},
    {"searcher": "random", "scheduler": "pbt", "grace_epochs": 2, "perturb_every_epochs": 3},
    {"searcher": "grid", "grid_points": 5, "perturb_every_epochs": 3},
]


def study(search: dict[str, Any]) -> Study:
    return Study.model_validate({"name": "s", "heads": {"arcface": {}}, "search": search})


@pytest.mark.parametrize("search", WRITTEN, ids=str)
def test_the_keys_of_a_file_come_back_as_they_were_written(search: dict[str, Any]) -> None:
    read = study(search)
    assert read.model_dump(exclude_defaults=True).get("search", {}) == search
    normal = read.model_dump(mode="json")["search"]
    assert [*normal] == KEYS == Search.written_keys()
    assert {key: normal[key] for key in search} == search
    assert study(normal) == read
    assert Study.model_validate_json(read.model_dump_json()) == read


def test_what_is_chosen_has_its_own_options_and_no_others() -> None:
    search = study({"searcher": "random", "scheduler": "pbt", "grace_epochs": 2, "perturb_every_epochs": 3}).search
    assert search.scheduler == Pbt(perturb_every_epochs=3)
    assert not hasattr(search.scheduler, "grace_epochs")
    assert not hasattr(search, "grace_epochs")
    with pytest.raises(ValueError, match="perturb_every_epochs"):
        Asha(perturb_every_epochs=3)  # type: ignore[call-arg]


def test_an_option_that_nothing_reads_stays_in_the_file_and_a_plan_says_so() -> None:
    asked = study({"searcher": "random", "scheduler": "none", "grace_epochs": 2, "grid_points": 5})
    said = (
        "nothing reads search.grid_points, search.grace_epochs: searcher random and scheduler none have no such option"
    )
    assert [each for each in cautions.of(asked, 10) if "nothing reads" in each] == [said]
    assert not any("nothing reads" in each for each in cautions.of(study({"grace_epochs": 2}), 10))


def test_python_may_give_a_sampler_and_a_scheduler_themselves() -> None:
    search = Search(sampler=Grid(grid_points=4), scheduler=NoScheduler(), trials_per_head=3)
    assert search == study({"searcher": "grid", "grid_points": 4, "scheduler": "none", "trials_per_head": 3}).search
    assert search.model_copy(update={"scheduler": Asha(grace_epochs=2)}).model_dump()["grace_epochs"] == 2


@pytest.mark.parametrize(
    ("search", "places", "fix"),
    [
        ("{scheduler: none, grace_epochs: 0}", ["search.grace_epochs"], "write a number in that range"),
        ("{grid_points: many, grace_epochs: 0}", ["search.grace_epochs", "search.grid_points"], "without quotes"),
        ("{searcher: , scheduler: [asha]}", ["search.searcher", "search.scheduler"], "did you mean asha?"),
        ("{sampler: tpe}", ["search.sampler"], "there are"),
        ("{unread: {}}", ["search.unread"], "there are"),
        ("{scheduler: {scheduler: asha}}", ["search.scheduler"], "there are"),
        ("{perturb_epochs: 1, seed: -1}", ["search.seed", "search.perturb_epochs"], "mean perturb_every_epochs?"),
        ("asha", ["search"], "write keys below it, one a line"),
    ],
)
def test_what_is_wrong_is_told_at_its_place_in_the_file(
    tmp_path: Path, search: str, places: list[str], fix: str
) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(f"name: wrong\nheads: {{arcface: }}\nsearch: {search}\n")
    with pytest.raises(StudyError) as caught:
        Study.load(file)
    assert sorted(problem.place for problem in caught.value.problems) == sorted(places)
    assert all(problem.line == 3 for problem in caught.value.problems)
    assert any(fix in problem.fix for problem in caught.value.problems)
