"""The processes of a Ray that this one has started: whether they are well, and their end.

A signal is a request to the driver, who ends them when what they know is on record. So they are in process groups of
their own, where one to the driver's group does not come, as from a shell, a terminal or `timeout`; and one to each
process of a job, as from systemd or Slurm, is blocked there and in all that they start: they are only ever killed.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from orchestrator.errors import RayEnded
from orchestrator.system.signals import NUMBERS

NAMES = ("gcs_server", "raylet")
RARELY = 10  # looks, after which it is seen anew which processes the daemons have started
KILLED_S = 5.0
_forks_daemons = False


@contextmanager
def undisturbed() -> Iterator[None]:
    """As long as it lasts, whatever Ray starts from this process is out of reach of the signals to this one."""
    global _forks_daemons
    _forks_daemons = True
    try:
        yield
    finally:
        _forks_daemons = False


def _step_aside() -> None:
    if _forks_daemons:
        os.setpgid(0, 0)
        signal.pthread_sigmask(signal.SIG_BLOCK, NUMBERS)  # whatever handlers they set; Ray does so with SIGINT


os.register_at_fork(after_in_child=_step_aside)  # Ray's daemons are forked with a function to call before they begin


class Daemons:
    """Those that work in a folder, as their command lines say, and all that they have started.

    One that died before anybody looked has no command line any more; it was started after this.
    """

    def __init__(self, folder: Path) -> None:
        import psutil  # Ray brings it

        self._folder, self._looks, self._killed = str(folder), 0, False
        self._before = {child.pid for child in psutil.Process().children()}
        self._own: dict[str, Any] = {}
        self._started: dict[int, Any] = {}

    def look(self) -> None:
        """Raises RayEnded where one that was there is gone."""
        import psutil

        if len(self._own) < len(NAMES):
            self._find()
        for name, process in self._own.items():
            if not _lives(process):
                raise RayEnded(f"Ray has ended: its {name} {_how(process.pid)}")
        if self._looks % RARELY == 0:
            for process in self._own.values():
                try:
                    self._started |= {child.pid: child for child in process.children(recursive=True)}
                except psutil.Error:
                    continue
        self._looks += 1

    def gone(self) -> bool:
        """Whether one that was there is gone, and not by `kill`."""
        return not self._killed and not all(map(_lives, list(self._own.values())))  # others may look meanwhile

    def kill(self) -> None:
        """Ends whatever is left of them."""
        import psutil

        self._killed = True
        left = {process.pid: process for process in (*self._own.values(), *self._children())}
        for process in list(left.values()):
            try:
                left |= {child.pid: child for child in process.children(recursive=True)}
            except psutil.Error:
                continue
        left |= self._started
        for process in left.values():
            try:
                process.kill()
            except psutil.Error:
                continue
        psutil.wait_procs(left.values(), timeout=KILLED_S)

    def _find(self) -> None:
        import psutil

        for child in self._children():
            with suppress(psutil.Error):
                if (name := child.name()) in NAMES:
                    self._own.setdefault(name, child)

    def _children(self) -> Iterator[Any]:
        """What this process has started with the folder in its command line."""
        import psutil

        for child in psutil.Process().children():
            with suppress(psutil.Error):
                dead = child.status() == psutil.STATUS_ZOMBIE
                fell = dead and child.pid not in self._before and child.name() in NAMES
                if fell or (not dead and self._folder in " ".join(child.cmdline())):
                    yield child


def _lives(process: Any) -> bool:
    import psutil

    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _how(pid: int) -> str:
    """How a child of this process has ended, whoever has waited for it."""
    status = _waited_for(pid)
    if status is None:
        return "is gone"
    return f"was killed by {_signal(-status)}" if status < 0 else f"exited with {status}"


def _waited_for(pid: int) -> int | None:
    """What a child has ended with, a signal as a negative number. It stays there for whoever waits for it."""
    end = time.monotonic() + KILLED_S
    try:
        while not (ended := os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
            if time.monotonic() > end:  # it is dead when the first of its threads is, and ends with the last
                return None
            time.sleep(0.01)
    except ChildProcessError:  # Ray has waited for it, and knows
        popens = (each for each in gc.get_objects() if issubclass(type(each), subprocess.Popen))
        return next((popen.returncode for popen in popens if popen.pid == pid), None)
    except (AttributeError, OSError):  # macOS
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
