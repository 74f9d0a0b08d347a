"""In a process that has a Ray of its user's nothing begins: a search of its own would end with that, or end it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from orchestrator import confirm, launch, open_test, resume
from orchestrator.cluster.run_options import RunOptions
from orchestrator.errors import CannotRun
from orchestrator.selection.results import Results
from orchestrator.study.schema import Study
from orchestrator.system.ray_thread import RayThread


@pytest.mark.parametrize("terms", [RunOptions(), RunOptions("auto")], ids=["here", "on a cluster"])
def test_beside_a_ray_of_its_callers_nothing_begins(
    terms: RunOptions,
    load_small: Callable[..., Study],
    made_study: Callable[..., Results],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    check_nothing_begins(made_study(), load_small(), terms, r"ray.init\(\) was called before\n.*ray.shutdown\(\)")


@pytest.mark.parametrize("terms", [RunOptions(), RunOptions("auto")], ids=["here", "on a cluster"])
def test_nor_after_a_search_that_was_broken_off_and_could_not_give_its_ray_back(
    terms: RunOptions,
    load_small: Callable[..., Study],
    made_study: Callable[..., Results],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    left = RayThread(lambda: None)
    try:
        check_nothing_begins(made_study(), load_small(), terms, "a search has one here.*\n.*restart the kernel")
    finally:
        left.last(lambda: None, 60)
    check_nothing_begins(made_study(), load_small(), terms, "ray.init")


def check_nothing_begins(known: Results, study: Study, terms: RunOptions, value: str) -> None:
    folder = known.folder
    before = sorted(folder.root.rglob("*"))
    for run in (
        lambda: launch(study, folder.root / "new", terms=terms),
        lambda: resume(folder.root, terms=terms),
        lambda: confirm(folder.root, 2, 2, terms=terms),
        lambda: open_test(folder.root, terms=terms),
    ):
        with pytest.raises(CannotRun, match=rf"Ray\n.*\n  value  {value}"):
            run()
    assert sorted(folder.root.rglob("*")) == before
