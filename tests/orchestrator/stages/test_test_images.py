"""Test images that no model of the study could be measured on are found before one is trained for them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator.errors import CannotRun, Problem
from orchestrator.planning import plan
from orchestrator.reporting.progress_view import Silent
from orchestrator.stages import sealed_test, test_images
from orchestrator.stages.sealed_test import open_test
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.trials import tuner

MakeStudy = Callable[..., Study]
MakeRecord = Callable[..., StudyFolder]
LABELS = [0, 1, 2, 3] * 5  # of test images, as of the training images


def write(path: Path, values: NDArray[np.uint8]) -> None:
    path.write_bytes(struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes())


def write_test(study: Study, labels: list[int] = LABELS, shape: tuple[int, int] = (6, 5)) -> Path:
    """Puts test images beside the training images of a tiny study."""
    folder = Path(str(study.data.path))
    pixels = np.random.default_rng(1).integers(0, 256, (len(labels), *shape), np.uint8)
    write(folder / "t10k-images-idx3-ubyte", pixels)
    write(folder / "t10k-labels-idx1-ubyte", np.array(labels, np.uint8))
    return folder


@pytest.fixture
def finished(tiny_study: MakeStudy, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    """A study with a best trial, in which no model can be trained."""
    monkeypatch.setattr(tuner, "session", lambda *given: pytest.fail("a model was trained"))
    study = tiny_study(heads={"arcface": {}}, confirmation={"top": 0}, search={"trials_per_head": 1})
    return make_record(study, ("arcface", 0, [0.5, 0.6], "completed"))


def refused(finished: StudyFolder) -> list[Problem]:
    with pytest.raises(CannotRun) as caught:
        open_test(finished.root)
    assert not finished.test_file.exists() or not finished.test_file.read_bytes()
    return [*caught.value.problems]


def cut(folder: Path) -> None:
    path = folder / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])


CASES: dict[str, tuple[dict[str, Any], Callable[[Path], None], str, str]] = {
    "another size": ({"shape": (8, 8)}, lambda folder: None, "the shape of the training", "8 × 8 × 1, and 6 × 5 × 1"),
    "a label too high": (
        {"labels": [*LABELS, 4, 200]},
        lambda folder: None,
        "one of the training images' labels",
        "2 of 22 images have others: 4, 200",
    ),
    "none at all": ({"labels": []}, lambda folder: None, "a test needs images", "0 images"),
    "no images": (
        {},
        lambda folder: (folder / "t10k-images-idx3-ubyte").unlink(),
        "must be there and whole",
        "holds no t10k-images",
    ),
    "no labels": (
        {},
        lambda folder: (folder / "t10k-labels-idx1-ubyte").unlink(),
        "must be there and whole",
        "holds no t10k-labels",
    ),
    "cut short": ({}, cut, "must be there and whole", "the file is damaged"),
}


@pytest.mark.parametrize("case", CASES)
def test_images_that_cannot_be_measured_are_refused_before_anything_is_trained_or_opened(
    finished: StudyFolder, case: str, looks_at_the_test: Callable[..., Any]
) -> None:
    how, harm, rule, value = CASES[case]
    study = Study.load(finished.study_file)
    harm(write_test(study, **how))
    with looks_at_the_test(finished) as looks:
        (problem,) = refused(finished)
    assert rule in problem.rule
    assert value in problem.value
    assert all(look.is_of_metadata for look in looks)


def test_all_that_is_wrong_is_said_at_once(finished: StudyFolder) -> None:
    write_test(Study.load(finished.study_file), [0, 9], (28, 28))
    assert len(refused(finished)) == 2


def test_a_class_without_a_test_image_is_told(finished: StudyFolder) -> None:
    study, said = Study.load(finished.study_file), list[str]()
    write_test(study, [0, 1, 3, 3])
    progress = Silent()
    progress.say = said.append  # type: ignore[method-assign]
    sealed_test._foresee(plan.make(study, finished.root.parent, resuming=True), progress)
    assert [line for line in said if "no test image is of class 2;" in line]


def test_unseen_classes_are_left_out_of_the_test_and_the_others_keep_their_numbers(tiny_study: MakeStudy) -> None:
    study = tiny_study(data={"unseen_classes": [1]})
    write_test(study, [0, 3, 1, 3, 0])
    split = plan.divide(study)
    found = test_images.check(study, split)
    assert found.images == 5
    assert test_images.absent(study, found) == [2]
    assert test_images.read(study).labels.tolist() == [0, 2, 2, 0]
    assert split.num_classes == 3


def test_a_test_of_unseen_classes_alone_is_refused(tiny_study: MakeStudy) -> None:
    study = tiny_study(data={"unseen_classes": [1]})
    write_test(study, [1, 1])
    with pytest.raises(CannotRun, match="none of a class that was trained"):
        test_images.check(study, plan.divide(study))
