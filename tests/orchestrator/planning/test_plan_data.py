"""Data that cannot be read, or is unfit to search on, is refused by the plan with the file or the reason."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lightning_modules.data.sources import idx
from orchestrator.errors import CannotRun, Problem, StudyError
from orchestrator.planning import plan
from orchestrator.stages import launch
from orchestrator.study.schema import Study

MakeStudy = Callable[..., Study]
MakeIdx = Callable[..., Path]


def refused(study: Study, results: Path) -> Problem:
    with pytest.raises(CannotRun) as caught:
        plan.make(study, results)
    (problem,) = caught.value.problems
    assert not results.exists()
    return problem


def break_images(folder: Path, content: bytes | None, name: str = "train-images-idx3-ubyte") -> None:
    (folder / "train-images-idx3-ubyte").unlink()
    if content is not None:
        (folder / name).write_bytes(content)


@pytest.mark.parametrize(
    ("content", "name", "said"),
    [
        (None, "", "holds no train-images-idx3-ubyte"),
        (b"", "train-images-idx3-ubyte", "begins with nothing"),
        (b"GIF89a", "train-images-idx3-ubyte", "is not an IDX file of unsigned bytes"),
        (b"\0\0\x08\x03\0\0", "train-images-idx3-ubyte", "ends inside its header"),
        (b"\0\0\x08\x01\0\0\0\x05abc", "train-images-idx3-ubyte", "the file is damaged"),
        (b"\0\0\x08\x01\0\0\0\x03abc", "train-images-idx3-ubyte", "should hold (images, rows, columns)"),
        (b"not gzip", "train-images-idx3-ubyte.gz", "cannot be read"),
        (gzip.compress(b"\0" * 1000)[:-20], "train-images-idx3-ubyte.gz", "cannot be read"),
    ],
    ids=["missing", "empty", "another format", "cut header", "cut content", "flat", "no gzip", "cut gzip"],
)
def test_damaged_images_are_refused(
    tiny_study: MakeStudy, tmp_path: Path, content: bytes | None, name: str, said: str
) -> None:
    break_images(tmp_path / "images", content, name)
    problem = refused(tiny_study(), tmp_path / "results")
    assert (problem.place, problem.rule) == ("data", "the images must be readable")
    assert said in problem.value
    assert str(tmp_path / "images") in problem.value


def test_a_plan_reads_no_pixel(tiny_study: MakeStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the image file, its header; so plans of many images answer at once."""
    read: dict[str, int] = {}

    class Counted(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            found = super().read(size)
            read[Path(str(self.name)).name] = read.get(Path(str(self.name)).name, 0) + len(found)
            return found

    monkeypatch.setattr(idx, "open", lambda path, mode, **how: Counted(path, mode), raising=False)
    planned = plan.make(tiny_study(), tmp_path)
    assert planned.as_dict()["train_images"] == 80
    assert read == {"train-images-idx3-ubyte": 16, "train-labels-idx1-ubyte": 8 + 120}
    assert len(planned.data.train.images) == 80
    assert read["train-images-idx3-ubyte"] == 16 + (tmp_path / "images" / "train-images-idx3-ubyte").stat().st_size


def test_pixels_that_are_all_alike_are_refused_before_a_folder_is_made(tiny_study: MakeStudy, tmp_path: Path) -> None:
    study, path = tiny_study(), tmp_path / "images" / "train-images-idx3-ubyte"
    content = path.read_bytes()
    path.write_bytes(content[:16] + bytes(len(content) - 16))
    plan.make(study, tmp_path / "results")
    with pytest.raises(CannotRun, match="nothing to learn from"):
        launch.launch(study, tmp_path / "results")
    assert not (tmp_path / "results").exists()


def test_a_missing_folder_is_refused_by_its_path(tiny_study: MakeStudy, tmp_path: Path) -> None:
    problem = refused(tiny_study(data={"path": str(tmp_path / "nowhere")}), tmp_path / "results")
    assert str(tmp_path / "nowhere") in problem.value
    assert "is not a folder" in problem.value


def test_labels_that_do_not_fit_the_images_are_refused(
    tiny_study: MakeStudy, tmp_path: Path, make_idx: MakeIdx
) -> None:
    other = make_idx([0, 1, 2], name="other")
    (other / "train-labels-idx1-ubyte").replace(tmp_path / "images" / "train-labels-idx1-ubyte")
    assert "labels for 120 images" in refused(tiny_study(), tmp_path / "results").value


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([0, 2] * 60, "labels must be 0 … 2 without a gap, but no image has 1"),
        ([0] * 119 + [1], "no image of class 1"),
        ([0, 1], "40 validation images cannot be taken from 2"),
    ],
    ids=["a class without images", "a class with one image", "fewer images than asked for"],
)
def test_labels_that_cannot_be_split_are_refused(
    tiny_study: MakeStudy, tmp_path: Path, make_idx: MakeIdx, labels: list[int], said: str
) -> None:
    folder = make_idx(labels, name="other")
    problem = refused(tiny_study(data={"path": str(folder)}), tmp_path / "results")
    assert said in problem.value
    assert problem.place == ("data" if "gap" in said else "data.validation_images")


def test_a_single_class_is_refused(tiny_study: MakeStudy, tmp_path: Path, make_idx: MakeIdx) -> None:
    folder = make_idx([0] * 120, name="other")
    problem = refused(tiny_study(data={"path": str(folder)}), tmp_path / "results")
    assert problem.place == "data"
    assert "class" in f"{problem.rule} {problem.value}"


def test_a_taken_name_and_unreadable_data_are_said_together(tiny_study: MakeStudy, tmp_path: Path) -> None:
    break_images(tmp_path / "images", None)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "study.yaml").touch()
    with pytest.raises(CannotRun) as caught:
        plan.make(tiny_study(), tmp_path)
    assert [problem.place for problem in caught.value.problems] == ["name", "data"]


def test_the_same_seed_splits_alike_and_another_otherwise(tiny_study: MakeStudy, tmp_path: Path) -> None:
    def images(**data: Any) -> bytes:
        return plan.make(tiny_study(data=data), tmp_path).data.validation.images.tobytes()

    assert images(split_seed=1) == images(split_seed=1)
    assert images(split_seed=1) != images(split_seed=2)


def test_unseen_classes_are_neither_trained_nor_validated_on(tiny_study: MakeStudy, tmp_path: Path) -> None:
    whole = plan.load_data(tiny_study(data={"validation_images": 60}))
    planned = plan.make(tiny_study(data={"unseen_classes": [1], "validation_images": 45}), tmp_path)
    data = planned.data
    assert (data.num_classes, len(data.train), len(data.validation)) == (3, 45, 45)
    labels = {
        image.tobytes(): label
        for part in (whole.train, whole.validation)
        for image, label in zip(part.images, part.labels, strict=True)
    }
    for part in (data.train, data.validation):
        for image, label in zip(part.images, part.labels, strict=True):
            assert labels[image.tobytes()] == [0, 2, 3][label]


@pytest.mark.parametrize(
    ("classes", "said"), [([4], "no image is of class 4; there are 0 … 3"), ([0, 1, 2], "of 4 classes 1 would remain")]
)
def test_unseen_classes_that_cannot_be_are_refused_at_their_place(
    tiny_study: MakeStudy, tmp_path: Path, classes: list[int], said: str
) -> None:
    problem = refused(tiny_study(data={"unseen_classes": classes}), tmp_path / "results")
    assert problem.place == "data.unseen_classes"
    assert said in problem.value
    assert problem.fix


def test_unseen_classes_come_back_from_a_studys_file(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("name: x\nheads: {arcface: }\ndata: {unseen_classes: [8, 9]}\n")
    study = Study.load(path)
    assert study.data.unseen_classes == [8, 9]
    path.write_text(study.to_yaml())
    assert Study.load(path) == study
    assert Study.load(path, ["data.unseen_classes=[]"]).data.unseen_classes == []
    for wrong in ("[-1]", "[1.5]", "8", "[true]"):
        with pytest.raises(StudyError, match=r"data.unseen_classes"):
            Study.load(path, [f"data.unseen_classes={wrong}"])
