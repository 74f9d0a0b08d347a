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
    "Study": "orchestrator.study",
    "StudyError": "orchestrator.errors",
    "Interrupted": "orchestrator.errors",
    "Results": "orchestrator.results",
    "launch": "orchestrator.search",
    "resume": "orchestrator.search",
    "confirm": "orchestrator.search",
    "open_test": "orchestrator.verdict.opening",
    "Embedder": "lightning_modules.embedder",
    "Gallery": "lightning_modules.identities",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
