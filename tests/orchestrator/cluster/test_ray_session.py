"""How Ray ends: nothing that refers to it may be collected by another thread meanwhile, and no thread is left."""

from __future__ import annotations

import atexit
import ctypes
import gc
import signal
import threading
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ray._private import node, worker

from orchestrator.cluster import ray_session
from orchestrator.errors import CannotRun, RayEnded
from orchestrator.system.ray_daemons import Daemons
from orchestrator.system.ray_thread import NAME


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
        with ray_session.local_ray(1, 0, 0, tmp_path):
            garbage = weakref.ref(Reference())
        assert seen == [(False, None)]
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


@pytest.mark.parametrize("gone", [True, False])
def test_a_ray_that_is_left_behind_is_not_asked_for_anything_when_the_process_exits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    from ray.tune import registry

    begun, kept = list[bool](), [registry._unregister_all]
    monkeypatch.setattr(ray, "init", lambda *given, **settings: begun.append(True))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(Daemons, "gone", lambda known: gone and bool(begun))
    monkeypatch.setattr(atexit, "unregister", lambda function: function in kept and kept.remove(function))
    with ray_session.local_ray(1, 0, 0, tmp_path) as beside:
        pass
    beside.close()
    assert bool(kept) != gone


@pytest.mark.parametrize("end", ["written", "gone", "late"])
def test_while_ray_waits_for_its_gcs_others_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str) -> None:
    asked, looks = list[int](), list[bool]()
    monkeypatch.setattr(node, "wait_for_persisted_port", lambda *given, timeout_ms: asked.append(timeout_ms) or 6379)

    def gone() -> bool:  # is asked again and again, while others may work
        assert not asked
        looks.append(True)
        if end == "written" and len(looks) == 3:
            (tmp_path / "gcs_server_port_head").touch()
        return end == "gone" and len(looks) == 3

    with ray_session._audibly(gone):
        timeout_ms = 100 if end == "late" else 100_000
        assert node.wait_for_persisted_port(str(tmp_path), "head", "gcs_server_port", timeout_ms=timeout_ms) == 6379
    assert asked == [1000 if end == "written" else 0]
    assert end == "late" or len(looks) == 3
    assert node.wait_for_persisted_port("", "", "", timeout_ms=1) == 6379  # Ray's own again
    assert asked[1:] == [1]


def test_a_ray_that_does_not_start_is_told_as_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(*given: object, **settings: object) -> None:
        raise RuntimeError("Timed out waiting for file gcs_server_port\nand a page more")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with (
        pytest.raises(RayEnded, match=r"^Ray does not start: Timed out waiting for file gcs_server_port$"),
        ray_session.local_ray(1, 0, 0, tmp_path),
    ):
        pass


def test_sigterm_is_heard_while_ray_ends_whose_core_leaves_it_deadly(monkeypatch: pytest.MonkeyPatch) -> None:
    def action() -> bytes:
        known = ctypes.create_string_buffer(1024)
        libc.sigaction(signal.SIGTERM, None, known)
        return known.raw[: ctypes.sizeof(ctypes.c_void_p)]  # the handler

    def end() -> None:
        libc.signal(signal.SIGTERM, ctypes.c_void_p(0))  # as the core does: past Python
        assert action() != heard
        node.kill_all_processes()

    libc, seen = ctypes.CDLL(None), list[bytes]()
    node = SimpleNamespace(kill_all_processes=lambda: None)
    before = signal.signal(signal.SIGTERM, lambda *given: None)
    heard = action()
    monkeypatch.setattr(worker, "_global_node", node)
    monkeypatch.setattr(ray, "shutdown", end)
    try:
        ray_session._shutdown(lambda: seen.append(action()))
        assert seen == [heard]
    finally:
        signal.signal(signal.SIGTERM, before)


def raising(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [ConnectionError(), RuntimeError("\n"), ValueError("no such address")])
def test_a_cluster_that_does_not_answer_is_told_with_or_without_words(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(ray, "init", lambda *given, **settings: raising(error))
    with pytest.raises(CannotRun, match=f"there:6379: {type(error).__name__}"), ray_session.joined("there:6379"):
        pass
    assert not threads()


@pytest.mark.parametrize("error", [OSError("no route"), SystemExit(1), ImportError("another version")])
def test_whatever_keeps_it_from_being_joined_leaves_no_thread(
    monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(ray, "init", lambda *given, **settings: raising(error))
    with pytest.raises(type(error)), ray_session.joined("there:6379"):
        pass
    assert not threads()


def test_one_that_is_joined_after_all_is_left_where_nobody_waits_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, left = threading.Event(), threading.Event()
    monkeypatch.setattr(ray, "init", lambda *given, **settings: answers.wait(60))
    monkeypatch.setattr(ray, "shutdown", left.set)
    monkeypatch.setattr(ray_session, "IDLE_S", 0.0)
    with (
        pytest.raises(KeyboardInterrupt),
        ray_session.joined("there:6379", lambda: raising(KeyboardInterrupt())),
    ):
        pass
    assert threads()
    answers.set()
    assert left.wait(60)
    assert not threads()


def threads() -> list[threading.Thread]:
    """Those for what Ray does, that do not end in a moment."""
    found = [thread for thread in threading.enumerate() if thread.name == NAME]
    for thread in found:
        thread.join(1)
    return [thread for thread in found if thread.is_alive()]
