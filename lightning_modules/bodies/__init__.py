"""The networks under the heads: images (B, channels, H, W) in, embeddings (B, D) out."""

from __future__ import annotations

import math

import torch
from torch import nn

BODIES = ("strided", "reference")


def _stage(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def _layer(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs)]


def strided(image_shape: tuple[int, int, int], embedding_dim: int, width: int = 16, hidden: int = 128) -> nn.Sequential:
    """The fast default: three strided convolutions (5×5, 3×3, 3×3), two hidden layers, a linear one and batch norm.

    hidden: units of each hidden layer; with 0 there is none. They cost little and are what few dimensions need: the
    classes do not lie around a circle or a sphere in an order that a linear layer finds. With the defaults 0.75 M
    multiply-adds on 28 × 28 images, a 23rd of the reference body's.
    """
    rows, columns, channels = image_shape
    features = 4 * width * math.ceil(rows / 8) * math.ceil(columns / 8)
    layers = [
        *_stage(channels, width, 5, stride=2),
        *_stage(width, 2 * width, 3, stride=2),
        *_stage(2 * width, 4 * width, 3, stride=2),
        nn.Flatten(),
    ]
    for inputs in (features, hidden) if hidden else ():
        layers += [*_layer(inputs, hidden), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, *_layer(hidden or features, embedding_dim))


def reference(image_shape: tuple[int, int, int], embedding_dim: int, depth: int = 8) -> nn.Sequential:
    """The body of the notebooks that this project is compared with: full resolution all the way, 17 M multiply-adds.

    conv 5×5×32, `depth` × (conv 3×3×16, batch norm, ReLU), conv 3×3 to D channels, global average pooling, batch norm.
    """
    stages: list[nn.Module] = []
    for stage in range(depth):
        stages += _stage(16 if stage else 32, 16, 3, stride=1)
    return nn.Sequential(
        nn.Conv2d(image_shape[2], 32, 5, padding=2),
        nn.ReLU(inplace=True),
        *stages,
        nn.Conv2d(16 if depth else 32, embedding_dim, 3, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.BatchNorm1d(embedding_dim),
    )


def build(name: str, image_shape: tuple[int, int, int], embedding_dim: int, **options: int) -> nn.Sequential:
    """The body called `name`; raises ValueError for an unknown name."""
    if name == "strided":
        return strided(image_shape, embedding_dim, **options)
    if name == "reference":
        return reference(image_shape, embedding_dim, **options)
    raise ValueError(f"body must be one of {', '.join(BODIES)}, but got {name!r}")


def multiply_adds(name: str, image_shape: tuple[int, int, int], embedding_dim: int, **options: int) -> float:
    """Of a body's forward pass of one image, by torch's own counter: those of convolutions and linear layers."""
    from torch.utils.flop_counter import FlopCounterMode

    rows, columns, channels = image_shape
    with FlopCounterMode(display=False) as counter:
        build(name, image_shape, embedding_dim, **options).eval()(torch.zeros(1, channels, rows, columns))
    return float(counter.get_total_flops()) / 2
