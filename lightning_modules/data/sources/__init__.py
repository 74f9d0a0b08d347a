"""Where images come from: one file a source, found here. Numpy only."""

from __future__ import annotations

from lightning_modules.data.sources.base import Source
from lightning_modules.registry import Registry

SOURCES = Registry(
    "lightning_modules.data.sources",
    Source,  # type: ignore[type-abstract]
    key="source",
    default="mnist",
)
