"""What the README shows works: its study loads, its commands parse, its Python runs, its error is what is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ray.scripts.scripts import cli
from typer.main import get_command

import orchestrator
from lightning_modules.data.sources import mnist
from lightning_modules.heads import head_class
from lightning_modules.models import model_config
from orchestrator import Results, Study, StudyError
from orchestrator.cli import app
from orchestrator.cluster import doctor
from orchestrator.files.atomic import write_atomic
from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.choices import choice_at
from orchestrator.study.search_section import Search
from tests.readme import README, ROOT, blocks, commands

PAPERS = ("arcface", "cosface", "sphereface")


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    path = tmp_path / "digits.yaml"
    path.write_text(blocks("yaml")[0])
    return path


def test_its_cluster_of_lab_machines_is_sound(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(blocks("yaml")[1])
    assert [finding.problem for finding in doctor.of_cluster(path, [Study.load("quick")])] == [None, None]


def test_its_study_loads_and_means_what_its_comments_say(digits: Path) -> None:
    study = Study.load(digits)
    spaces = study.spaces(10)
    assert set(spaces) == {"softmax", "arcface", "cosface"}
    assert str(spaces["arcface"]["margin_rad"].parameter) == "0.1 … 0.4"
    assert "10 classes in 2-D" in spaces["cosface"]["margin_cos"].reason
    assert spaces["cosface"]["weight_decay"].parameter.values == (0.001,)
    assert {head: len(searched) for head, searched in study.searched().items()} == {
        "softmax": 4,
        "arcface": 3,  # the scale that it gives is used: no magnitude is searched
        "cosface": 4,
    }


@pytest.mark.parametrize("words", commands("orchestrator"), ids=" ".join)
def test_its_commands_exist(words: list[str]) -> None:
    verbs = get_command(app).commands  # type: ignore[attr-defined]
    verbs[words[0]].make_context(words[0], words[1:])


@pytest.mark.parametrize("words", commands("ray"), ids=" ".join)
def test_its_commands_of_ray_exist(words: list[str]) -> None:
    """They are not run: a cluster at Google is needed for that."""
    cli.commands[words[0]].make_context(words[0], words[1:])


def test_its_make_targets_exist() -> None:
    targets = (ROOT / "Makefile").read_text()
    for words in commands("make"):
        assert f"\n{words[0]}:" in targets


def test_its_error_is_the_one_that_is_printed(digits: Path) -> None:
    (shown,) = blocks("text")
    digits.write_text(digits.read_text().replace("{min: 0.1, max: 0.4}", "28.6"))
    with pytest.raises(StudyError) as refused:
        Study.load(digits)
    assert str(refused.value).replace(str(digits.parent) + "/", "") == shown.strip()


def test_its_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a search that has ended already in place of one that takes minutes."""
    _, code = blocks("python")

    def launch(study: Study) -> Results:
        folder = StudyFolder(Path("results") / study.name)
        write_atomic(folder.study_file, study.to_yaml())
        trial = Trial("arcface-000", "arcface", 0, 0, {"margin_rad": 0.3})
        with folder.writer() as writer:
            writer.append({"event": "start", "trial": trial.name, "head": "arcface", **{
                key: getattr(trial, key) for key in ("index", "seed", "params")
            }})  # fmt: skip
            writer.append({"event": "epoch", "trial": trial.name, "epoch": 1, "objective": 0.9, "metrics": {}})
            writer.append({"event": "end", "trial": trial.name, "status": "completed", "reason": ""})
        return Results(folder.root)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(orchestrator, "launch", launch, raising=False)
    exec(code, {})


def test_its_gallery_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With a model that is not trained, and digits for photos."""
    code, _ = blocks("python")
    params = {"margin_rad": 0.3, "scale": 16.0}
    design = model_config.Blueprint("arcface", params, "strided", {"width": 4}, 8, 10, (28, 28, 1), 33.0, 78.0)
    model_config.save(tmp_path / "results/digits/models/arcface", design, design.build().state_dict(), {})
    digits = mnist.load("train")
    photos = digits.images[digits.labels == 3]
    given = {"images": digits.images[:300], "labels": digits.labels[:300], "photo": photos[0], "other": photos[1]}
    given |= {"photos_of_ada": photos[:3], "photos_of_grace": digits.images[digits.labels == 4][:3]}
    given["photos"] = photos[:2]
    monkeypatch.chdir(tmp_path)
    exec(code, given)
    assert (tmp_path / "known.npz").exists()
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_every_key_of_a_study_is_in_its_table() -> None:
    table = README[README.index("### What a study may say") :]
    for name, field in Study.model_fields.items():
        choice = choice_at(Study, name)
        sections = [*choice.models.values()] if choice else [field.annotation]
        keys = {key for each in sections for key in getattr(each, "model_fields", {name: None})}
        for key in Search.written_keys() if name == "search" else keys:
            assert key == "description" or re.search(rf"`([a-z]*\.)?{key}`", table), key


def test_what_it_says_was_learned_is_counted_from_the_published_studies() -> None:
    studies = {dimensions: Results(ROOT / "results" / f"mnist-{dimensions}d") for dimensions in (2, 3)}
    said = " ".join(README[README.index("What was learned:") :].split())
    first = [trial.index == 0 for study in studies.values() for trial in study.best.values()]
    assert (sum(first), len(first)) == (9, 12)
    assert "In nine of the twelve searches no configuration did better than the defaults." in said

    papers = [study.best[head].params["magnitude"] for study in studies.values() for head in PAPERS]
    assert papers == ["feature"] * 6
    assert "did best where their cosines are multiplied by the embedding's own length" in said

    angular = [trial for _, trial in studies[2].runs if head_class(trial.head).spherical]
    ended = [trial.objective for trial in angular if trial.status == "completed"]
    assert f"none of the {len(ended)} angular models that the study has trained to their end lost a class." in said
    assert all(reached is not None and reached > 0.95 for reached in ended)
