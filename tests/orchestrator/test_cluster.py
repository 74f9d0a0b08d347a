"""How Ray starts, with what trials import; and how it ends: nothing that refers to it may be collected meanwhile."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import ray

from orchestrator import cluster


class Reference:
    """Stands for an object reference of Ray's; it refers to itself, so that only the collector finds it."""

    def __init__(self) -> None:
        self.cycle = self


@pytest.mark.parametrize("enabled", [True, False])
def test_nothing_is_left_to_collect_while_ray_shuts_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enabled: bool
) -> None:
    seen: list[tuple[bool, Any]] = []
    monkeypatch.setattr(ray, "init", lambda *given, **settings: None)
    monkeypatch.setattr(ray, "shutdown", lambda: seen.append((gc.isenabled(), garbage())))
    if not enabled:
        gc.disable()
    try:
        with cluster.local_ray(1, 0, 0, tmp_path):
            garbage = weakref.ref(Reference())
        assert seen == [(False, None)]
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


@pytest.mark.parametrize(("gpus", "early"), [(0, True), (1, False)])
def test_processes_have_imported_what_trials_need_but_not_before_they_know_their_gpus(gpus: int, early: bool) -> None:
    short = TemporaryDirectory(prefix="heads-", ignore_cleanup_errors=True)  # sockets lie below it
    with pytest.MonkeyPatch.context() as patch, short as scratch:
        patch.delenv("RAY_preload_python_modules", raising=False)
        with cluster.local_ray(1, gpus, 0, Path(scratch)):
            imported = ray.remote(lambda: "pytorch_lightning" in sys.modules)
            assert ray.get(imported.remote()) is early
