"""The heads' forward and backward pass against pytorch-metric-learning's: time and memory, in turns, on one thread.

Both get the same embeddings, centres and margins. Theirs is asked for what ours does: triplets are mined by its own
miner (semi-hard) or are all that there are (batch-all), and their mean is over those whose loss is not zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from lightning_modules.heads import head_class
from lightning_modules.heads.base import Trunk
from tests.benchmarks.stopwatch import in_turns

SIZES = (10, 10_000, 100_000)
BATCH, DIMENSIONS, PER_CLASS = 256, 512, 8
ANGULAR: dict[str, dict[str, Any]] = {
    "arcface": {"margin_rad": 0.3, "scale": 30.0},
    "cosface": {"margin_cos": 0.3, "scale": 30.0},
    "sphereface": {"margin_mult": 2.0, "magnitude": "feature"},
}
MINED = ("semi_hard", "batch_all")
ENOUGH_S, FEWEST = 1.0, 3
Step = Callable[[], Tensor]


def measure() -> dict[str, Any]:
    """How many times as fast ours are (median of the rounds), and their peak of memory over theirs."""
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for classes in SIZES:
        for head, ours, theirs in pairs(classes):
            speed, memory = compared(ours, theirs)
            found[f"{head}_{classes}_times_as_fast"] = speed
            found[f"{head}_{classes}_memory_ratio"] = memory
    return found


def pairs(classes: int) -> list[tuple[str, Step, Step]]:
    """(what, our step, their step) for so many classes. A triplet loss knows only the classes of its batch."""
    from pytorch_metric_learning import losses

    torch.manual_seed(0)
    points_BD = torch.randn(BATCH, DIMENSIONS)
    labels_B = torch.randint(classes, (BATCH,))
    settings = {"num_classes": classes, "embedding_size": DIMENSIONS}
    theirs = {
        "arcface": lambda: losses.ArcFaceLoss(margin=math.degrees(0.3), scale=30, **settings),
        "cosface": lambda: losses.CosFaceLoss(margin=0.3, scale=30, **settings),
        "sphereface": lambda: losses.SphereFaceLoss(margin=2, scale=1, **settings),
    }
    found = []
    for head, params in ANGULAR.items():
        own, other = _head(head, classes, params), theirs[head]()
        other.W.data = own.centres.data.T.clone()
        found.append((head, _step(own.loss, own, points_BD, labels_B), _step(other, other, points_BD, labels_B)))
    balanced_B = torch.arange(BATCH) % min(classes, BATCH // PER_CLASS)
    for mining in MINED:
        own = _head("triplet", classes, {"margin_dist": 0.2, "mining": mining, "normalise": True})
        their_loss = _their_triplet(mining)
        found.append(
            (
                f"triplet_{mining}",
                _step(own.loss, own, points_BD, balanced_B),
                _step(their_loss, None, points_BD, balanced_B),
            )
        )
    return found


def _head(name: str, classes: int, params: dict[str, Any]) -> Any:
    return head_class(name)(Trunk(nn.Identity(), classes, DIMENSIONS), **params)


def _their_triplet(mining: str) -> Callable[[Tensor, Tensor], Tensor]:
    from pytorch_metric_learning import losses, miners

    loss = losses.TripletMarginLoss(margin=0.2)
    if mining == "batch_all":
        return loss  # type: ignore[no-any-return]
    miner = miners.TripletMarginMiner(margin=0.2, type_of_triplets="semihard")
    return lambda points_BD, labels_B: loss(points_BD, labels_B, miner(points_BD, labels_B))  # type: ignore[no-any-return]


def _step(loss: Callable[..., Tensor], parameters: nn.Module | None, points_BD: Tensor, labels_B: Tensor) -> Step:
    """One forward and backward pass, to the centres and to the embeddings, whose slope it returns."""

    def step() -> Tensor:
        points = points_BD.clone().requires_grad_()
        if parameters is not None:
            parameters.zero_grad()
        loss(points, labels_B).backward()
        assert points.grad is not None
        return points.grad

    return step


def compared(ours: Step, theirs: Step) -> tuple[float, float]:
    """Their time over ours, each the median of steps in turns; our peak of memory over theirs."""
    memory = peak_bytes(ours) / peak_bytes(theirs)
    ours_s, theirs_s = in_turns(ours, theirs, rounds=FEWEST, at_least_s=ENOUGH_S)
    return theirs_s / ours_s, memory


def peak_bytes(step: Step) -> int:
    """The most that torch's allocator had handed out at a time during a step, beyond what was there before."""
    from torch.profiler import ProfilerActivity, profile

    step()  # gradients and caches are there after the first
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        step()
    held = peak = 0
    for event in profiled.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak
