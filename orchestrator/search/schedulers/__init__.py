"""Schedulers, which stop or change trials while they train: one file each, found here. `base` says what one gives."""

from __future__ import annotations

from lightning_modules.registry import Registry
from orchestrator.search.schedulers.base import Scheduler

SCHEDULERS = Registry(
    "orchestrator.search.schedulers",
    Scheduler,  # type: ignore[type-abstract]
    key="scheduler",
    default="asha",
)
