"""Searches for the best embedding head: a study in, the best configuration of each head out.

    from orchestrator import Study, launch
    results = launch(Study.load("quick"))
    results.best["arcface"].params

Importing this package loads nothing heavy; the names below load what they need when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Study": "orchestrator.study.schema",
    "StudyError": "orchestrator.errors",
    "Interrupted": "orchestrator.errors",
    "Results": "orchestrator.selection.results",
    "launch": "orchestrator.stages.launch",
    "resume": "orchestrator.stages.launch",
    "confirm": "orchestrator.stages.launch",
    "open_test": "orchestrator.stages.sealed_test",
    "Embedder": "lightning_modules.models.embedder",
    "Gallery": "lightning_modules.models.gallery",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
