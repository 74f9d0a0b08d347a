"""The networks under the heads: images (B, channels, H, W) in, embeddings (B, D) out. One file a body, found here."""

from __future__ import annotations

from lightning_modules.bodies.base import Body
from lightning_modules.registry import Registry

BODIES = Registry("lightning_modules.bodies", Body, key="name", default="strided")  # type: ignore[type-abstract]
