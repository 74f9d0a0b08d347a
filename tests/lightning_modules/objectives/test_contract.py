"""What every objective must give: found by its file, a finite value within its bounds, a direction, and its words."""

from __future__ import annotations

import math

import pytest
import torch

from lightning_modules import objectives
from lightning_modules.metrics.measures import every_epoch
from lightning_modules.objectives.base import EmbeddedImages, Objective, Support
from lightning_modules.registry import RegistryError

EVERY = [objectives.named(name) for name in objectives.names()]


def embedded(spread: float, spherical: bool = True, points: int = 20) -> EmbeddedImages:
    """Four classes around the axes of a plane; spread: of the points around their class's, in units of its distance."""
    generator = torch.Generator().manual_seed(1)
    axes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    labels = torch.arange(4).repeat(points)
    noise = torch.randn(len(labels), 2, generator=generator)
    return EmbeddedImages(5 * (axes[labels] + spread * noise), labels, 4, spherical)


def test_the_two_objectives_of_the_beginning_are_there() -> None:
    assert objectives.names() == ("accuracy", "separation")
    assert [each.metric for each in EVERY] == ["val/cluster_accuracy", "val/separation"]  # as records have them


@pytest.mark.parametrize("objective", EVERY, ids=objectives.names())
def test_an_objective_says_all_that_people_and_searches_need(objective: Objective) -> None:
    assert objectives.named(objective.name) is objective
    assert objectives.by_key()[objective.key] is objective
    assert all((objective.label, objective.meaning, objective.column, objective.axis_on(), objective.axis_on("test")))
    assert objective.bounds[0] < objective.bounds[1]
    assert math.isfinite(objective.worst)
    assert objective.merit(objective.worst) == min(map(objective.merit, objective.bounds))
    assert (objective.write(objective.worst), objective.write(None)) == (objective.write(objective.worst + 0.0), "–")


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("objective", EVERY, ids=objectives.names())
def test_its_value_is_finite_repeats_and_prefers_what_is_better(objective: Objective, spherical: bool) -> None:
    good, poor = embedded(0.05, spherical), embedded(3.0, spherical)
    kept = good.embeddings_ND.clone()
    values = [objective.measure(good), objective.measure(poor)]
    assert all(isinstance(value, float) and objective.holds(value) for value in values)
    assert objective.merit(values[0]) > objective.merit(values[1])
    assert objective.measure(good) == values[0]
    assert torch.equal(good.embeddings_ND, kept)


@pytest.mark.parametrize("objective", EVERY, ids=objectives.names())
def test_it_measures_what_stands_beside_it(objective: Objective) -> None:
    for images in (embedded(0.5, spherical=True), embedded(0.5, spherical=False)):
        known = every_epoch(*images.points, spherical=images.spherical)
        assert objectives.measured(images, [objective.name], {})[objective.key] == objective.measure(images)
        assert known.get(objective.key, objective.measure(images)) == pytest.approx(objective.measure(images))
        assert set(objective.parts.values()) <= {*known}


@pytest.mark.parametrize("objective", [each for each in EVERY if each.interval], ids=lambda each: each.name)
def test_the_interval_of_one_run_holds_its_value_and_narrows_with_more_images(objective: Objective) -> None:
    assert objective.interval
    value = objective.measure(embedded(0.5))
    widths = []
    for images in (10, 1000):
        low, high = objective.interval.ends(value, Support(images, identities=4))
        assert objective.bounds[0] <= low <= value <= high <= objective.bounds[1]
        widths.append(high - low)
    assert widths[1] < widths[0]
    assert objective.interval.method
    assert objective.interval.over


def test_what_is_known_is_not_measured_again() -> None:
    assert objectives.measured(embedded(0.5), ["accuracy"], {"cluster_accuracy": 0.25}) == {"cluster_accuracy": 0.25}


def test_an_unknown_objective_is_refused_with_those_that_there_are_and_the_nearest() -> None:
    with pytest.raises(RegistryError, match=r"must be one of accuracy, separation, but got 'acuracy'; did you mean"):
        objectives.named("acuracy")
