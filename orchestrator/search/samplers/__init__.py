"""Samplers, which choose configurations: one file each, found here. `base` says what a sampler must give."""

from __future__ import annotations

from lightning_modules.registry import Registry
from orchestrator.search.samplers.base import Sampler

SAMPLERS = Registry("orchestrator.search.samplers", Sampler, key="searcher", default="tpe")  # type: ignore[type-abstract]
