"""What the kernel's control groups, version 1 and 2, leave this process of the machine: cores' time and memory.

A container's limit is no property of the machine, and a limit of any group above counts too. Pure but for reading
files below `root`, so that a test can bring a machine of its own. Knows no study.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")
UNLIMITED_BYTES = 2**60  # version 1 has a number near 2^63 where there is no limit


@dataclass(frozen=True)
class Limits:
    """What may be used at most; inf where nothing limits it. cores: the time of so many."""

    cores: float = math.inf
    memory_bytes: float = math.inf


def limits(root: Path = ROOT) -> Limits:
    """The lowest limits of this process's groups and of all groups above them."""
    cores, memory = [math.inf], [math.inf]
    for group in _groups("cpu", root):
        cores.append(_quota_v2(_text(group / "cpu.max")))
        cores.append(_quota_v1(_text(group / "cpu.cfs_quota_us"), _text(group / "cpu.cfs_period_us")))
    for group in _groups("memory", root):
        memory += [_bytes(_text(group / name)) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
    return Limits(min(cores), min(memory))


def oom_kills(root: Path = ROOT) -> int:
    """How many processes the kernel has ended in this process's group, so far, because memory was short."""
    return max((_killed(group) for group in _groups("memory", root)), default=0)


def _killed(group: Path) -> int:
    lines = f"{_text(group / 'memory.events')}\n{_text(group / 'memory.oom_control')}".splitlines()
    counts = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
    return max((int(count) for count in counts if count.isdigit()), default=0)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's groups with a controller, each before the ones above it."""
    own = _own_groups(_text(root / "proc/self/cgroup"))
    for kind, options, top, mount in _mounts(_text(root / "proc/self/mountinfo")):
        version_1 = own.get(controller) if controller in options else None
        group = own.get("") if kind == "cgroup2" else version_1
        if group is None:
            continue
        below = PurePosixPath(group)  # a container's mount may begin at its own group, or know nothing of its name
        below = below.relative_to(top) if below.is_relative_to(top) else PurePosixPath()
        if ".." in below.parts:
            below = PurePosixPath()
        for each in (below, *below.parents):
            yield root / mount.relative_to("/") / each


def _own_groups(text: str) -> dict[str, str]:
    """controller → group, of version 1; "" → group, of version 2. Lines are 4:cpu,cpuacct:/a/group and 0::/a/group."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        _, controllers, group = line.split(":", 2) if line.count(":") > 1 else ("", "?", "")
        found |= dict.fromkeys(controllers.split(","), group)
    return found


def _mounts(text: str) -> Iterator[tuple[str, list[str], PurePosixPath, PurePosixPath]]:
    """Of each mounted hierarchy: file system, options, the group that is mounted, and where (proc(5), mountinfo)."""
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        place, kind = before.split(), after.split()
        if len(place) >= 5 and len(kind) >= 3 and kind[0] in ("cgroup", "cgroup2") and place[4].startswith("/"):
            yield kind[0], kind[2].split(","), PurePosixPath(_plain(place[3])), PurePosixPath(_plain(place[4]))


def _plain(path: str) -> str:
    """A path without the octal numbers that mountinfo has for spaces."""
    return path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")


def _quota_v2(text: str) -> float:
    """Of "150000 100000" microseconds 1.5; inf of "max 100000"."""
    quota, _, period = text.partition(" ")
    return _quota_v1(quota, period)


def _quota_v1(quota: str, period: str) -> float:
    """Of 150000 in 100000 microseconds 1.5; inf of -1."""
    used, of = _number(quota, float), _number(period, float)
    return used / of if used > 0 and 0 < of < math.inf else math.inf


def _bytes(text: str) -> float:
    number = _number(text, float)
    return number if 0 <= number < UNLIMITED_BYTES else math.inf


def _number(text: str, kind: Callable[[str], float]) -> float:
    try:
        return kind(text)
    except ValueError:  # "max", or no such file
        return math.inf


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
