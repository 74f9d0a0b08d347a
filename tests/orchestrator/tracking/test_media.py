"""What a run keeps of its pictures: none drawn twice, none of an epoch that was not kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.figures.style import COLOURS
from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.tracking.media import MOST_RECALLED, RunMedia

LABELS = np.arange(200) % 10


def trial(epochs: int = 0) -> Trial:
    rows = [{"epoch": epoch, "objective": 0.5 + epoch / 10, "metrics": {}} for epoch in range(1, epochs + 1)]
    return Trial("arcface-000", "arcface", 0, 5, {"scale": 15.0}, epochs=rows)


def points(seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=(200, 3)).astype(np.float16)


def test_keepsakes_recall_only_what_they_have_not_drawn_and_what_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, known, kept = StudyFolder(tmp_path), trial(epochs=4), RunMedia(LABELS)
    folder.save_embedding(known.name, 1, points(1))
    folder.save_embedding(known.name, 3, points(3))
    first = kept.draw(known, known.epochs[3], points(4))
    kept.draw(known, known.epochs[2], points(3))
    drawn: list[int] = []
    honest = RunMedia.draw
    monkeypatch.setattr(RunMedia, "draw", lambda self, *given: (drawn.append(given[1]["epoch"]), honest(self, *given)))
    kept.recall(known, folder)
    assert drawn == [1]
    assert sorted(kept.frames) == [1, 3, 4]
    assert kept.frames[4] == first
    assert kept.last is not None
    assert (kept.last == points(4)).all()


def test_the_cloud_has_the_colours_of_the_classes() -> None:
    kept = RunMedia(LABELS)
    assert kept.cloud() is None
    known = trial(epochs=1)
    kept.draw(known, known.epochs[0], points())
    assert [tuple(map(int, colour)) for colour in kept.cloud()[:10, 3:]] == [
        (int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)) for colour in COLOURS
    ]


def test_of_many_epochs_some_are_recalled_with_the_best_and_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, folder = trial(epochs=200), StudyFolder(tmp_path)
    known.epochs[122]["objective"] = 99.0
    monkeypatch.setattr(StudyFolder, "embedding", lambda *given: points())
    monkeypatch.setattr(RunMedia, "draw", lambda self, trial, row, points: self.frames.setdefault(row["epoch"], b""))
    kept = RunMedia(LABELS)
    kept.recall(known, folder)
    assert 15 < len(kept.frames) <= MOST_RECALLED + 1
    assert {123, 200} <= kept.frames.keys()
