"""What the tests of the geometry share: labelled clouds and rotations, both from a seed."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from torch import Tensor

Array = NDArray[np.float64]


def ranks_are_certain(points: Array) -> bool:
    """Do the distances from each point to the others differ by more than float32 rounds, so that ranks are certain?"""
    distance = np.sort(cdist(points, points), axis=1)
    return bool((np.diff(distance[:, 1:]) > 1e-6 * distance.max()).all())


@pytest.fixture(scope="session")
def cloud() -> Callable[..., tuple[Tensor, Tensor]]:
    """cloud(dimensions, classes=…, points=…, apart=…, seed=…): float32 points around a centre a class, and labels.

    Classes overlap a little and have unlike sizes, the smallest of them two points. From each point no two others are
    equally far, in space or by angle, so that two implementations must rank them alike.
    """

    def make(
        dimensions: int, classes: int = 5, points: int = 60, apart: float = 2.5, seed: int = 0
    ) -> tuple[Tensor, Tensor]:
        for attempt in itertools.count(1000 * seed):
            rng = np.random.default_rng(attempt)
            rest = rng.choice(classes, points - 2 * classes, p=np.arange(1, classes + 1) / sum(range(classes + 1)))
            labels = rng.permutation(np.concatenate([np.arange(2 * classes) % classes, rest]))
            centres = rng.normal(0, apart, (classes, dimensions))
            cloud_ND = (centres[labels] + rng.normal(0, 1, (points, dimensions))).astype(np.float32)
            units = cloud_ND / np.linalg.norm(cloud_ND, axis=1, keepdims=True)
            if ranks_are_certain(cloud_ND) and ranks_are_certain(units):
                break
        return torch.from_numpy(cloud_ND), torch.from_numpy(labels)

    return make


@pytest.fixture(scope="session")
def rotation() -> Callable[[int], Tensor]:
    """rotation(dimensions): an orthogonal matrix (D, D), float64."""

    def make(dimensions: int) -> Tensor:
        square = np.random.default_rng(dimensions).normal(size=(dimensions, dimensions))
        return torch.from_numpy(np.linalg.qr(square)[0])

    return make
