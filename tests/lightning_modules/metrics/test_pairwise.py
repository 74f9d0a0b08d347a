"""Blockwise distances against all pairs at once; whatever the block's size, the results; and the memory they need."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from torch import Tensor

from lightning_modules.metrics import angles, clusters, measures, pairwise, retrieval

Cloud = Callable[..., tuple[Tensor, Tensor]]
BLOCKS = [1, 7, 200, 1000]  # distances at a time, of 3600 among 60 points


@given(st.integers(0, 50), st.integers(0, 50), st.integers(1, 200))
def test_slices_hold_every_row_once_and_no_more_distances_than_a_block(number: int, columns: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairwise, "BLOCK", block)
        slices = list(pairwise.rows(number, columns))

    assert [row for one in slices for row in range(number)[one]] == list(range(number))
    assert all(one.stop <= number for one in slices)
    assert all((one.stop - one.start) * columns <= max(block, columns) for one in slices)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_placed_points_are_themselves_or_their_directions_around_the_origin(dtype: torch.dtype, cloud: Cloud) -> None:
    points = cloud(4)[0].to(dtype) + 3
    units, centred = pairwise.placed(points, spherical=True), pairwise.placed(points, spherical=False)
    expected = points.double().numpy()

    assert units.dtype == centred.dtype == torch.float32
    directions = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(units, directions - directions.mean(0), atol=1e-6)
    np.testing.assert_allclose(centred, expected - expected.mean(0), atol=1e-5)


@pytest.mark.parametrize("dimensions", [2, 3, 17, 40])
@pytest.mark.parametrize("block", [*BLOCKS, pairwise.BLOCK])
def test_the_nearest_centre_is_the_one_a_loop_finds(
    dimensions: int, block: int, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairwise, "BLOCK", block)
    points, centres = cloud(dimensions)[0], cloud(dimensions, points=11, classes=2, seed=1)[0]
    which, cost = pairwise.nearest(points, centres)
    for number, point in enumerate(points.double().numpy()):
        distances = [math.dist(point, centre) for centre in centres.double().numpy()]
        assert which[number] == np.argmin(distances)
        assert float(cost[number]) == pytest.approx(min(distances) ** 2 - (point**2).sum(), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("dimensions", [2, pairwise.FEW_DIMENSIONS, pairwise.FEW_DIMENSIONS + 1, 40])
@pytest.mark.parametrize("number", [1, 10, 59])
@pytest.mark.parametrize("block", [*BLOCKS, pairwise.BLOCK])
def test_neighbours_are_all_the_others_by_their_distance(
    dimensions: int, number: int, block: int, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairwise, "BLOCK", block)
    points = cloud(dimensions)[0]
    distance = cdist(points.double(), points.double())
    np.fill_diagonal(distance, np.inf)
    found = list(pairwise.neighbours(points, number))

    assert [row for rows, _ in found for row in range(60)[rows]] == list(range(60))
    np.testing.assert_array_equal(torch.cat([indices for _, indices in found]), distance.argsort(1)[:, :number])


@pytest.mark.parametrize("dimensions", [2, 40])
def test_a_point_is_not_its_own_neighbour_even_among_twins(dimensions: int) -> None:
    points = torch.ones(20, dimensions)
    for rows, indices in pairwise.neighbours(points, 19):
        assert all(
            set(own.tolist()) == set(range(20)) - {row} for row, own in zip(range(20)[rows], indices, strict=True)
        )


def assert_same(one: Any, other: Any) -> None:
    """Equal, but for the last digit of a float: a matrix product rounds differently in blocks of other sizes."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    else:
        assert one == (pytest.approx(other, rel=1e-5) if isinstance(other, float) else other)


@pytest.mark.parametrize("spherical", [False, True])
@pytest.mark.parametrize("dimensions", [3, 7, 17])
def test_every_measure_is_the_same_in_blocks_of_any_size(
    dimensions: int, spherical: bool, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, labels = cloud(dimensions)
    centres = cloud(dimensions, classes=2, points=5)[0]
    whole = measures.final(points, labels, 5, spherical=spherical, centres_CD=centres)
    for block in BLOCKS:
        monkeypatch.setattr(pairwise, "BLOCK", block)
        assert_same(measures.final(points, labels, 5, spherical=spherical, centres_CD=centres), whole)


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("spherical", [False, True])
def test_what_counts_points_is_identical_in_blocks_of_any_size(
    block: int, spherical: bool, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    points, labels = cloud(17)

    def counted() -> tuple[Any, ...]:
        return (
            clusters.kmeans(points, 5, spherical=spherical).tolist(),
            retrieval.retrieval(points, labels, spherical=spherical),
            angles.nearest_directions(angles.class_means(points, labels, 5))[0].tolist(),
            angles.class_health(points, labels, 5, spherical=spherical)["nearest_mean_accuracy"],
        )

    whole = counted()
    monkeypatch.setattr(pairwise, "BLOCK", block)
    assert counted() == whole


MEMORY = """
import resource, sys, torch
from functools import partial
from lightning_modules.metrics import clusters, measures, retrieval
torch.set_num_threads(1)
N, D, C = 20_000, 128, 1_000
labels = torch.arange(N) % C
points = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
for label, centre in enumerate(3 * torch.randn(C, D, generator=torch.Generator().manual_seed(1))):
    points[label::C] += centre
# a thousand draws of k-means++ take half a minute and no more memory than the points, so the classes' first points
# stand in for them, once
clusters._seed_centres = lambda points_ND, clusters, generator: points_ND[:clusters].clone()
clusters.kmeans = partial(clusters.kmeans, restarts=1)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
before = peak()
assert retrieval.retrieval(points, labels, spherical=False)["recall_at_1"] == 1
measured = measures.every_epoch(points, labels, C, spherical=True)
assert measured["cluster_accuracy_euclidean"] == measured["cluster_accuracy_spherical"] == 1
print(peak() - before)
"""


def test_twenty_thousand_points_need_a_sixth_of_the_memory_of_their_pairs() -> None:
    """All pairs are 1.6 GB. 100,000 points, whose pairs are 40 GB, take the same blocks but minutes, so not here."""
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 20_000**2 * 4 / 6
