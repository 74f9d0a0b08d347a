"""The best value of a setting at an edge of its range: when it is one, how far the wider study goes, and its file."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.selection.boundary_optima import EdgeHit, hits, wider_study, write_wider
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study import validation
from orchestrator.study.schema import Study
from search_spaces import class_separation, distributions
from search_spaces.distributions import Range
from search_spaces.heads import HEADS, settings_of, space_of

CLASSES = 10


def make_study(head: str, written: dict[str, Any], name: str = "edges", dimensions: int = 3) -> Study:
    """A study in which only these settings of the head are searched."""
    fixed = {
        name: item.start
        for name, item in Study(name="x", heads={head: {}}, embedding_dim=dimensions).spaces(CLASSES)[head].items()
        if name not in written and name != ("magnitude" if "scale" in written else "scale")
    }
    return Study.model_validate({"name": name, "heads": {head: fixed | written}, "embedding_dim": dimensions})


def found_hits(study: Study, params: dict[str, Any], classes: int = CLASSES) -> list[EdgeHit]:
    (head,) = study.heads
    best = Trial(f"{head}-000", head, 0, 0, params, "completed")
    results: Any = SimpleNamespace(study=study, num_classes=classes, best={head: best})
    return hits(results)


def hit(head: str, name: str, written: dict[str, Any], value: Any, **more: Any) -> EdgeHit | None:
    found = found_hits(make_study(head, {name: written}, **more), {name: value})
    assert len(found) <= 1
    return found[0] if found else None


def uniform(low: float, high: float) -> dict[str, Any]:
    return {"distribution": "uniform", "min": low, "max": high}


def log(low: float, high: float) -> dict[str, Any]:
    return {"distribution": "log_uniform_values", "min": low, "max": high}


def whole(low: int, high: int) -> dict[str, Any]:
    return {"distribution": "int_uniform", "min": low, "max": high}


def steps(low: float, high: float, step: float) -> dict[str, Any]:
    return {"distribution": "q_uniform", "min": low, "max": high, "q": step}


@pytest.mark.parametrize(
    ("head", "name", "written", "value", "end"),
    [
        ("arcface", "margin_rad", uniform(0.1, 0.5), 0.1, "lower"),
        ("arcface", "margin_rad", uniform(0.1, 0.5), 0.1079, "lower"),
        ("arcface", "margin_rad", uniform(0.1, 0.5), 0.1081, None),
        ("arcface", "margin_rad", uniform(0.1, 0.5), 0.3, None),
        ("arcface", "margin_rad", uniform(0.1, 0.5), 0.4919, None),
        ("arcface", "margin_rad", uniform(0.1, 0.5), 0.4921, "upper"),
        ("arcface", "scale", log(4, 64), 4 * 16**0.0199, "lower"),  # 2% of four octaves: 5.7% above 4
        ("arcface", "scale", log(4, 64), 4 * 16**0.0201, None),
        ("arcface", "scale", log(4, 64), 5.0, None),  # though only 1.7% of 60 above 4
        ("arcface", "scale", log(4, 64), 64 / 16**0.0201, None),
        ("arcface", "scale", log(4, 64), 64 / 16**0.0199, "upper"),
        ("arcface", "scale", whole(8, 64), 8, "lower"),
        ("arcface", "scale", whole(8, 64), 9, "lower"),
        ("arcface", "scale", whole(8, 64), 10, None),
        ("arcface", "scale", whole(8, 64), 64, "upper"),
        ("arcface", "scale", steps(8, 64, 8), 16.0, None),
        ("arcface", "scale", steps(8, 64, 8), 64.0, "upper"),
        ("triplet", "mining", {"values": ["semi_hard", "batch_all"]}, "semi_hard", None),
        ("triplet", "normalise", {"values": [False, True]}, True, None),
        ("arcface", "scale", {"values": [8.0, 16.0]}, 16.0, None),
    ],
)
def test_an_edge_is_two_hundredths_of_the_range_in_its_own_measure(
    head: str, name: str, written: dict[str, Any], value: Any, end: str | None
) -> None:
    found = hit(head, name, written, value)
    assert (found.end if found else None) == end


ALPHA = class_separation.separation(CLASSES, 3).angle_rad


@pytest.mark.parametrize(
    ("head", "name", "written", "value", "wider"),
    [
        ("arcface", "scale", log(4, 64), 64.0, Range(4, 256, log=True)),
        ("arcface", "scale", log(4, 64), 4.0, Range(1, 64, log=True)),
        ("softmax", "weight_decay", log(1e-4, 1e-2), 1e-4, Range(1e-5, 1e-2, log=True)),
        ("arcface", "margin_rad", uniform(0.3, 0.5), 0.5, Range(0.3, 0.6)),
        ("arcface", "margin_rad", uniform(0.3, 0.5), 0.3, Range(0.2, 0.5)),
        ("sphereface", "margin_mult", uniform(1.2, 2.0), 2.0, Range(1.2, 2.4)),
        ("arcface", "scale", whole(8, 64), 64, Range(8, 92, integer=True)),
        ("arcface", "scale", whole(31, 64), 64, Range(31, 81, integer=True)),
        ("arcface", "scale", whole(40, 64), 40, Range(28, 64, integer=True)),
        ("arcface", "scale", steps(8, 64, 8), 64.0, Range(8, 88, step=8)),
        ("arcface", "scale", steps(40, 80, 8), 40.0, Range(24, 80, step=8)),
        # no further than what is valid
        ("softmax", "warmup_share", uniform(0.1, 0.8), 0.8, Range(0.1, 0.99)),
        ("softmax", "warmup_share", uniform(0.1, 0.8), 0.1, Range(0.01, 0.8)),
        ("arcface", "margin_rad", uniform(0.05, 0.5), 0.05, Range(0.0, 0.5)),
        ("sphereface", "margin_mult", uniform(1.05, 2.0), 1.05, Range(1.0, 2.0)),
        ("sphereface", "margin_mult", uniform(1.05, 90.0), 90.0, Range(1.05, 100.0)),
        # nor than any arrangement of the classes can satisfy
        ("arcface", "margin_rad", uniform(0.1, 1.1), 1.1, Range(0.1, ALPHA)),
        ("cosface", "margin_cos", uniform(0.1, 0.5), 0.5, Range(0.1, 1 - math.cos(ALPHA))),
        ("hybrid", "margin_rad", uniform(0.1, 2.0), 2.0, Range(0.1, 2.95)),
        ("arcface", "margin_rad", steps(0.1, 1.1, 0.1), 1.1, None),
        ("arcface", "margin_rad", uniform(0.1, 1.3), 1.3, None),
        ("cosface", "margin_cos", uniform(0.0, 0.5), 0.0, None),
        ("softmax", "warmup_share", uniform(0.5, 0.99), 0.99, None),
        ("softmax", "warmup_share", uniform(0.01, 0.5), 0.01, None),
    ],
)
def test_the_wider_range_is_half_as_wide_again_as_far_as_that_makes_sense(
    head: str, name: str, written: dict[str, Any], value: Any, wider: Range | None
) -> None:
    found = hit(head, name, written, value)
    assert found
    if wider is None:
        assert found.wider is None
        return
    assert found.wider
    assert (found.wider.log, found.wider.integer, found.wider.step) == (wider.log, wider.integer, wider.step)
    assert (found.wider.low, found.wider.high) == pytest.approx((wider.low, wider.high))


def test_what_arcface_can_satisfy_depends_on_classes_and_dimensions() -> None:
    """In 10-D ten classes are 96° apart, in 3-D 66°; two are opposite each other everywhere."""
    study = make_study("arcface", {"margin_rad": uniform(0.1, 1.1)}, dimensions=10)
    (found,) = found_hits(study, {"margin_rad": 1.1})
    assert found.wider
    assert found.wider.high == pytest.approx(1.6)
    (found,) = found_hits(make_study("arcface", {"margin_rad": uniform(0.1, 3.0)}), {"margin_rad": 3.0}, classes=2)
    assert found.wider
    assert found.wider.high == pytest.approx(math.pi, abs=1e-5)
    assert found.wider.high < math.pi


def test_a_rounding_is_no_wider_range() -> None:
    """24 classes in 3-D are 0.76 rad apart: one step beyond 0.7 is too far, and 0.1 + 6 · 0.1 is a little above 0.7."""
    study = make_study("arcface", {"margin_rad": steps(0.1, 0.7, 0.1)})
    (found,) = found_hits(study, {"margin_rad": 0.7}, classes=24)
    assert found.wider is None


def test_an_edge_in_words() -> None:
    assert str(hit("arcface", "scale", log(4, 64), 63.0)) == (
        "arcface: the best scale, 63, is at the upper bound 64; the wider study goes to 256"
    )
    assert str(hit("arcface", "scale", log(4, 64), 4.0)) == (
        "arcface: the best scale, 4, is at the lower bound 4; the wider study goes to 1"
    )
    assert str(hit("softmax", "warmup_share", uniform(0.5, 0.99), 0.99)) == (
        "softmax: the best warmup_share, 0.99, is at the upper bound 0.99, and nothing that makes sense lies beyond"
    )


def test_a_study_without_an_edge_has_no_wider_one() -> None:
    study = make_study("softmax", {"warmup_share": uniform(0.5, 0.99)})
    assert wider_study(study, []) is None
    assert wider_study(study, found_hits(study, {"warmup_share": 0.99})) is None


def test_only_what_was_hit_is_wider() -> None:
    study = make_study("arcface", {"scale": log(4, 64), "margin_rad": uniform(0.1, 0.5)}, "a" * 64)
    wider = wider_study(study, found_hits(study, {"scale": 64.0, "margin_rad": 0.3}))
    assert wider
    assert wider.name == "a" * 58 + "-wider"
    assert wider.heads["arcface"] == study.heads["arcface"] | {"scale": log(4, 256.0)}
    assert wider.model_dump(exclude={"name", "heads"}) == study.model_dump(exclude={"name", "heads"})


SEARCHABLE = [
    (head, name) for head in HEADS for name, setting in settings_of(head).items() if isinstance(setting.valid, Range)
]


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_whatever_was_searched_the_wider_study_may_be_run(data: st.DataObject) -> None:
    """Every range that a study may have: where its end is hit, the wider one holds it, and is a study's as well."""
    head, name = data.draw(st.sampled_from(SEARCHABLE))
    valid = settings_of(head)[name].valid
    assert isinstance(valid, Range)
    kind = data.draw(st.sampled_from(["uniform", "log", "whole", "steps"]))
    if kind == "whole":
        least, most = math.ceil(valid.low), min(math.floor(valid.high), 1000)
        if least >= most:
            return
        low = data.draw(st.integers(least, most - 1))
        written = whole(low, data.draw(st.integers(low + 1, most)))
    else:
        low = max(valid.low, 1e-6) + (valid.high - valid.low) * data.draw(st.integers(0, 90)) / 100
        high = low + (valid.high - low) * data.draw(st.integers(1, 99)) / 100
        step = (high - low) / data.draw(st.integers(1, 20))
        written = {"uniform": uniform(low, high), "log": log(low, high), "steps": steps(low, high, step)}[kind]
    study = make_study(head, {name: written})
    if validation.problems(study):
        return
    searched = distributions.parse(written)
    assert isinstance(searched, Range)
    value = data.draw(st.sampled_from([searched.low, searched.high]))
    (found,) = found_hits(study, {name: value})
    wider = wider_study(study, [found])
    if wider is None:
        assert found.wider is None
        return
    assert validation.problems(wider) == []
    again = distributions.parse(wider.heads[head][name])
    assert isinstance(again, Range)
    assert again.low <= searched.low + 1e-9
    assert again.high >= searched.high - 1e-9
    assert again.high - again.low > searched.high - searched.low
    margin = space_of(head).margin
    if margin and name == margin.setting and found.end == "upper" and not searched.integer:
        assert again.high <= margin.infeasible_from(ALPHA)


