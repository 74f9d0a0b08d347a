"""What runs beside a search is this code, wherever the search was started."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from orchestrator import __version__
from orchestrator.system import background, fingerprint


@pytest.fixture(autouse=True)
def stray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is in a folder with an `orchestrator` of its own, and has one more in PYTHONPATH."""
    for parent in (tmp_path, tmp_path / "more"):
        for package in ("orchestrator", "lightning_modules"):
            (parent / package).mkdir(parents=True)
            (parent / package / "__init__.py").write_text("raise SystemExit('the code of another')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "more"))


def test_a_program_beside_a_search_is_this_one() -> None:
    with background.start("orchestrator", "--version", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        said, errors = process.communicate()
    assert (process.returncode, said.decode().strip()) == (0, __version__), errors


def test_an_installed_one_needs_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    assert background.environment()["PYTHONPATH"].split(os.pathsep)[0] == str(fingerprint.HOME)
    monkeypatch.delenv("PYTHONPATH")
    monkeypatch.setattr(fingerprint, "HOME", Path(fingerprint.sysconfig.get_path("purelib")))
    assert "PYTHONPATH" not in background.environment()
