"""Without a home that can be written, caches lie among temporary files, in a folder that is this user's alone."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from orchestrator.system.caches import VARIABLES, furnish

NOWHERE = "/proc/nowhere"  # nobody can make it, not even root


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in VARIABLES:
        monkeypatch.setenv(name, "put back after the test")
        monkeypatch.delenv(name)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("HOME", NOWHERE)
    return tmp_path


def test_caches_get_a_place_that_only_this_user_may_enter(temporary: Path) -> None:
    furnish()
    (folder,) = temporary.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {os.environ[name] for name in VARIABLES} == {str(folder / below) for below in VARIABLES.values()}
    furnish()
    assert [*temporary.iterdir()] == [folder]


def test_what_is_set_stays_and_a_home_that_can_be_written_is_used(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLCONFIGDIR", "mine")
    furnish()
    assert os.environ["MPLCONFIGDIR"] == "mine"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(temporary))
    furnish()
    assert "XDG_CACHE_HOME" not in os.environ


@pytest.mark.parametrize("trap", ["open to all", "a link"])
def test_a_folder_that_someone_else_may_have_laid_there_is_not_used(trap: str, temporary: Path) -> None:
    usual = temporary / f"embedding-heads-{os.getuid()}"
    if trap == "a link":
        (temporary / "elsewhere").mkdir(mode=0o700)
        usual.symlink_to("elsewhere")
    else:
        usual.mkdir()
        usual.chmod(0o777)
    furnish()
    assert Path(os.environ["XDG_CACHE_HOME"]) != usual
    assert Path(os.environ["XDG_CACHE_HOME"]).stat().st_mode & 0o777 == 0o700
