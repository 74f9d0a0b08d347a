"""Are two images of one identity? Thresholds on their similarity for asked false-accept rates, exact over all pairs.

RunOptions of ISO/IEC 19795-1: a genuine pair is of one identity, an impostor pair of two; a pair is accepted if its
similarity reaches the threshold. False-accept rate (FAR): the share of impostor pairs that are accepted; true-accept
rate (TAR): the share of genuine pairs that are; equal error rate: the FAR where FAR = 1 − TAR.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lightning_modules.metrics import pairwise

BINS = 2**21  # of the similarity's range: 1e-6 wide for cosines
FEWEST_ACCEPTS = 10  # impostor pairs that a rate must stand for: a rate from fewer is mostly luck
STEPS = (1.0, 0.5, 0.2)  # of each decade of rates, from 0.1 down
EIGHT_BYTES = 4  # a float64 score and its bin take so many times the room of a float32 distance


class CalibrationError(ValueError):
    """A threshold that cannot be given; the message says why and what to do."""


MOST_NUMBER = 1e300  # whatever is larger was never measured


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold, and what it does to the calibration's pairs. A pair is accepted if its similarity ≥ threshold."""

    false_accept_rate: float  # as asked; what was reached is never more
    threshold: float
    false_accepts: int
    true_accepts: int
    reached_false_accept_rate: float
    true_accept_rate: float


@dataclass(frozen=True)
class Calibration:
    """Thresholds for a grid of false-accept rates, the coarsest first, with the pairs that they were found on.

    spherical: similarity is the cosine; otherwise the negative Euclidean distance. resolution: thresholds are
    multiples of it, in units of the similarity.
    """

    spherical: bool
    images: int
    identities: int
    genuine_pairs: int
    impostor_pairs: int
    resolution: float
    equal_error_rate: float
    equal_error_threshold: float
    points: tuple[OperatingPoint, ...]

    def at(self, false_accept_rate: float) -> OperatingPoint:
        """The point of the largest calibrated rate that is not above the asked one.

        Raises ValueError for what is no rate, CalibrationError for a rate that is finer than the pairs support.
        """
        if not 0 < false_accept_rate <= 1:
            raise ValueError(f"false_accept_rate must be above 0 and at most 1, but got {false_accept_rate}")
        for point in self.points:
            if point.false_accept_rate <= false_accept_rate * (1 + 1e-9):
                return point
        finest = self.points[-1].false_accept_rate
        raise CalibrationError(
            f"a false-accept rate of {false_accept_rate:g} needs {math.ceil(FEWEST_ACCEPTS / false_accept_rate):,} "
            f"pairs of different identities, but the calibration has {self.impostor_pairs:,}: ask for {finest:g} or "
            "more, or calibrate on more images"
        )

    def as_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return {**asdict(self), "points": [asdict(point) for point in self.points]}

    @classmethod
    def from_dict(cls, known: dict[str, Any]) -> Calibration:
        """What `as_dict` has made. Raises CalibrationError for anything else."""
        try:
            points = tuple(OperatingPoint(**point) for point in known["points"])
            if not points:
                raise ValueError("no threshold in it")
            numbers = [each for point in known["points"] for each in point.values()]
            numbers += [value for name, value in known.items() if name not in ("points", "spherical")]
            if not all(type(each) in (int, float) and abs(each) < MOST_NUMBER for each in numbers):
                raise ValueError("what should be a number is none")
            return cls(**{**known, "points": points})
        except (TypeError, AttributeError, LookupError, ValueError) as error:
            raise CalibrationError(f"this is no calibration: {error}; calibrate again") from error


def similarity(points_ND: Tensor, others_MD: Tensor, *, spherical: bool) -> Tensor:
    """Similarities (N, M) in float64: cosines (of a zero vector 0), or negative Euclidean distances."""
    points_ND, others_MD = points_ND.double(), others_MD.double()
    if spherical:
        return (F.normalize(points_ND) @ F.normalize(others_MD).T).clamp(-1.0, 1.0)
    few = points_ND.shape[1] <= pairwise.FEW_DIMENSIONS
    mode = "donot_use_mm_for_euclid_dist" if few else "use_mm_for_euclid_dist"
    return -torch.cdist(points_ND, others_MD, compute_mode=mode)


def rates(impostor_pairs: int) -> list[float]:
    """The grid 0.1, 0.05, 0.02, 0.01 … of the rates that stand for at least FEWEST_ACCEPTS of so many pairs."""
    grid = (step * 10.0**-decade for decade in range(1, 20) for step in STEPS)
    return [float(f"{rate:.0e}") for rate in grid if rate * impostor_pairs >= FEWEST_ACCEPTS * (1 - 1e-9)]


