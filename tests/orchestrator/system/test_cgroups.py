"""What control groups leave of a machine, read from machines that are folders."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from orchestrator.cluster import resources
from orchestrator.system import cgroups
from orchestrator.system.cgroups import Limits

GIB = 2**30
V2 = "31 23 0:28 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "32 31 0:29 {top} /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n" + (
    "35 31 0:32 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)
UNLIMITED_V1 = "9223372036854771712"


def machine(root: Path, own: str, mounts: str, **files: str) -> Path:
    """A root folder; files: below /sys/fs/cgroup, with __ for / and the last part after ___."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own)
    (root / "proc/self/mountinfo").write_text(f"22 1 0:21 / /proc rw - proc proc rw\n{mounts}")
    for name, content in files.items():
        folder, _, file = name.rpartition("___")
        path = root / "sys/fs/cgroup" / folder.replace("__", "/") / file.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, Limits()),
        ({"a__b___cpu__max": "max 100000", "a__b___memory__max": "max"}, Limits()),
        ({"a__b___cpu__max": "150000 100000"}, Limits(cores=1.5)),
        ({"a__b___cpu__max": "50000 100000", "a___cpu__max": "400000 100000"}, Limits(cores=0.5)),
        ({"a__b___cpu__max": "max 100000", "a___cpu__max": "200000 100000"}, Limits(cores=2)),
        ({"___cpu__max": "300000 100000"}, Limits(cores=3)),  # of the container itself
        ({"a__b___memory__max": str(4 * GIB), "a___memory__max": str(2 * GIB)}, Limits(memory_bytes=2 * GIB)),
        ({"a__b___memory__max": str(4 * GIB), "a__b___memory__high": str(GIB)}, Limits(memory_bytes=GIB)),
        ({"other___memory__max": "1", "other___cpu__max": "1 100000"}, Limits()),
        ({"a__b___cpu__max": "garbage", "a__b___memory__max": "", "a___cpu__max": "0 0"}, Limits()),
    ],
)
def test_limits_of_version_2_count_up_to_the_top(tmp_path: Path, files: dict[str, str], expected: Limits) -> None:
    assert cgroups.limits(machine(tmp_path, "0::/a/b\n", V2, **files)) == expected


@pytest.mark.parametrize("top", ["/", "/docker/abc", "/../.."])
def test_limits_of_version_1_count_wherever_the_mount_begins(tmp_path: Path, top: str) -> None:
    group = "/docker/abc/job" if top == "/docker/abc" else "/job"
    root = machine(
        tmp_path,
        f"4:memory:{group}\n2:cpu,cpuacct:{group}\n1:name=systemd:/init\n0::/\n",
        V1.format(top=top),
        cpu___cpu__cfs_quota_us="-1",
    )
    assert cgroups.limits(root) == Limits()
    for name, content in {
        "cpu/job/cpu.cfs_quota_us": "250000",
        "cpu/job/cpu.cfs_period_us": "100000",
        "memory/job/memory.limit_in_bytes": UNLIMITED_V1,
        "memory/memory.limit_in_bytes": str(3 * GIB),
    }.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert cgroups.limits(root) == (Limits(memory_bytes=3 * GIB) if top == "/../.." else Limits(2.5, 3 * GIB))


def test_a_group_that_the_mount_does_not_show_is_read_at_its_top(tmp_path: Path) -> None:
    """In a container without a namespace of its own the path is the host's."""
    root = machine(tmp_path, "0::/../elsewhere\n", V2, ___memory__max=str(GIB))
    assert cgroups.limits(root).memory_bytes == GIB


@pytest.mark.parametrize("text", ["", "nonsense", "::", "0:/a", "1:cpu:/a:b\n"])
def test_a_machine_without_groups_limits_nothing(tmp_path: Path, text: str) -> None:
    assert cgroups.limits(tmp_path) == Limits()
    assert cgroups.limits(machine(tmp_path, text, "a - b\n1 2 3 4 5 - cgroup2\n")) == Limits()
    assert cgroups.oom_kills(tmp_path) == 0


def test_processes_that_the_kernel_ended_for_memory_are_counted(tmp_path: Path) -> None:
    events = "low 0\nhigh 3\nmax 9\noom 2\noom_kill 2\noom_group_kill 0"
    assert cgroups.oom_kills(machine(tmp_path / "v2", "0::/a\n", V2, a___memory__events=events)) == 2
    control = "oom_kill_disable 0\nunder_oom 0\noom_kill 5"
    old = machine(tmp_path / "v1", "4:memory:/a\n0::/\n", V1.format(top="/"), memory__a___memory__oom_control=control)
    assert cgroups.oom_kills(old) == 5


@pytest.mark.parametrize(
    ("limits", "cpus"), [(Limits(), 4), (Limits(cores=2.5), 2), (Limits(cores=0.5), 1), (Limits(cores=64), 4)]
)
def test_this_machine_has_what_its_groups_allow(monkeypatch: pytest.MonkeyPatch, limits: Limits, cpus: int) -> None:
    monkeypatch.undo()  # of the machine that other tests plan on
    monkeypatch.setattr(resources, "cores", lambda: 4)
    monkeypatch.setattr(resources, "physical_bytes", lambda: 8 * GIB)
    monkeypatch.setattr(cgroups, "limits", lambda: limits)
    assert resources.Fleet.here().cpus == cpus
    assert resources.Fleet.here().memory_bytes == 8 * GIB
    monkeypatch.setattr(cgroups, "limits", lambda: Limits(memory_bytes=GIB))
    assert resources.Fleet.here().memory_bytes == GIB
    assert not math.isinf(resources.Fleet.here().memory_bytes)
