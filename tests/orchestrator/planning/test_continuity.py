"""A study that goes on is the one that was launched: every key that numbers depend on, the images, the code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.errors import CannotRun, Problem
from orchestrator.files.atomic import write_atomic
from orchestrator.planning import continuity, plan, provenance
from orchestrator.reporting import leaderboards
from orchestrator.selection.results import Results
from orchestrator.stages import launch, sealed_test
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.choices import choice_at
from orchestrator.study.schema import Search, Study
from orchestrator.system import code_history, fingerprint
from orchestrator.tracking import sync
from orchestrator.trials import tuner

MakeStudy = Callable[..., Study]
MakeRecord = Callable[..., StudyFolder]
COMMITTED = Path(__file__).parents[3] / "results"
VERBS: dict[str, Callable[[Path], Any]] = {
    "resume": launch.resume,
    "confirm": lambda root: launch.confirm(root, seeds=9),
    "test": sealed_test.open_test,
    "sync": lambda root: sync.sync(root, print),
}


@pytest.fixture
def begun(tiny_study: MakeStudy, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    """A study with one trial still to come, in which no model can be trained."""
    monkeypatch.setattr(tuner, "session", lambda *given: pytest.fail("a model was trained"))
    study = tiny_study(confirmation={"top": 0})
    ended = [(head, index, [0.5, 0.6], "completed") for head in ("softmax", "arcface") for index in (0, 1)]
    folder = make_record(study, *ended[:-1])
    planned = plan.make(study, folder.root.parent, resuming=True)
    write_atomic(folder.provenance_file, provenance.text(provenance.first(planned)))
    return folder


def edit(folder: StudyFolder, place: str, value: Any) -> None:
    """Writes another value into the study's file, as someone does with an editor."""
    content = Study.load(folder.study_file).model_dump()
    *sections, key = place.split(".")
    inside = content
    for section in sections:
        inside = inside[section]
    inside.pop(key, None)
    if value is not continuity.ABSENT:
        inside[key] = value
    folder.study_file.write_text(Study.model_validate(content).to_yaml())


def change(folder: StudyFolder, **changes: Any) -> None:
    """Writes something else into the provenance."""
    known = json.loads(folder.provenance_file.read_text())
    known = {key: value for key, value in (known | changes).items() if value is not continuity.ABSENT}
    folder.provenance_file.write_text(json.dumps(known))


def refused(folder: StudyFolder, verb: str = "resume") -> list[Problem]:
    before = {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}
    with pytest.raises(CannotRun) as caught:
        VERBS[verb](folder.root)
    assert {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()} == before
    return [*caught.value.problems]


def goes_on(folder: StudyFolder, **how: Any) -> list[str]:
    """What is said where nothing stands in a study's way."""
    said: list[str] = []
    known = Results(folder.root)
    continuity.refuse_changed(known)
    planned = continuity.take_up(known, None, said.append, **how)
    provenance.go_on(planned, **how)
    return said


EDITED = {
    "embedding_dim": 4,
    "training.batch_size": 32,
    "training.epochs": 3,
    "training.seed": 5,
    "training.lr": {"min": 0.001, "max": 0.5, "distribution": "log_uniform_values"},
    "heads.arcface": continuity.ABSENT,
    "heads.cosface": {},
    "heads.arcface.margin_rad": 0.2,
    "search.trials_per_head": 1,
    "search.scheduler": "none",
    "search.start_at": {"arcface": {"lr": 0.1}},
    "data.split_seed": 1,
    "data.unseen_classes": [1],
    "body.width": 4,
}


@pytest.mark.parametrize("place", EDITED)
def test_a_key_that_numbers_depend_on_does_not_change(begun: StudyFolder, place: str) -> None:
    edit(begun, place, EDITED[place])
    problems = refused(begun)
    assert all(problem.place.startswith(place) for problem in problems)
    assert "at the launch, and is" in problems[0].value
    assert f"write it back into {begun.study_file}" in problems[0].fix
    assert f"orchestrator launch {begun.study_file} --next-name" in problems[0].fix


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_that_goes_on_says_what_differs(begun: StudyFolder, verb: str) -> None:
    edit(begun, "training.batch_size", 32)
    (problem,) = refused(begun, verb)
    assert problem == Problem(
        "training.batch_size",
        "a study that has begun stays what it was",
        "it was 16 at the launch, and is 32 now",
        problem.fix,
    )


def test_it_is_exit_code_4_on_the_command_line(begun: StudyFolder) -> None:
    edit(begun, "embedding_dim", 4)
    done = CliRunner().invoke(app, ["resume", str(begun.root)])
    assert (done.exit_code, done.stdout) == (4, "")
    assert "it was 3 at the launch, and is 4 now" in done.stderr


