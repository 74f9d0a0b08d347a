"""Which GPUs may be used: CUDA_VISIBLE_DEVICES as CUDA reads it, and an nvidia-smi that answers, fails or hangs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.system import gpus

FIRST, SECOND = "GPU-5fd4b087-86f3-7a43-b711-4771313afc50", "GPU-5fd4c111-0000-7a43-b711-4771313afc50"
PARTS = ("MIG-0a2b-1111", "MIG-0a2b-2222", "MIG-77")
LISTED = [FIRST, SECOND, *PARTS]
ANSWER = f"""GPU 0: NVIDIA A100-SXM4-40GB (UUID: {FIRST})
  MIG 1g.5gb      Device  0: (UUID: {PARTS[0]})
  MIG 1g.5gb      Device  1: (UUID: {PARTS[1]})
GPU 1: NVIDIA A100-SXM4-40GB (UUID: {SECOND})
"""


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ("0", ["0"]),
        ("1,0", ["1", "0"]),
        (" 1 , 0 ", ["1", "0"]),
        ("1gpu,0of2", ["1", "0"]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("none", []),
        (",0", []),
        ("0,", ["0"]),
        ("0,-1,1", ["0"]),
        ("0,9,1", ["0"]),
        ("9,0", []),
        ("0,zero,1", ["0"]),
        ("0,1,0", []),
        ("0,0", []),
        (f"0,{SECOND}", ["0"]),  # one or the other way of naming
        (FIRST, [FIRST]),
        (f"{SECOND},{FIRST}", [SECOND, FIRST]),
        ("GPU-5fd4b,GPU-5fd4c", ["GPU-5fd4b", "GPU-5fd4c"]),
        ("GPU-5FD4B", ["GPU-5FD4B"]),
        ("GPU-5fd4", []),  # either
        ("GPU-5fd4b,GPU-unknown,GPU-5fd4c", ["GPU-5fd4b"]),
        ("GPU-5fd4b,GPU-5fd4b0", []),  # the same twice
        ("GPU-5fd4b,1", ["GPU-5fd4b"]),
        ("MIG-0a2b-1", ["MIG-0a2b-1"]),
        (f"{PARTS[2]},{PARTS[0]}", [PARTS[2], PARTS[0]]),
        ("MIG-GPU-5fd4b087/1/0", []),
        ("99999999999999999999", []),
    ],
)
def test_what_is_visible_is_what_cuda_would_see(asked: str, seen: list[str]) -> None:
    assert gpus.visible(asked, LISTED) == seen


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Puts a program called nvidia-smi on the path; returns the root of a machine whose driver lists one GPU."""

    def install(script: str) -> Path:
        program = tmp_path / "bin/nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        monkeypatch.delenv(gpus.VISIBLE, raising=False)
        listed = tmp_path / "root/proc/driver/nvidia/gpus/0000:01:00.0/information"
        listed.parent.mkdir(parents=True, exist_ok=True)
        listed.write_text(f"Model: \t\t NVIDIA A100\nIRQ: 1\nGPU UUID: \t {FIRST}\nDevice Minor: \t 0\n")
        return tmp_path / "root"

    return install


def test_gpus_that_are_listed_count_and_their_parts_only_where_they_are_named(
    smi: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = smi(f"cat <<'END'\n{ANSWER}END")
    assert gpus.look(root) == gpus.Gpus(("0", "1"))
    monkeypatch.setenv(gpus.VISIBLE, "MIG-0a2b-1,MIG-0a2b-2")
    assert gpus.look(root) == gpus.Gpus(("MIG-0a2b-1", "MIG-0a2b-2"))
    monkeypatch.setenv(gpus.VISIBLE, "1,7,0")
    assert gpus.look(root) == gpus.Gpus(("1",), "CUDA_VISIBLE_DEVICES is '1,7,0', which shows 1 of the 2 here")


@pytest.mark.parametrize(
    ("script", "note"),
    [
        ("echo cannot talk to the driver; exit 9", "nvidia-smi failed (9): cannot talk to the driver"),
        ("exit 255", "nvidia-smi failed (255): it said nothing"),
    ],
)
def test_an_nvidia_smi_that_fails_is_said_and_shows_no_gpu(smi: Callable[[str], Path], script: str, note: str) -> None:
    assert gpus.look(smi(script)) == gpus.Gpus((), note, broken=True)


@pytest.mark.parametrize("script", ["head -c 9999 /dev/urandom", "echo No devices found", "echo GPU 0: nothing"])
def test_garbage_is_no_gpu(smi: Callable[[str], Path], script: str) -> None:
    assert gpus.look(smi(script)).devices == ()


def test_an_nvidia_smi_that_hangs_is_not_waited_for(
    smi: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a child that keeps its output open, as a hanging one may."""
    monkeypatch.setattr(gpus, "ANSWER_S", 0.2)
    root, started = smi("trap '' TERM; sleep 600 & sleep 600"), time.monotonic()
    assert gpus.look(root) == gpus.Gpus(
        ("0",), "nvidia-smi gave no answer within 0.2 s; the driver lists 1", broken=True
    )
    assert time.monotonic() - started < 300  # it would be 600: a guard, not a measure


@pytest.mark.parametrize("asked", ["", "-1", "NoDevFiles"])
def test_where_no_gpu_is_wanted_nothing_is_asked(
    smi: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    root = smi("exit 9")
    monkeypatch.setenv(gpus.VISIBLE, asked)
    assert gpus.look(root) == gpus.Gpus()


def test_without_nvidia_smi_the_driver_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(gpus.VISIBLE, "0,1")
    note = "CUDA_VISIBLE_DEVICES is '0,1', which shows 0 of the 0 here"
    assert gpus.look(tmp_path) == gpus.Gpus((), note)


def test_a_gpu_of_which_the_driver_tells_nothing_is_lost(smi: Callable[[str], Path]) -> None:
    root = smi("sleep 600")
    (root / "proc/driver/nvidia/gpus/0000:02:00.0/information").mkdir(parents=True)
    assert gpus._of_driver(root) == [FIRST]


def test_a_hanging_nvidia_smi_is_asked_once_a_process(smi: Callable[[str], Path]) -> None:
    root = smi('echo asked >> "$0.log"; exit 1')
    for _ in range(3):
        gpus.look(root)
    assert (root.parent / "bin/nvidia-smi.log").read_text() == "asked\n"
