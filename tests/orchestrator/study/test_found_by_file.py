"""A body and a source of a user's: one file each in the folder of their kind, and a study may name them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lightning_modules import bodies
from lightning_modules.bodies import BODIES
from lightning_modules.data import sources
from lightning_modules.data.sources import SOURCES
from orchestrator.errors import StudyError
from orchestrator.planning import plan
from orchestrator.study.schema import Study
from orchestrator.trials import trial
from orchestrator.trials.trial import Task

BODY = '''
"""A body of one linear layer."""
from typing import Annotated, Literal

from pydantic import Field

from lightning_modules.bodies.base import Body


class Flat(Body):
    """One linear layer over every `step`-th pixel."""

    name: Literal["flat"] = "flat"
    step: Annotated[int, Field(ge=1, le=8)] = 1

    def build(self, image_shape, embedding_dim):
        from torch import nn

        rows, columns, channels = image_shape
        kept = -(-rows // self.step) * -(-columns // self.step) * channels
        thinned = nn.MaxPool2d(1, stride=self.step)
        return nn.Sequential(thinned, nn.Flatten(), nn.Linear(kept, embedding_dim), nn.BatchNorm1d(embedding_dim))
'''
SOURCE = '''
"""Stripes: a class for each direction."""
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lightning_modules.data.images import Metadata
from lightning_modules.data.sources.base import Source


class Stripes(Source):
    """Made-up images; `each` of every class."""

    source: Literal["stripes"] = "stripes"
    each: Annotated[int, Field(ge=2)] = 40

    def metadata(self, part):
        return Metadata((8, 8, 1), np.repeat(np.arange(2), self.each))

    def images(self, part):
        noise = np.random.default_rng(len(part)).integers(0, 99, (2 * self.each, 8, 8), np.uint8)
        noise[: self.each, ::2] += 99
        noise[self.each :, :, ::2] += 99
        return noise
'''
STUDY = """
name: mine
heads: {softmax: }
data: {source: stripes, each: 50, validation_images: 20}
body: {name: flat, step: 2}
training: {epochs: 1, batch_size: 16, shift_px: 0}
search: {trials_per_head: 1}
tracking: {mode: "off"}
"""


def found_anew() -> None:
    """What a process that starts now would find."""
    for registry in (BODIES, SOURCES):
        registry.__dict__.pop("by_name", None)
    Study.model_rebuild(force=True)


@pytest.fixture
def of_a_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One file beside the bodies, and one beside the sources."""
    for package, name, text in ((bodies, "flat", BODY), (sources, "stripes", SOURCE)):
        folder = tmp_path / package.__name__
        folder.mkdir()
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    found_anew()
    yield
    monkeypatch.undo()
    for name in ("lightning_modules.bodies.flat", "lightning_modules.data.sources.stripes"):
        sys.modules.pop(name, None)
    found_anew()


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


@pytest.mark.usefixtures("of_a_user")
def test_one_file_is_a_body_and_one_a_source(mine: Path, tmp_path: Path) -> None:
    study = Study.load(mine)
    assert Study.model_validate(study.model_dump(mode="json")) == study
    mine.write_text(study.to_yaml(), encoding="utf-8")
    assert Study.load(mine) == study

    planned = plan.make(study, tmp_path / "results")
    assert (len(planned.split.train), len(planned.split.validation), planned.split.num_classes) == (80, 20, 2)
    assert plan.parameters_of(study, planned.split) == 16 * 3 + 3 + 6 + 2 * (3 + 1)

    rows: list[dict[str, Any]] = []
    given = {"head": "softmax", "seed": 0, "params": {"lr": 0.05, "head_lr": 0.05}}
    trial.fit(given, planned.data, Task.of(study, np.arange(5)), 0.0, lambda row, folder: rows.append(row), None)
    (row,) = rows
    assert row["epoch"] == 1


@pytest.mark.usefixtures("of_a_user")
def test_what_is_wrong_with_them_is_said_as_of_any_other(mine: Path) -> None:
    with pytest.raises(StudyError) as caught:
        Study.load(mine, ["body.step=9", "data.path=a", "data.each=1"])
    assert [(each.place.partition(" ")[0], each.rule) for each in caught.value.problems] == [
        ("data.each", "must be greater than or equal to 2"),
        ("data.path", "path belongs to the idx source"),
        ("body.step", "must be less than or equal to 8"),
    ]
    with pytest.raises(StudyError, match=r"must be 'strided', 'flat' or 'reference'[\s\S]*did you mean flat\?"):
        Study.load(mine, ["body.name=flatt"])


def test_without_their_files_they_are_unknown(mine: Path) -> None:
    with pytest.raises(StudyError) as caught:
        Study.load(mine)
    assert [each.place for each in caught.value.problems] == ["data.source", "body.name"]
