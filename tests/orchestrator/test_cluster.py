"""How Ray ends: nothing that refers to it may be collected by another thread meanwhile."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
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
