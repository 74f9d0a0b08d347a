"""Ray's daemons: in groups of their own, missed when they are gone, and ended with all that they started."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray  # noqa: F401  which brings psutil

from orchestrator.errors import RayEnded
from orchestrator.system import ray_daemons
from orchestrator.system.ray_daemons import NAMES, Daemons, undisturbed
from orchestrator.system.signals import NUMBERS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="takes a shell under a daemon's name")
REAL_TIME = signal.SIGRTMIN + 3
DIES_THREAD_BY_THREAD = """
import ctypes, os, threading, time
threading.Thread(target=lambda: (time.sleep(0.5), os._exit(3))).start()
print("begun", flush=True)
ctypes.CDLL(None).pthread_exit(None)
"""
Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start(name): a process of that name, whose command line names a folder, and which has started another."""
    started = []

    def begin(name: str) -> subprocess.Popen[bytes]:
        program = tmp_path / name
        shutil.copy(shutil.which("sh") or "", program)
        words = [str(program), "-c", "sleep 600 & echo $!; wait", str(tmp_path)]
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE, preexec_fn=lambda: None))
        return started[-1]

    yield begin
    for process in started:
        with process:
            process.kill()


def child_of(process: subprocess.Popen[bytes]) -> int:
    assert process.stdout
    return int(process.stdout.readline())


def test_what_ray_starts_leads_a_group_of_its_own(start: Start) -> None:
    with undisturbed():
        apart = start("raylet")
    within = start("gcs_server")
    children = [child_of(process) for process in (apart, within)]
    assert os.getpgid(apart.pid) == apart.pid
    assert os.getpgid(within.pid) == os.getpgid(0)
    assert os.getsid(apart.pid) == os.getsid(0)  # priorities may be weighed within a session alone
    for child in children:
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_to_every_process_ends_none_that_ray_started(start: Start, number: int) -> None:
    with undisturbed():
        raylet = start("raylet")
    child = child_of(raylet)
    for pid in (raylet.pid, child):
        os.kill(pid, number)
        assert number in blocked(pid)
    assert raylet.poll() is None
    assert alive(child)
    os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize("name", NAMES)
def test_a_daemon_that_is_killed_is_missed_and_the_others_are_ended(start: Start, tmp_path: Path, name: str) -> None:
    running = {each: start(each) for each in NAMES}
    children = [child_of(process) for process in running.values()]
    known = Daemons(tmp_path)
    known.look()
    assert not known.gone()
    running[name].kill()
    running[name].wait()
    assert known.gone()
    with pytest.raises(RayEnded, match=f"its {name} was killed by SIGKILL"):
        known.look()
    known.kill()
    assert not known.gone()  # by itself
    assert not any(alive(pid) for pid in children)
    assert all(process.poll() is not None for process in running.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_daemon_that_is_killed_before_anybody_looks_is_missed_too(start: Start, tmp_path: Path, name: str) -> None:
    before, known = dead(start(name)), Daemons(tmp_path)
    known.look()  # one of an earlier Ray's, which nobody has waited for
    assert not known.gone()
    after = dead(start(name))
    with pytest.raises(RayEnded, match=f"its {name} was killed by SIGKILL"):
        known.look()
    assert known.gone()
    assert [before.poll(), after.poll()] == [-signal.SIGKILL] * 2  # left to whoever started them


def dead(process: subprocess.Popen[bytes]) -> subprocess.Popen[bytes]:
    """Killed, with the process that it has started, and waited for by nobody."""
    os.kill(child_of(process), signal.SIGKILL)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    return process


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -KILL $$", "was killed by SIGKILL"),
        (f"kill -{REAL_TIME} $$", f"was killed by signal {REAL_TIME}"),
        ("exit 3", "exited with 3"),
    ],
)
@pytest.mark.parametrize("waited_for", [False, True])
def test_it_is_said_how_a_daemon_has_ended(script: str, said: str, waited_for: bool) -> None:
    with subprocess.Popen(["sh", "-c", script]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        if waited_for:
            process.wait()
        assert ray_daemons._how(process.pid) == said


def test_it_is_waited_for_the_last_thread_of_a_daemon() -> None:
    with subprocess.Popen([sys.executable, "-c", DIES_THREAD_BY_THREAD], stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        while alive(process.pid):
            time.sleep(0.01)
        assert ray_daemons._how(process.pid) == "exited with 3"


def test_another_rays_daemons_are_let_alone(start: Start, tmp_path: Path) -> None:
    other = start("raylet")
    child = child_of(other)
    known = Daemons(tmp_path / "another")
    known.look()
    known.kill()
    assert other.poll() is None
    os.kill(child, signal.SIGKILL)


def blocked(pid: int) -> set[int]:
    line = next(each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("SigBlk"))
    return {number for number in range(1, 65) if int(line.split()[1], 16) >> (number - 1) & 1}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
