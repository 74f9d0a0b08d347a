"""Studies whose heads are losses of pytorch-metric-learning: written, overridden, refused, kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import Problem, StudyError
from orchestrator.planning import plan
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from search_spaces import pml, pml_source

WRITTEN = """\
name: losses
heads:
  arcface:
  pml.ProxyAnchorLoss:
    margin: {min: 0.05, max: 0.4}
    alpha: auto
  pml.SupConLoss:
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "losses.yaml"
    path.write_text(WRITTEN)
    return path


def refused(path: Path, *overrides: str) -> tuple[Problem, ...]:
    with pytest.raises(StudyError) as caught:
        Study.load(path, overrides)
    return caught.value.problems


def test_a_loss_is_a_head_like_any_other(file: Path) -> None:
    study = Study.load(file)
    assert list(study.heads) == ["arcface", "pml.ProxyAnchorLoss", "pml.SupConLoss"]
    assert list(study.searched()["pml.ProxyAnchorLoss"]) == ["lr", "head_lr", "margin", "alpha"]
    file.write_text(study.to_yaml())
    assert Study.load(file) == study


def test_a_setting_of_a_loss_is_overridden_by_its_dotted_place(file: Path) -> None:
    study = Study.load(file, ["heads.pml.ProxyAnchorLoss.margin=0.1", "heads.pml.NCALoss=auto", "training.epochs=2"])
    assert study.heads["pml.ProxyAnchorLoss"] == {"margin": 0.1, "alpha": "auto"}
    assert study.heads["pml.NCALoss"] == {}
    place = "heads.pml.ProxyAnchorLoss.margin"
    narrow = Study.load(file, [f"{place}.min=0.1", f"{place}.max=0.2"])
    assert narrow.heads["pml.ProxyAnchorLoss"]["margin"] == {"min": 0.1, "max": 0.2}


@pytest.mark.parametrize(
    ("written", "place", "line", "rule", "fix"),
    [
        ("pml.ProxyAnchor:", "pml.ProxyAnchor", 3, "no such head", "did you mean pml.ProxyAnchorLoss?"),
        ("ProxyAnchorLoss:", "ProxyAnchorLoss", 3, "no such head", "did you mean pml.ProxyAnchorLoss?"),
        ("pml.VICRegLoss:", "pml.VICRegLoss", 3, "left out: it takes no labels, but two views", "pml.SupConLoss"),
        ("pml.CrossBatchMemory:", "pml.CrossBatchMemory", 3, "it wraps another loss", "pml.SupConLoss"),
        ("pml: {ProxyAnchorLoss: 0.3}", "pml", 3, "one key with its name", "write pml.ProxyAnchorLoss:"),
        ("pml.SupConLoss: {temperatur: 1}", "pml.SupConLoss.temperatur", 3, "no such setting", "temperature?"),
        ("pml.SupConLoss:\n    temperature: 0", "pml.SupConLoss.temperature", 4, "from 1e-09", "nearest valid"),
        ("pml.SoftTripleLoss:\n    centers_per_class: 2.5", "pml.SoftTripleLoss.centers_per_class", 4, "whole", "2"),
        ("pml.PNPLoss:\n    variant: X", "pml.PNPLoss.variant", 4, "Ds or Dq or Iu or Ib or O", "write Ds"),
        ("pml.NCALoss:\n    lr: {min: 2, max: 1}", "pml.NCALoss.lr", 4, "min must be below max", "swap them"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    file: Path, written: str, place: str, line: int, rule: str, fix: str
) -> None:
    file.write_text(f"name: wrong\nheads:\n  {written}\n")
    (problem,) = refused(file)
    assert (problem.place, problem.line) == (f"heads.{place}", line)
    assert rule in problem.rule
    assert fix in problem.fix


def test_every_loss_that_is_left_out_is_refused_with_its_reason(file: Path) -> None:
    for loss, reason in pml.LEFT_OUT.items():
        (problem,) = refused(file, f"heads.pml.{loss}=auto")
        assert reason in problem.rule


def test_a_wrong_override_of_a_loss_is_refused_by_name(file: Path) -> None:
    (problem,) = refused(file, "heads.pml.SupConLoss.temperature=-1")
    assert problem.place == "heads.pml.SupConLoss.temperature (--set heads.pml.SupConLoss.temperature=-1)"
    (problem,) = refused(file, "heads.pml.SupConLos.temperature=1")
    assert problem.place == "heads.pml.SupConLos (--set heads.pml.SupConLos.temperature=1)"
    assert problem.fix == "did you mean pml.SupConLoss?"


def test_without_the_package_the_extra_is_named(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pml_source, "folder", lambda: None)
    problems = refused(file)
    assert [(problem.place, problem.line) for problem in problems] == [
        ("heads.pml.ProxyAnchorLoss", 4),
        ("heads.pml.SupConLoss", 7),
    ]
    assert {problem.fix for problem in problems} == {"pip install 'embedding-head-orchestrator[metric-learning]'"}


def record(folder: StudyFolder, study: Study) -> None:
    folder.root.mkdir(parents=True)
    folder.study_file.write_text(study.to_yaml())
    with folder.writer() as writer:
        for head, space in study.spaces(10).items():
            params = {name: item.start for name, item in space.items() if item.when is None}
            known: dict[str, Any] = {"head": head, "index": 0, "seed": 7, "params": params}
            name = f"{head}-000"
            writer.append({"event": "start", "trial": name, **known})
            writer.append({"event": "epoch", "trial": name, "epoch": 1, "objective": 0.5, "metrics": {}})
            writer.append({"event": "end", "trial": name, "status": "completed", "reason": ""})


def test_the_best_of_every_loss_is_a_study_of_that_name(tmp_path: Path) -> None:
    heads: dict[str, Any] = {head: {} for head in pml.names()}
    study = Study(name="a-name-of-some-length", heads=heads)
    folder = StudyFolder(tmp_path / study.name)
    record(folder, study)
    paths = Results(folder.root).write_best()
    assert {path.name for path in paths} == {f"{head}.yaml" for head in heads}
    for path in paths:
        again = Study.load(path)
        assert re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", again.name)
        assert again.name.endswith(f"-best-{path.stem.lower()}")
        assert list(again.heads) == [path.stem]
        constants = {name: item.start for name, item in again.spaces(10)[path.stem].items() if item.when is None}
        starts = {name: item.start for name, item in study.spaces(10)[path.stem].items() if item.when is None}
        assert constants == starts


def test_a_plan_of_losses_can_be_made(file: Path, tmp_path: Path) -> None:
    planned = plan.make(Study.load(file), tmp_path)
    assert planned.as_dict()["heads"]["pml.SupConLoss"]["temperature"]["start"] == 0.1
