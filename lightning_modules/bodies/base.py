"""What a body gives: its options, a network, and its size. Loads torch only where a network is built."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning_modules.registry import Options

if TYPE_CHECKING:
    from torch import nn

ImageShape = tuple[int, int, int]  # rows, columns, channels


@dataclass(frozen=True)
class Size:
    """What a network costs. parameters: its weights. multiply_adds: of the convolutions and linear layers, an image."""

    parameters: int
    multiply_adds: int


class Body(Options, ABC):
    """A body and its options, which are the fields of the subclass: `Strided(width=8).build((28, 28, 1), 3)`.

    A subclass states its name as a literal with itself as default, and gives each option its bounds and default.
    """

    name: str

    @abstractmethod
    def build(self, image_shape: ImageShape, embedding_dim: int) -> nn.Module:
        """The network, with fresh weights: (B, channels, rows, columns) in, (B, embedding_dim) out."""

    def size(self, image_shape: ImageShape, embedding_dim: int) -> Size:
        """What the network costs, without memory for it.

        This loads torch, which takes longer than all else in a plan: a body that can count by itself overrides it. The
        contract test compares both.
        """
        return measured(self, image_shape, embedding_dim)

    def options(self) -> dict[str, Any]:
        """All options, from which `BODIES.make(name, **options)` makes the same body."""
        return self.model_dump(exclude={"name"})


def measured(body: Body, image_shape: ImageShape, embedding_dim: int) -> Size:
    """What torch itself counts on its meta device, where a tensor has a shape and no values."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    rows, columns, channels = image_shape
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = body.build(image_shape, embedding_dim).eval()
        network(torch.empty(1, channels, rows, columns))
    return Size(sum(each.numel() for each in network.parameters()), counter.get_total_flops() // 2)