@pytest.mark.parametrize(
    ("head", "name", "written", "value"),
    [
        ("arcface", "scale", whole(1, 64), 1),  # a scale is at least 0.001, not 0
        ("arcface", "lr", whole(1, 5), 1),
        ("softmax", "weight_decay", whole(1, 4), 1),
    ],
)
def test_a_wider_range_of_whole_numbers_stays_valid(head: str, name: str, written: dict[str, Any], value: int) -> None:
    study = make_study(head, {name: written})
    assert validation.problems(study) == []
    wider = wider_study(study, found_hits(study, {name: value}))
    assert wider is None or validation.problems(wider) == []


def finished(make_record: Callable[..., StudyFolder], study: Study, status: str = "completed") -> StudyFolder:
    folder = make_record(
        study, ("arcface", 0, [0.5, 0.9], status), params={"scale": 64.0, "margin_rad": 0.1, "lr": 0.01}
    )
    folder.save_labels(np.arange(CLASSES))
    return folder


@pytest.fixture
def study() -> Study:
    made = make_study("arcface", {"scale": log(4, 64), "margin_rad": uniform(0.1, 0.5)})
    return made.model_copy(update={"search": made.search.model_copy(update={"trials_per_head": 1})})


def test_the_wider_study_is_written_and_can_be_launched(make_record: Callable[..., StudyFolder], study: Study) -> None:
    folder = finished(make_record, study)
    path = write_wider(Results(folder.root))
    assert path == folder.wider_file
    wider = Study.load(path)
    assert wider.name == "edges-wider"
    assert wider.heads["arcface"] == study.heads["arcface"] | {"scale": log(4, 256), "margin_rad": uniform(0, 0.5)}
    assert wider.search == study.search
    comment = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert comment == [
        "# edges once more, wider where its best settings lie at an edge:",
        "# arcface: the best margin_rad, 0.1, is at the lower bound 0.1; the wider study goes to 0",
        "# arcface: the best scale, 64, is at the upper bound 64; the wider study goes to 256",
    ]


