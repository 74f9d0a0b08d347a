"""Thresholds on similarity: against all pairs counted one by one with numpy, and against scikit-learn."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_curve

from lightning_modules.metrics import pairwise, verification
from lightning_modules.metrics.verification import BINS, Calibration, CalibrationError, calibrate, rates

SPHERICAL = pytest.mark.parametrize("spherical", [True, False], ids=["cosine", "distance"])


def cloud(number: int = 180, classes: int = 6, dimensions: int = 3, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=number)
    points = rng.normal(0, 2, (classes, dimensions))[labels] + rng.normal(0, 1, (number, dimensions))
    return points.astype(np.float32), labels


def pairs(points: Any, labels: Any, spherical: bool) -> tuple[Any, Any]:
    """The similarity of every pair and whether it is of one class, in float64."""
    points = points.astype(np.float64)
    units = points / np.linalg.norm(points, axis=1, keepdims=True)
    scores = units @ units.T if spherical else -cdist(points, points)
    once = np.triu_indices(len(points), 1)
    return scores[once], (labels[:, None] == labels)[once]


def found(points: Any, labels: Any, spherical: bool) -> Calibration:
    return calibrate(torch.from_numpy(points), torch.from_numpy(labels), spherical=spherical)


@SPHERICAL
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dimensions", [2, 3, 40])
def test_every_threshold_is_the_lowest_that_keeps_its_rate(spherical: bool, seed: int, dimensions: int) -> None:
    points, labels = cloud(dimensions=dimensions, seed=seed)
    scores, same = pairs(points, labels, spherical)
    known = found(points, labels, spherical)

    assert (known.genuine_pairs, known.impostor_pairs) == (same.sum(), (~same).sum())
    assert (known.images, known.identities, known.spherical) == (180, 6, spherical)
    assert len(known.points) > 5
    for point in known.points:
        accepted = scores >= point.threshold
        assert (accepted & ~same).sum() == point.false_accepts
        assert (accepted & same).sum() == point.true_accepts
        assert point.reached_false_accept_rate == point.false_accepts / (~same).sum() <= point.false_accept_rate
        assert point.true_accept_rate == point.true_accepts / same.sum()
        lower = scores >= point.threshold - known.resolution
        assert (lower & ~same).sum() > point.false_accept_rate * (~same).sum()


@SPHERICAL
def test_true_accept_rates_lie_on_the_curve_of_scikit_learn(spherical: bool) -> None:
    points, labels = cloud(seed=7)
    scores, same = pairs(points, labels, spherical)
    false, true, _ = roc_curve(same, scores, drop_intermediate=False)
    known = found(points, labels, spherical)
    for point in known.points:
        best = true[false <= point.false_accept_rate].max()
        assert point.true_accept_rate == pytest.approx(best, abs=3 / same.sum())
    crossing = np.abs(false - (1 - true)).argmin()
    expected = (false[crossing] + 1 - true[crossing]) / 2
    assert known.equal_error_rate == pytest.approx(expected, abs=2 / min(same.sum(), (~same).sum()))
    at = scores >= known.equal_error_threshold
    assert (at & ~same).sum() / (~same).sum() == pytest.approx(known.equal_error_rate, abs=0.01)
    assert (~at & same).sum() / same.sum() == pytest.approx(known.equal_error_rate, abs=0.01)


@SPHERICAL
@pytest.mark.parametrize("block", [1, 4000, 30_000])
def test_the_size_of_a_block_changes_nothing(spherical: bool, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    points, labels = cloud()
    whole = found(points, labels, spherical)
    monkeypatch.setattr(pairwise, "BLOCK", block)
    assert found(points, labels, spherical) == whole


@SPHERICAL
def test_the_same_again_is_the_same_and_the_order_does_not_matter(spherical: bool) -> None:
    points, labels = cloud()
    known = found(points, labels, spherical)
    assert found(points, labels, spherical) == known
    order = np.random.default_rng(0).permutation(len(points))
    for one, other in zip(known.points, found(points[order], labels[order], spherical).points, strict=True):
        assert other.false_accept_rate == one.false_accept_rate
        assert other.threshold == pytest.approx(one.threshold, abs=known.resolution)


def test_the_resolution_is_a_millionth_for_cosines_and_a_share_of_the_range_for_distances() -> None:
    points, labels = cloud()
    assert found(points, labels, True).resolution == 2.0**-20
    known, farthest = found(points, labels, False), cdist(points, points).max()
    assert farthest / BINS < known.resolution < 8 * farthest / BINS
    scaled = found(1000 * points + 50, labels, False)
    assert scaled.equal_error_rate == pytest.approx(known.equal_error_rate, abs=1e-3)


def test_a_collapsed_embedding_has_thresholds_that_accept_nothing() -> None:
    labels = np.arange(60) % 3
    for spherical in (True, False):
        known = found(np.ones((60, 3), np.float32), labels, spherical)
        assert {(point.false_accepts, point.true_accepts) for point in known.points} == {(0, 0)}
        assert known.equal_error_rate == 0.5


def test_a_perfect_embedding_accepts_every_genuine_pair() -> None:
    labels = np.arange(60) % 3
    known = found(np.eye(3, dtype=np.float32)[labels], labels, True)
    assert known.equal_error_rate == 0
    assert {(point.false_accepts, point.true_accept_rate) for point in known.points} == {(0, 1.0)}


def test_the_grid_goes_as_far_as_ten_pairs_carry() -> None:
    assert rates(99) == []
    assert rates(100) == [0.1]
    assert rates(1000) == [0.1, 0.05, 0.02, 0.01]
    assert rates(45_000_000)[-2:] == [1e-6, 5e-7]
    assert all(rate * 45_000_000 >= 10 for rate in rates(45_000_000))


@SPHERICAL
def test_a_rate_between_two_of_the_grid_takes_the_stricter_one(spherical: bool) -> None:
    known = found(*cloud(), spherical)
    assert [known.at(point.false_accept_rate) for point in known.points] == [*known.points]
    assert known.at(1.0) == known.at(0.3) == known.points[0]
    assert known.at(0.049).false_accept_rate == 0.02
    assert known.at(0.1 / 10).false_accept_rate == 0.01
    thresholds = [point.threshold for point in known.points]
    assert thresholds == sorted(thresholds)


def test_a_rate_that_is_too_fine_is_refused_with_what_to_do() -> None:
    known = found(*cloud(), True)
    with pytest.raises(CalibrationError, match=r"1e-06 needs 10,000,000 pairs .* has 1\d,\d{3}: ask for 0.001 or more"):
        known.at(1e-6)
    for rate in (0, -0.1, 1.01, float("nan")):
        with pytest.raises(ValueError, match="above 0 and at most 1"):
            known.at(rate)


@pytest.mark.parametrize(
    ("labels", "said"),
    [(np.zeros(60, int), "and 0 of two"), (np.arange(60), "0 pairs of one identity"), (np.arange(10) % 2, "25 of two")],
    ids=["one identity", "each alone", "few"],
)
def test_too_few_pairs_are_refused(labels: Any, said: str) -> None:
    points = np.random.default_rng(0).normal(size=(len(labels), 3)).astype(np.float32)
    with pytest.raises(CalibrationError, match=said):
        found(points, labels, True)


def test_embeddings_that_are_not_finite_are_refused() -> None:
    points, labels = cloud()
    points[3], points[5, 1] = np.nan, np.inf
    with pytest.raises(CalibrationError, match="2 of 180 embeddings are not finite"):
        found(points, labels, True)


@SPHERICAL
def test_a_calibration_comes_back_from_json(spherical: bool) -> None:
    known = found(*cloud(), spherical)
    assert Calibration.from_dict(json.loads(json.dumps(known.as_dict(), allow_nan=False))) == known


@pytest.mark.parametrize("broken", [{}, {"points": 3}, {"points": []}, {"points": [{"threshold": 1}]}, [], None])
def test_what_is_no_calibration_is_refused(broken: Any) -> None:
    with pytest.raises(CalibrationError, match="calibrate again"):
        Calibration.from_dict(broken)


@SPHERICAL
def test_similarities_are_cosines_or_negative_distances(spherical: bool) -> None:
    points, _ = cloud(20)
    others, _ = cloud(7, seed=1)
    got = verification.similarity(torch.from_numpy(points), torch.from_numpy(others), spherical=spherical)
    distance = cdist(points, others, "cosine" if spherical else "euclidean")
    np.testing.assert_allclose(got.numpy(), 1 - distance if spherical else -distance, atol=1e-6)
    zero = verification.similarity(torch.zeros(1, 3), torch.ones(1, 3), spherical=True)
    assert float(zero) == 0