def test_the_turns_of_the_heads_are_part_of_a_study(begun: StudyFolder) -> None:
    heads = Study.load(begun.study_file).heads
    edit(begun, "heads", dict(reversed(heads.items())))
    (problem,) = refused(begun)
    assert (problem.place, problem.value) == (
        "heads",
        "it was 'softmax, arcface' at the launch, and is 'arcface, softmax' now",
    )


def test_of_very_many_differences_some_are_named(begun: StudyFolder) -> None:
    heads = [*Study.load(begun.study_file).heads]
    edit(begun, "heads", {head: {"lr": 0.1, "weight_decay": 0.1, "warmup_share": 0.1} for head in heads})
    for place in ("embedding_dim", "training.epochs", "training.batch_size", "search.grid_points"):
        edit(begun, place, 32)
    problems = refused(begun)
    assert len(problems) == continuity.MOST_NAMED + 1
    assert problems[-1].place == "and 2 other keys"


FREE = {
    "description": "Another.",
    "confirmation.seeds": 5,
    "confirmation.racing": True,
    "test.seeds": 9,
    "resources.cpu": 0.5,
    "tracking.mode": "off",
    "tracking.project": "another",
    "search.concurrent_trials": 1,
    "search.stalled_after_s": 100,
    "search.most_failures": 3,
    "search.process_failures": 0,
}


@pytest.mark.parametrize("place", FREE)
def test_what_no_number_depends_on_may_change_and_is_kept(begun: StudyFolder, place: str) -> None:
    edit(begun, place, FREE[place])
    assert goes_on(begun) == []
    (entry,) = Results(begun.root).provenance["resumed"]
    assert continuity._at(entry["study"], place) == FREE[place]
    assert goes_on(begun) == []
    assert "study" not in Results(begun.root).provenance["resumed"][-1]


def every_key(model: type[BaseModel], place: str = "") -> set[str]:
    keys: set[str] = set()
    if model is Search:
        return {f"{place}{name}" for name in Search.written_keys()}
    for name, field in model.model_fields.items():
        choice = choice_at(model, name)
        sections = [*choice.models.values()] if choice else [field.annotation]
        if all(isinstance(each, type) and issubclass(each, BaseModel) for each in sections):
            keys |= {key for each in sections for key in every_key(each, f"{place}{name}.")}
        else:
            keys.add(f"{place}{name}")
    return keys


def test_every_key_of_a_study_is_known_to_change_or_not() -> None:
    """A new key is bound unless someone decides that it is free: what is free is listed here once more."""
    for free in continuity.MAY_CHANGE:
        assert any(key == free or key.startswith(f"{free}.") for key in every_key(Study)), free
    bound = {key for key in every_key(Study) if not key.startswith(continuity.MAY_CHANGE)}
    assert {"heads", "embedding_dim", "training.epochs", "search.trials_per_head", "data.unseen_classes"} <= bound


def test_a_key_of_a_later_version_that_nobody_has_set_changes_nothing(begun: StudyFolder) -> None:
    then = json.loads(begun.provenance_file.read_text())["study"]
    del then["search"]["grid_points"], then["body"]
    change(begun, study=then)
    assert goes_on(begun) == []
    edit(begun, "search.grid_points", 7)
    assert [problem.place for problem in refused(begun)] == ["search.grid_points"]


def test_a_body_as_an_earlier_version_wrote_it_down_is_the_same(begun: StudyFolder) -> None:
    then = json.loads(begun.provenance_file.read_text())["study"]
    change(begun, study=then | {"body": then["body"] | {"hidden": None, "depth": None}})
    assert goes_on(begun) == []


def folder_of(begun: StudyFolder) -> Path:
    return Path(str(Study.load(begun.study_file).data.path))


def exchange(begun: StudyFolder, kind: str, at: int) -> None:
    """Changes one byte of the training images, or of their labels: of two classes, so that none gets lost."""
    (path,) = folder_of(begun).glob(f"train-{kind}*")
    content = bytearray(path.read_bytes())
    if kind == "labels":
        content[at], content[at + 1] = content[at + 1], content[at]
    else:
        content[at] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(("kind", "at"), [("images", 1000), ("images", -1), ("labels", 20)])
@pytest.mark.parametrize("verb", ["resume", "confirm", "test"])
def test_images_and_labels_do_not_change(begun: StudyFolder, kind: str, at: int, verb: str) -> None:
    with begun.writer() as writer:
        writer.append(
            {"event": "start", "trial": "arcface-001", "head": "arcface", "index": 1, "seed": 1, "params": {}}
        )
        writer.append({"event": "end", "trial": "arcface-001", "status": "failed", "reason": ""})
    exchange(begun, kind, at)
    (problem,) = refused(begun, verb)
    assert (problem.place, problem.rule) == ("data", "a study that has begun keeps its images and labels")
    assert "they hash to" in problem.value
    assert "put back those" in problem.fix


