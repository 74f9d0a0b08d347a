"""The body of the notebooks that this project is compared with: full resolution all the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from lightning_modules.bodies.base import Body, ImageShape, Size

if TYPE_CHECKING:
    from torch import nn


class Reference(Body):
    """Convolution 5×5×32, `depth` × (convolution 3×3×16, batch norm, ReLU), convolution 3×3 to D channels.

    Then global average pooling and batch norm. 17 M multiply-adds on 28 × 28 images.
    """

    name: Literal["reference"] = "reference"
    depth: Annotated[int, Field(ge=1, le=100)] = 8

    def build(self, image_shape: ImageShape, embedding_dim: int) -> nn.Module:
        from torch import nn

        stages: list[nn.Module] = []
        for inputs in self._inputs():
            stages += [nn.Conv2d(inputs, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)]
        return nn.Sequential(
            nn.Conv2d(image_shape[2], 32, 5, padding=2),
            nn.ReLU(inplace=True),
            *stages,
            nn.Conv2d(16, embedding_dim, 3, padding=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.BatchNorm1d(embedding_dim),
        )

    def size(self, image_shape: ImageShape, embedding_dim: int) -> Size:
        rows, columns, channels = image_shape
        weights = 25 * channels * 32 + sum(9 * inputs * 16 for inputs in self._inputs()) + 9 * 16 * embedding_dim
        others = 32 + 2 * 16 * self.depth + (1 + 2) * embedding_dim  # biases, and two for each channel of a batch norm
        return Size(weights + others, weights * rows * columns)

    def _inputs(self) -> list[int]:
        """Input channels of each stage."""
        return [32] + [16] * (self.depth - 1)
