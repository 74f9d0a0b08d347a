"""What a session tells: in Ray's thread only what is known, and to people what an end leaves just now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from orchestrator.cluster.run_options import RunOptions
from orchestrator.reporting.progress_view import Silent
from orchestrator.stages.driver import driving
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.system.ray_thread import RayThread
from orchestrator.system.signals import StopSignals
from orchestrator.trials.tuner import Session


def disturbing() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("broken", [True, False])
def test_rays_thread_learns_whether_ray_is_broken_and_is_not_ended_by_a_late_signal(
    tmp_path: Path, broken: bool
) -> None:
    planned: Any = SimpleNamespace(folder=StudyFolder(tmp_path))
    beside = RayThread(disturbing, lambda: broken)
    session = Session(planned, Silent(), StopSignals(lambda: ""), beside)
    try:
        assert session._interrupted() == broken
    finally:
        beside.close()


def test_before_a_study_has_begun_an_end_says_that_it_has_not(tmp_path: Path, tiny_study: Callable[..., Study]) -> None:
    folder = StudyFolder(tmp_path)
    planned: Any = SimpleNamespace(folder=folder, study=tiny_study())
    with driving(planned, Silent(), RunOptions()) as driver:
        assert driver.signals.safe() == "nothing was begun; launch it again"
        folder.study_file.touch()
        assert driver.signals.safe() == f"what is recorded is safe; go on with: orchestrator resume {tmp_path}"
