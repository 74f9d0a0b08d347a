"""The program at work on the smallest study, with streams that may be broken; what is left of it, and of the study."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.storage.study_folder import StudyFolder

for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:  # from a shell's background, or nohup: a program would inherit it
        signal.signal(number, usual)
MARK = "HEADS_END"  # in the environment of the program, and of all that it starts
STUDY = """
name: small
heads: {{cosface: }}
data: {{source: idx, path: {data}, validation_images: 1000}}
body: {{width: 4}}
training: {{epochs: 2, batch_size: 64}}
search: {{trials_per_head: 2, scheduler: none, concurrent_trials: 1}}
confirmation: {{top: 1, seeds: 2}}
test: {{seeds: 1}}
tracking: {{mode: 'off'}}
"""


@dataclass
class Program:
    """A verb at work. log: what it says, on both streams. room: its TMPDIR."""

    process: subprocess.Popen[bytes]
    mark: str
    log: Path
    room: Path
    terminal: int = -1
    held: list[int] = field(default_factory=list)

    def said(self) -> str:
        text = self.log.read_bytes().decode(errors="replace")
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)

    def processes(self, title: str = "") -> list[int]:
        """All that bear its mark, wherever they hang in the tree."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    if title.encode() not in (entry / "cmdline").read_bytes():
                        continue
                    marked = f"{MARK}={self.mark}".encode() in (entry / "environ").read_bytes()
                    dead = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
                except OSError:
                    continue
                if marked and not dead:
                    found.append(int(entry.name))
        return found

    def left_after(self, seconds: float, title: str = "") -> list[int]:
        """Those that are still there when so much time is over, or none is left before."""
        end = time.monotonic() + seconds
        while (left := self.processes(title)) and time.monotonic() < end:
            time.sleep(0.1)
        return left

    def end(self) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        for each in [*self.held, self.terminal]:
            if each >= 0:
                os.close(each)


def start(words: list[object], place: Path, streams: str = "") -> Program:
    """Starts a verb, in a process group of its own. streams: what is wrong with them, in words: stdout closed."""
    room = place / "t"
    room.mkdir(parents=True, exist_ok=True)
    log, mark, held, terminal = place / "log", uuid.uuid4().hex, [], -1
    log.touch()
    command = [sys.executable, "-P", "-m", "orchestrator", *map(str, words)]
    environment = {**os.environ, MARK: mark, "TMPDIR": str(room), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    given: dict[str, Any] = {"env": environment, "stdin": subprocess.DEVNULL, "process_group": 0, "cwd": place}
    with open(log, "ab") as out:
        given |= {"stdout": out, "stderr": out}
        if streams == "terminal":
            terminal, inner = pty.openpty()
            given.pop("process_group")
            given |= dict.fromkeys(("stdin", "stdout", "stderr"), inner)
            given |= {"start_new_session": True, "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None}
        if "head -3" in streams:
            command = ["bash", "-c", f'"$@" 2>&1 | head -3 >>{log}; exit ${{PIPESTATUS[0]}}', "bash", *command]
        for number, name in ((1, "stdout"), (2, "stderr")):
            if f"{name} closed" in streams:
                command = ["sh", "-c", f'exec "$@" {number}>&-', "sh", *command]
            if f"{name} full" in streams:
                given[name] = open("/dev/full", "wb")  # noqa: SIM115
        if "stderr unread" in streams:
            reader, writer = os.pipe()
            fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
            os.write(writer, b"." * 4096)
            given["stderr"], held = writer, [reader, writer]
        process = subprocess.Popen(command, **given)
    if terminal >= 0:
        os.close(inner)
    return Program(process, mark, log, room, terminal, held)


def wait_until(reached: Callable[[], Any], program: Program, seconds: float) -> Any:
    """What is reached at last; None where the program ends, or time is up, before."""
    end = time.monotonic() + seconds
    while not (found := reached()):
        if program.process.poll() is not None or time.monotonic() > end:
            return None
        drain(program)
        time.sleep(0.05)
    return found


def drain(program: Program) -> None:
    """Reads what the program has written to its terminal, as a terminal does."""
    if program.terminal >= 0:
        os.set_blocking(program.terminal, False)
        try:
            text = os.read(program.terminal, 65536)
        except OSError:
            return
        with open(program.log, "ab") as log:
            log.write(text)


def content(folder: StudyFolder) -> dict[str, Any]:
    """All that a study has found, but for times: records by trial, best files, measures, models."""
    found: dict[str, Any] = {}
    for job, path in folder.records().items():
        for event in map(json.loads, path.read_bytes().splitlines() if path.exists() else ()):
            if event["event"] == "interrupted":
                continue
            kept = {key: value for key, value in event.items() if key not in ("time", "git")}
            if "metrics" in kept:
                kept["metrics"] = {k: v for k, v in kept["metrics"].items() if not k.startswith("time/")}
            found.setdefault(f"{job}:{event.get('trial', '')}", []).append(kept)
    for path in sorted([*folder.best.glob("*"), *folder.analysis.glob("*.json")]):
        found[str(path.relative_to(folder.root))] = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "then", path.read_text())
    for path in sorted([*folder.models.rglob("*.safetensors"), *folder.final_models.rglob("*.safetensors")]):
        found[str(path.relative_to(folder.root))] = hashlib.sha256(path.read_bytes()).hexdigest()
    found["report"] = folder.report_file.exists()
    found["left"] = sorted(str(each.relative_to(folder.root)) for each in folder.root.rglob(".*.[0-9]*"))
    found["driver"] = folder.driver_file.exists() or folder.stop_file.exists()
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]
