"""What code trains: one hash of all of it, the same wherever it lies."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.system import fingerprint
from tests.orchestrator.test_imports import imported


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """This code, in another folder."""
    for name in (*fingerprint.PACKAGES, "orchestrator"):
        shutil.copytree(fingerprint.HOME / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_it_is_the_same_wherever_the_code_lies(copy: Path) -> None:
    assert fingerprint.of(copy) == fingerprint.of_code() == fingerprint.of(fingerprint.HOME)
    assert len(fingerprint.of_code()) == fingerprint.DIGITS


@pytest.mark.parametrize(
    "name", ["lightning_modules/heads/arcface.py", "search_spaces/class_separation.py", "orchestrator/trials/trial.py"]
)
def test_a_changed_byte_of_what_trains_changes_it(copy: Path, name: str) -> None:
    path = copy / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert fingerprint.of(copy) != fingerprint.of_code()


def test_so_does_a_file_more_and_a_file_of_another_name(copy: Path) -> None:
    more = copy / "lightning_modules" / "data" / "more.py"
    more.touch()
    first = fingerprint.of(copy)
    more.rename(more.with_name("other.py"))
    assert len({fingerprint.of(copy), first, fingerprint.of_code()}) == 3


def test_what_an_editor_leaves_beside_them_does_not(copy: Path) -> None:
    (copy / "lightning_modules" / ".#arcface.py").symlink_to("someone@host.1234:567")
    hidden = copy / "search_spaces" / ".ipynb_checkpoints"
    hidden.mkdir()
    (hidden / "bounds-checkpoint.py").write_text("")
    assert fingerprint.of(copy) == fingerprint.of_code()


def test_what_only_shows_results_does_not(copy: Path) -> None:
    (copy / "orchestrator" / "tables.py").write_text("")
    assert fingerprint.of(copy) == fingerprint.of_code()


def test_it_covers_all_of_the_orchestrator_that_trains() -> None:
    def reached(path: str) -> Iterator[str]:
        for module in imported(Path(path)):
            file = module.replace(".", "/") + ".py"
            if file.startswith("orchestrator/") and (fingerprint.HOME / file).exists():
                yield file

    trains = {f"orchestrator/trials/{name}.py" for name in ("trainable", "trial", "data_parallel")}
    assert trains.union(*map(reached, trains)) <= set(fingerprint.MODULES)
