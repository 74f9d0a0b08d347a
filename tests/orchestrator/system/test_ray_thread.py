"""What Ray does is done in a thread beside, which the main thread can leave behind."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from orchestrator.errors import RayEnded
from orchestrator.system import ray_thread
from orchestrator.system.ray_thread import RayThread


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_thread, "EVERY_S", 0.001)


def ended() -> None:
    raise RayEnded("Ray has ended: its raylet was killed by SIGKILL")


def test_all_is_done_in_one_thread_that_lives_on() -> None:
    thread = RayThread(lambda: None)
    first, second = (thread.do(threading.current_thread) for _ in range(2))
    assert first is second is not threading.current_thread()
    assert first.is_alive()
    assert thread.last(lambda: None, 10)
    first.join(10)
    assert not first.is_alive()


@pytest.mark.parametrize("error", [ValueError("no"), TimeoutError("late"), SystemExit(1)])
def test_what_the_work_raises_is_raised(error: BaseException) -> None:
    thread = RayThread(lambda: None)

    def work() -> None:
        raise error

    with pytest.raises(type(error)):
        thread.do(work)
    thread.close()


def test_work_that_never_returns_is_given_up_where_a_look_raises() -> None:
    never = threading.Event()
    thread = RayThread(ended)
    with pytest.raises(RayEnded):
        thread.do(never.wait)
    assert not thread.idle(0.01)
    never.set()
    thread.close()


def test_a_last_thing_that_waits_for_what_is_gone_is_not_waited_for() -> None:
    never, looked = threading.Event(), iter([False, True])
    thread = RayThread(lambda: None)
    assert not thread.last(never.wait, 3600, lambda: next(looked))
    never.set()


def test_an_error_that_comes_of_rays_end_is_told_as_that() -> None:
    done = threading.Event()

    def work() -> None:
        done.set()
        raise ConnectionError("rpc error: 14")

    def look() -> None:
        if done.is_set():
            ended()

    thread = RayThread(look)
    with pytest.raises(RayEnded):
        thread.do(work)
    thread.close()


def test_a_program_whose_ray_never_answers_ends_with_its_code(tmp_path: Path) -> None:
    program = """
import atexit, tempfile, threading
from orchestrator.system import ray_thread
folder = tempfile.TemporaryDirectory()
thread = ray_thread.RayThread(lambda: None)
thread.last(threading.Event().wait, 0.01)
atexit.register(threading.Event().wait)  # as Ray's and Tune's
print("said")
ray_thread.leave(7)
"""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (7, "said\n")
    assert not any(tmp_path.iterdir())