def calibrate(points_ND: Tensor, labels_N: Tensor, *, spherical: bool) -> Calibration:
    """The calibration on all pairs of embeddings (N, D) with labels (N,) int64 from 0.

    Every pair falls into one of BINS bins, and thresholds are edges of bins, so that each is the lowest edge with a
    false-accept rate of at most the asked one: exactly so, and the same in every run. The resolution is 2⁻²⁰ for
    cosines and the range of distances (a power of two) over BINS otherwise. Memory: one block of pairs and the bins.
    Raises CalibrationError where there are too few pairs, or embeddings that are not finite.
    """
    broken = int((~points_ND.isfinite().all(1)).sum())
    if broken:
        raise CalibrationError(
            f"{broken} of {len(points_ND)} embeddings are not finite: train longer, or at a lower lr"
        )
    low, width = _range(points_ND, spherical)
    genuine, impostor = _counts(points_ND, labels_N, spherical, low, width)
    genuine_pairs, impostor_pairs = int(genuine.sum()), int(impostor.sum())
    grid = rates(impostor_pairs)
    if not genuine_pairs or not grid:
        raise CalibrationError(
            f"{len(points_ND)} images make {genuine_pairs:,} pairs of one identity and {impostor_pairs:,} of two, but "
            f"a calibration needs at least 1 and {10 * FEWEST_ACCEPTS}: give several images of several identities"
        )
    # accepted at edge i: all in bin i and above; at the edge beyond the last bin, none
    true_E, false_E = (F.pad(counts.flip(0).cumsum(0).flip(0), (0, 1)) for counts in (genuine, impostor))

    def point(rate: float) -> OperatingPoint:
        most = math.floor(rate * impostor_pairs * (1 + 1e-12))
        edge = int((false_E <= most).nonzero()[0])
        accepted, wrongly = int(true_E[edge]), int(false_E[edge])
        shares = wrongly / impostor_pairs, accepted / genuine_pairs
        return OperatingPoint(rate, low + edge * width, wrongly, accepted, *shares)

    false_share, missed_share = false_E / impostor_pairs, 1 - true_E / genuine_pairs
    equal = int((false_share - missed_share).abs().argmin())
    return Calibration(
        spherical=spherical,
        images=len(points_ND),
        identities=int(torch.bincount(labels_N).count_nonzero()),
        genuine_pairs=genuine_pairs,
        impostor_pairs=impostor_pairs,
        resolution=width,
        equal_error_rate=float(false_share[equal] + missed_share[equal]) / 2,
        equal_error_threshold=low + equal * width,
        points=tuple(map(point, grid)),
    )


def _range(points_ND: Tensor, spherical: bool) -> tuple[float, float]:
    """The lowest similarity that can be, and the width of a bin: powers of two, so that bins lose no digit."""
    if spherical:
        return -1.0, 2.0 / BINS
    centred_ND = points_ND.double() - points_ND.double().mean(0)
    farthest = 2 * float(centred_ND.norm(dim=1).max()) * (1 + 1e-9)  # no two points are farther apart
    reach = 2.0 ** math.ceil(math.log2(max(farthest, 1e-30)))
    return -reach, reach / BINS


def _counts(points_ND: Tensor, labels_N: Tensor, spherical: bool, low: float, width: float) -> tuple[Tensor, Tensor]:
    """How many genuine and how many impostor pairs are in each bin (BINS + 1,); every pair counts once."""
    number, size = len(points_ND), BINS + 1
    points_ND = points_ND.double() if spherical else points_ND.double() - points_ND.double().mean(0)
    counts = torch.zeros(2 * size + 1, dtype=torch.int64, device=points_ND.device)  # the last: pairs met twice
    for block in pairwise.rows(number, EIGHT_BYTES * number):
        others = slice(block.start, number)
        bins_BM = similarity(points_ND[block], points_ND[others], spherical=spherical)
        bins_BM = bins_BM.sub_(low).div_(width).long().clamp_(0, BINS)
        bins_BM += size * (labels_N[block, None] != labels_N[others])
        square_BB = bins_BM[:, : len(bins_BM)]
        square_BB[torch.ones_like(square_BB, dtype=torch.bool).tril_()] = 2 * size
        counts += torch.bincount(bins_BM.view(-1), minlength=len(counts))
    return counts[:size], counts[size : 2 * size]
