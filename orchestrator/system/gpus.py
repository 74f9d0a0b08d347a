"""Which NVIDIA GPUs this process may use: what CUDA would count, without torch, and at once.

What is there is told by `nvidia-smi`, or, where that gives no answer, by the driver's own list. What of it may be seen
is told by CUDA_VISIBLE_DEVICES, read as CUDA reads it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from orchestrator.errors import shown

ANSWER_S = 1.5
ROOT = Path("/")
VISIBLE = "CUDA_VISIBLE_DEVICES"
NAMED = ("GPU-", "MIG-")
LISTED = re.compile(r"^\s*(?:GPU|MIG) [^\n]*?\(UUID: (?P<uuid>(?:GPU|MIG)-[^)\s]+)\)\s*$", re.MULTILINE)
OF_DRIVER = re.compile(r"^GPU UUID:\s*(GPU-\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Gpus:
    """The GPUs that may be used, by what CUDA_VISIBLE_DEVICES would call each.

    note: what a user should know of it. broken: whether it says that `nvidia-smi` did not answer.
    """

    devices: tuple[str, ...] = ()
    note: str = ""
    broken: bool = False

    @property
    def number(self) -> int:
        return len(self.devices)


def look(root: Path = ROOT) -> Gpus:
    """The GPUs that this process may use now."""
    asked = os.environ.get(VISIBLE)
    if asked is not None and not _wants_any(asked):  # so nothing need answer
        return Gpus()
    listed, wrong = _listed(root, os.environ.get("PATH", ""))
    if asked is None:
        return Gpus(tuple(str(number) for number in range(len(_whole(listed)))), wrong, bool(wrong))
    seen = visible(asked, listed)
    few = len(seen) < asked.count(",") + 1
    note = f"{VISIBLE} is {shown(asked)}, which shows {len(seen)} of the {len(_whole(listed))} here" if few else ""
    return Gpus(tuple(seen), wrong or note, bool(wrong))


def _wants_any(asked: str) -> bool:
    """Not so are an empty text, -1, and words such as NoDevFiles."""
    first = asked.split(",")[0].strip()
    number = _numbered(first)
    return first.startswith(NAMED) or (number is not None and number >= 0)


def visible(asked: str, listed: Sequence[str]) -> list[str]:
    """What CUDA sees of the listed GPUs and parts of GPUs (UUIDs) where CUDA_VISIBLE_DEVICES is `asked`.

    Up to the first that is not there; nothing at all where one stands twice. Names may be cut short as long as they
    mean one alone. A process sees one part of a GPU (MIG) at most; Ray gives each trial one of them.
    """
    found: list[str] = []
    meant: list[int] = []
    words = [word.strip() for word in asked.split(",")]
    named = words[0].startswith(NAMED)
    candidates = [uuid for uuid in listed if uuid.startswith(words[0][:4])] if named else _whole(listed)
    for word in words:
        index = _named(word, candidates) if named else _numbered(word)
        if index is None or not 0 <= index < len(candidates):
            break
        if index in meant:
            return []
        meant.append(index)
        found.append(word if named else str(index))
    return found


def _numbered(word: str) -> int | None:
    """The number that a word begins with, as C's strtoul reads it: 1 of 1gpu."""
    number = re.match(r"[+-]?\d{1,9}", word)
    return int(number[0]) if number else None


def _named(word: str, candidates: Sequence[str]) -> int | None:
    """The one that begins so."""
    fits = [index for index, uuid in enumerate(candidates) if word and uuid.lower().startswith(word.lower())]
    return fits[0] if len(fits) == 1 else None


def _whole(listed: Sequence[str]) -> list[str]:
    return [uuid for uuid in listed if uuid.startswith("GPU-")]


@cache
def _listed(root: Path, search_path: str) -> tuple[list[str], str]:
    """The UUIDs of all GPUs and of their parts, and what is wrong with the answer if it is; asked once a process."""
    if not shutil.which("nvidia-smi"):
        return _of_driver(root), ""
    code, text = _answer("nvidia-smi", "-L")
    if code == 0:
        return [found["uuid"] for found in LISTED.finditer(text)], ""
    if code is None:
        by_driver = _of_driver(root)
        return by_driver, f"nvidia-smi gave no answer within {ANSWER_S:g} s; the driver lists {len(by_driver)}"
    said = text.strip().splitlines()
    return [], f"nvidia-smi failed ({code}): {said[0][:100] if said else 'it said nothing'}"


def _of_driver(root: Path) -> list[str]:
    """What the driver lists, without asking the devices themselves."""
    found = []
    for path in sorted(root.glob("proc/driver/nvidia/gpus/*/information")):
        with contextlib.suppress(OSError):  # of a device that was lost
            found += OF_DRIVER.findall(path.read_text(encoding="utf-8", errors="replace"))
    return found


def _answer(*command: str) -> tuple[int | None, str]:
    """Exit code and output; None for a program that does not end in time, as one that waits for a lost device.

    Such a one may outlive even SIGKILL, so nobody waits for it.
    """
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as error:
        return error.errno, str(error)
    try:
        content, _ = process.communicate(timeout=ANSWER_S)
        return process.returncode, content.decode(errors="replace")
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.2)
        if process.stdout:
            process.stdout.close()
        return None, ""