def test_a_wider_study_goes_when_it_no_longer_holds(make_record: Callable[..., StudyFolder], study: Study) -> None:
    folder = finished(make_record, study)
    assert write_wider(Results(folder.root)) == write_wider(Results(folder.root)) == folder.wider_file
    with folder.writer() as writer:
        better = {"head": "arcface", "index": 1, "seed": 1, "params": {"scale": 16.0, "margin_rad": 0.3, "lr": 0.01}}
        writer.append({"event": "start", "trial": "arcface-001", **better})
        writer.append({"event": "epoch", "trial": "arcface-001", "epoch": 1, "objective": 0.95, "metrics": {}})
        writer.append({"event": "end", "trial": "arcface-001", "status": "completed", "reason": ""})
    assert write_wider(Results(folder.root)) is None
    assert not folder.wider_file.exists()


def test_a_search_that_goes_on_has_no_wider_study_yet(make_record: Callable[..., StudyFolder], study: Study) -> None:
    two = study.model_copy(update={"search": study.search.model_copy(update={"trials_per_head": 2})})
    ends = ("arcface", 0, [0.9], "completed"), ("arcface", 1, [0.5], "running")
    folder = make_record(two, *ends, params={"scale": 64.0, "margin_rad": 0.1})
    folder.save_labels(np.arange(CLASSES))
    assert Results(folder.root).best
    assert write_wider(Results(folder.root)) is None
    assert not folder.wider_file.exists()


@pytest.mark.parametrize("status", ["running", "failed", "diverged"])
def test_without_a_result_nothing_is_written(
    make_record: Callable[..., StudyFolder], study: Study, status: str, tmp_path: Path
) -> None:
    folder = finished(make_record, study, status)
    assert write_wider(Results(folder.root)) is None
    assert list(tmp_path.rglob("wider.yaml")) == []
