"""Searches for the best embedding head: a study in, the best configuration of each head out.

    from orchestrator import Study, launch
    results = launch(Study.load("quick"))
    results.best["arcface"].params

The public API, all of it; every other path may change:

    Study         what is searched: `Study.load(file or name, overrides)`, or built from its sections
    launch        runs a study to its end, and returns its Results
    resume        goes on with one that was interrupted, to the result that it would have had
    confirm       adds fresh seeds to a finished one
    open_test     trains the best of each head again and measures it on the sealed test, once
    RunOptions    where and for how long those four run: an address of Ray, a cluster file, a time budget
    EventLines    shows a search as lines on stderr: `launch(study, progress=EventLines())`
    Results       a study's folder, read: leaderboard, best, confirmation, test; also while it runs
    Embedder      a kept model: images (N, H, W[, C]) uint8 in, vectors (N, D) float32 out; verifies pairs
    Gallery       identities enrolled from a few images each, and found again in others
    StudyError    what is wrong with a study, each problem with place, rule, value and fix
    CannotRun     why a study that makes sense cannot run here and now
    Interrupted   the machine broke a study off; `resume` goes on

Importing this package loads nothing heavy; the names load what they need when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Study": "orchestrator.study.schema",
    "launch": "orchestrator.stages.launch",
    "resume": "orchestrator.stages.launch",
    "confirm": "orchestrator.stages.launch",
    "open_test": "orchestrator.stages.sealed_test",
    "RunOptions": "orchestrator.cluster.run_options",
    "EventLines": "orchestrator.reporting.progress_view",
    "Results": "orchestrator.selection.results",
    "Embedder": "lightning_modules.models.embedder",
    "Gallery": "lightning_modules.models.gallery",
    "StudyError": "orchestrator.errors",
    "CannotRun": "orchestrator.errors",
    "Interrupted": "orchestrator.errors",
}
__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'orchestrator' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
