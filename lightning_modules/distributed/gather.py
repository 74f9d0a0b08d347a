"""One batch over several workers: image i is worker (i mod workers)'s, and every worker computes the whole loss.

Knows torch.distributed; where there is one worker, nothing happens here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def workers() -> int:
    """How many processes share each batch."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this one is, from 0."""
    return dist.get_rank() if workers() > 1 else 0


def batch(shard_bD: Tensor, total: int) -> Tensor:
    """The rows (B, D) of the whole batch in its own order, from this worker's (b, D); `total` is B.

    Differentiable. Every worker must then compute the same loss from them, and the workers' gradients be averaged, as
    DDP does: each worker's rows get the loss's gradient times the number of workers, of which the mean over workers is
    the sum over all rows, the gradient of one worker; what the loss itself learns gets the same gradient everywhere.
    """
    gathered: Tensor = shard_bD if workers() == 1 else _Whole.apply(shard_bD, total)  # type: ignore[no-untyped-call]
    return gathered


def statistics(row_K: Tensor) -> Tensor:
    """The rows (W, K) of all workers, from each one's own (K). Differentiable: their gradients are summed."""
    rows: Tensor = _OfEach.apply(row_K)  # type: ignore[no-untyped-call]
    return rows


class _Whole(torch.autograd.Function):
    """Workers may differ by one row, so all send as many as the first one has."""

    @staticmethod
    def forward(ctx: Any, shard_bD: Tensor, total: int) -> Tensor:
        number = workers()
        sent_bD = shard_bD.new_zeros(-(-total // number), *shard_bD.shape[1:])
        sent_bD[: len(shard_bD)] = shard_bD
        parts = [torch.empty_like(sent_bD) for _ in range(number)]
        dist.all_gather(parts, sent_bD)
        return torch.stack(parts, dim=1).flatten(0, 1)[:total]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0][rank() :: workers()] * workers(), None


class _OfEach(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, row_K: Tensor) -> Tensor:
        rows = [torch.empty_like(row_K) for _ in range(workers())]
        dist.all_gather(rows, row_K.contiguous())
        return torch.stack(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        summed_WK = gradients[0].contiguous().clone()
        dist.all_reduce(summed_WK)
        return summed_WK[rank()]
