"""Batch norm over the whole batch where several workers share it: the statistics of one worker, on any device.

torch's own SyncBatchNorm refuses tensors on the CPU (2.13).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lightning_modules.distributed import gather


class SharedBatchNorm(_BatchNorm):
    """Batch norm of (b, C, …) whose mean and variance in training are those of all workers' images.

    Each worker gives its count, means and variances, which are combined as by Chan, Golub and LeVeque (1979): exact,
    and without the difference of two large numbers. In evaluation it is torch's own. Weights and buffers have torch's
    names, so that a checkpoint loads into either.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any shape (b, C, …)."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            evaluated: Tensor = super().forward(input)
            return evaluated
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        count, mean_C, variance_C = self._statistics(values)
        self._remember(mean_C.detach(), variance_C.detach(), count.detach())
        scale_C = torch.rsqrt(variance_C + self.eps)
        scale_C = scale_C if self.weight is None else self.weight * scale_C
        shift_C = -mean_C * scale_C if self.bias is None else self.bias - mean_C * scale_C
        per_channel = (1, -1, *[1] * (input.ndim - 2))
        return torch.addcmul(shift_C.view(per_channel), values, scale_C.view(per_channel)).to(input.dtype)

    def _statistics(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How many values a channel has over all workers, their means (C) and variances (C), divided by the count."""
        axes = [axis for axis in range(values.ndim) if axis != 1]
        own_variance_C, own_mean_C = torch.var_mean(values, axes, correction=0)
        own_count = own_mean_C.new_full((1,), values.numel() // values.shape[1])
        rows_WK = gather.statistics(torch.cat([own_count, own_mean_C, own_variance_C]))
        counts_W1, (means_WC, variances_WC) = rows_WK[:, :1], rows_WK[:, 1:].chunk(2, dim=1)
        count = counts_W1.sum()
        shares_W1 = counts_W1 / count
        mean_C = (shares_W1 * means_WC).sum(0)
        variance_C = (shares_W1 * (variances_WC + (means_WC - mean_C) ** 2)).sum(0)
        return count, mean_C, variance_C

    @torch.no_grad()
    def _remember(self, mean_C: Tensor, variance_C: Tensor, count: Tensor) -> None:
        """Moves the running statistics on; the running variance is the unbiased one, as torch's."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        momentum = 1 / self.num_batches_tracked if self.momentum is None else self.momentum
        self.running_mean += momentum * (mean_C - self.running_mean)
        self.running_var += momentum * (variance_C * count / (count - 1) - self.running_var)


def shared(module: nn.Module) -> nn.Module:
    """The module with every batch norm of torch's in it replaced by a SharedBatchNorm of the same weights."""
    if isinstance(module, _BatchNorm) and not isinstance(module, SharedBatchNorm):
        ours = SharedBatchNorm(module.num_features, module.eps, module.momentum, module.affine)
        ours.weight, ours.bias = module.weight, module.bias
        ours.track_running_stats, ours.training = module.track_running_stats, module.training
        for name, buffer in module.named_buffers(recurse=False):
            setattr(ours, name, buffer)
        return ours
    for name, child in module.named_children():
        setattr(module, name, shared(child))
    return module