def test_images_may_lie_elsewhere(begun: StudyFolder, tmp_path: Path) -> None:
    moved = shutil.copytree(folder_of(begun), tmp_path / "moved")
    edit(begun, "data.path", str(moved))
    assert goes_on(begun) == []
    shutil.rmtree(moved)
    with pytest.raises(CannotRun, match="is not a folder"):
        goes_on(begun)


def test_other_code_is_refused_unless_it_is_meant(begun: StudyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    first = fingerprint.of_code()
    monkeypatch.setattr(fingerprint, "of_code", lambda: "0123456789abcdef")
    (problem,) = refused(begun)
    assert problem.rule == "all models of a study are trained by the same code"
    assert f"({first}) trained before; now it is another (0123456789abcdef)" in problem.value
    assert "--other-code" in problem.fix
    assert not leaderboards.cautions(Results(begun.root))
    assert goes_on(begun, other_code=True) == []
    assert goes_on(begun) == []
    (caution,) = leaderboards.cautions(Results(begun.root))
    assert caution.startswith("CAUTION: 2 versions of the code trained its models: orchestrator 0.1.0")
    assert caution.endswith(", commit " + caution.rpartition(", commit ")[2])
    assert first in caution.partition(", then ")[0]
    assert "0123456789abcdef" in caution.partition(", then ")[2]
    monkeypatch.setattr(fingerprint, "of_code", lambda: first)
    assert goes_on(begun, other_code=True) == []
    assert len(code_history.accepted(Results(begun.root).provenance)) == 2
    monkeypatch.setattr(fingerprint, "of_code", lambda: "a third")
    assert "0123456789abcdef" in refused(begun)[0].value


def test_the_same_code_needs_no_consent_and_is_no_caution(begun: StudyFolder) -> None:
    assert goes_on(begun, other_code=True) == []
    assert not leaderboards.cautions(Results(begun.root))


def test_other_versions_of_what_trains_are_told(begun: StudyFolder) -> None:
    packages = json.loads(begun.provenance_file.read_text())["packages"]
    change(begun, packages={**packages, "torch": "1.0", "wandb": "0.1"})
    (said,) = goes_on(begun)
    assert said.startswith(f"warning: torch 1.0 → {packages['torch']} since")
    assert goes_on(begun) == []


def test_a_study_of_an_older_version_goes_on_with_what_is_known(begun: StudyFolder) -> None:
    older: Mapping[str, Any] = dict.fromkeys(("study", "images", "trains"), continuity.ABSENT)
    change(begun, **older)
    (said,) = goes_on(begun)
    assert "which did not keep its settings, a hash of its images and which code trained" in said
    assert goes_on(begun) == []
    edit(begun, "embedding_dim", 4)
    assert [problem.place for problem in refused(begun)] == ["embedding_dim"]


def test_a_study_whose_provenance_is_gone_gets_a_new_one(begun: StudyFolder) -> None:
    begun.provenance_file.unlink()
    (said,) = goes_on(begun)
    assert "what this study was launched with is not known any more" in said
    assert {"study_id", "study", "images", "trains"} <= Results(begun.root).provenance.keys()
    assert goes_on(begun) == []


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        ("search.seed", 3, ["search.seed"]),
        ("data.split_seed", 3, ["data.split_seed"]),
        ("training.seed", 3, ["training.seed"]),
        ("heads.arcface", continuity.ABSENT, ["heads"]),
        ("data.validation_images", 41, ["data"]),
        ("data.unseen_classes", [1], ["data"]),
    ],
)
def test_what_an_older_version_kept_is_compared(begun: StudyFolder, place: str, value: Any, told: list[str]) -> None:
    older: Mapping[str, Any] = dict.fromkeys(("study", "images", "trains"), continuity.ABSENT)
    change(begun, **older)
    edit(begun, place, value)
    assert [problem.place for problem in refused(begun)] == told


@pytest.mark.parametrize("name", ["mnist-2d", "mnist-3d"])
def test_committed_results_are_what_they_were(name: str) -> None:
    known = Results(COMMITTED / name)
    continuity.refuse_changed(known)
    said: list[str] = []
    planned = continuity.take_up(known, None, said.append)
    assert "which did not keep its settings" in said[0]
    assert len(planned.data.train) == known.provenance["train_images"]
    assert not known.chosen_after_a_look


def test_the_hash_is_of_all_that_trials_see(tiny_study: MakeStudy) -> None:
    study = tiny_study()
    data = plan.load_data(study)
    assert data.digest() == plan.load_data(study).digest()
    data.validation.images[-1] = np.zeros_like(data.validation.images[-1])
    assert data.digest() != plan.load_data(study).digest()
