"""Studies side by side: the rows, what is said to differ, the warnings, the figure, and what is refused."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner

from lightning_modules.metrics.proportions import wilson
from orchestrator.cli import app
from orchestrator.errors import CannotRun
from orchestrator.files.atomic import write_atomic
from orchestrator.reporting.comparison import Comparison
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study

MakeStudy = Callable[..., Study]
MakeRecord = Callable[..., StudyFolder]
WHOLE: list[Any] = [
    ("arcface", 0, [0.4, 0.75], "completed"),
    ("arcface", 1, [0.9], "stopped"),
    ("softmax", 0, [0.2, 0.5], "completed"),
    ("softmax", 1, [0.1, 0.6], "completed"),
]
Folders = Callable[..., Comparison]


@pytest.fixture
def compared(tiny_study: MakeStudy, make_record: MakeRecord) -> Folders:
    """compared({…}, {…}): a comparison of finished studies with those changes."""

    def make(*changes: dict[str, Any]) -> Comparison:
        return Comparison([Results(make_record(tiny_study(**each), *WHOLE).root) for each in changes])

    return make


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def printed(things: list[Table | str]) -> str:
    console = Console(file=io.StringIO(), width=300)
    for thing in things:
        console.print(thing)
    told: Any = console.file
    return str(told.getvalue())


def test_every_head_of_every_study_is_a_row_the_best_first(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    first = make_record(tiny_study(name="first"), *WHOLE)
    second = make_record(
        tiny_study(name="second"), ("arcface", 0, [0.7], "completed"), ("softmax", 0, [0.8], "stopped")
    )
    rows = Comparison([Results(first.root), Results(second.root)]).rows
    assert [(row.study, row.head, row.trial.name, row.objective, row.runs) for row in rows] == [
        ("second", "softmax", "softmax-000", 0.8, "1, best of 1"),
        ("first", "arcface", "arcface-000", 0.75, "1, best of 1"),
        ("second", "arcface", "arcface-000", 0.7, "1, best of 1"),
        ("first", "softmax", "softmax-001", 0.6, "1, best of 2"),
    ]


def test_a_head_without_a_result_has_no_row(tiny_study: MakeStudy, make_record: MakeRecord) -> None:
    folder = make_record(tiny_study(), ("arcface", 0, [0.5], "completed"), ("softmax", 0, [0.4], "failed"))
    assert [row.head for row in Comparison([Results(folder.root)]).rows] == ["arcface"]


def test_the_interval_is_that_of_each_studys_own_images(compared: Folders) -> None:
    rows = compared({"name": "a", "data": {"validation_images": 20}}, {"name": "b"}).rows
    assert {(row.study, row.interval) for row in rows if row.head == "arcface"} == {
        ("a", wilson(0.75, 20)),
        ("b", wilson(0.75, 40)),
    }
    assert all(low < row.objective < high for row in rows for low, high in [row.interval])


def test_measures_come_from_the_analysis_and_before_it_from_the_last_epoch(
    tiny_study: MakeStudy, make_record: MakeRecord
) -> None:
    folder = make_record(tiny_study())
    with folder.writer() as writer:
        for head in ("arcface", "softmax"):
            name = f"{head}-000"
            writer.append({"event": "start", "trial": name, "head": head, "index": 0, "seed": 1, "params": {}})
            for epoch, ratio in ((1, 0.25), (2, 0.5)):
                metrics = {"val/separation_ratio": ratio, "val/distance_ratio": 2 * ratio}
                row = {"epoch": epoch, "objective": 0.5, "metrics": metrics}
                writer.append({"event": "epoch", "trial": name, **row})
            writer.append({"event": "end", "trial": name, "status": "completed", "reason": ""})
    measures = {"separation_ratio": 3.25, "distance_ratio": None}
    about = {"trial": "arcface-000", "epoch": 2}
    write_atomic(folder.analysis / "arcface.json", json.dumps({**about, "measures": measures}))
    compared = Comparison([Results(folder.root)])
    found = {row.head: row.measures for row in compared.rows}
    assert found["arcface"] == measures
    assert found["softmax"].items() >= {"separation_ratio": 0.5, "distance_ratio": 1.0}.items()
    lines = printed(compared.table()).splitlines()
    cells = {line.split("│")[2].strip(): [cell.strip() for cell in line.split("│")] for line in lines if "│" in line}
    assert cells["arcface"][5:7] == ["3.25", "–"]
    assert cells["softmax"][5:7] == ["0.50", "1.00"]


def test_only_what_matters_is_said_to_differ(compared: Folders) -> None:
    one = {"name": "one", "description": "yes", "tracking": {"project": "x"}, "resources": {"cpu": 1.0}}
    two = {"name": "two", "description": "no", "tracking": {"mode": "off"}, "resources": {"cpu": 2.0}}
    same = compared(one, two)
    assert same.differences == {}
    assert same.warnings == []
    assert "differs" not in printed(same.table())


def test_every_difference_is_named_with_its_value_in_each_study(compared: Folders) -> None:
    found = compared(
        {"name": "one", "training": {"epochs": 3}},
        {"name": "two", "heads": {"softmax": {}, "arcface": {"margin_rad": {"min": 0.1, "max": 0.4}}}},
        {"name": "three", "embedding_dim": 2, "search": {"seed": 7}},
    )
    assert found.differences == {
        "heads.arcface": [{}, None, {}],
        "heads.arcface.margin_rad.min": [None, 0.1, None],
        "heads.arcface.margin_rad.max": [None, 0.4, None],
        "embedding_dim": [3, 3, 2],
        "training.epochs": [3, 2, 2],
        "search.seed": [0, 0, 7],
    }
    assert found.warnings == []
    table = printed(found.table())
    assert "What differs between the studies" in table
    (line,) = (line for line in table.splitlines() if "training.epochs" in line)
    assert [cell.strip() for cell in line.split("│")[1:-1]] == ["training.epochs", "3", "2", "2"]


def test_a_head_that_only_one_study_has_is_a_difference(compared: Folders) -> None:
    found = compared({"name": "one"}, {"name": "two", "heads": {"softmax": {}, "arcface": {}, "cosface": {}}})
    assert found.differences == {"heads.cosface": [None, {}]}


@pytest.mark.parametrize(("key", "value"), [("validation_images", 20), ("split_seed", 1)])
def test_accuracies_on_different_images_are_warned_of(compared: Folders, key: str, value: int) -> None:
    found = compared({"name": "one"}, {"name": "two", "data": {key: value}})
    assert found.warnings == [f"data.{key} differs: their numbers are on different images"]
    assert f"warning   data.{key} differs" in printed(found.table())


def test_a_study_that_has_not_finished_is_warned_of(
    compared: Folders, tiny_study: MakeStudy, make_record: MakeRecord
) -> None:
    running = Results(make_record(tiny_study(name="early"), *WHOLE[:3]).root)
    found = Comparison([*compared({"name": "whole"}).studies, running])
    assert found.warnings == ["early has not finished"]


def test_studies_of_one_name_are_told_apart_by_their_folders(compared: Folders, tmp_path: Path) -> None:
    (here,) = compared({"name": "tiny"}).studies
    there = tmp_path / "elsewhere" / "tiny"
    there.parent.mkdir()
    here.folder.root.rename(there)
    again = compared({"name": "tiny"}, {"name": "other", "training": {"epochs": 3}})
    found = Comparison([Results(there), *again.studies])
    folders = [str(there), str(again.studies[0].folder.root)]
    assert found.names == [*folders, "other"]
    assert {row.study for row in found.rows} == {*folders, "other"}
    found.draw(tmp_path / "figure.svg")
    figure = (tmp_path / "figure.svg").read_text()
    assert all(figure.count(f"arcface, {name}") == 1 for name in found.names)


def test_one_study_alone_is_a_table_without_differences(compared: Folders, tmp_path: Path) -> None:
    alone = compared({"name": "tiny"})
    assert (len(alone.rows), alone.differences, alone.warnings) == (2, {}, [])
    told = printed(alone.table())
    assert [told.count(word) for word in ("differs", "arcface", "softmax", "0.7500", "0.6000")] == [0, 1, 1, 1, 1]
    alone.draw(tmp_path / "figure.svg")
    assert "arcface, tiny" not in (tmp_path / "figure.svg").read_text()


def test_the_figure_is_a_png_or_an_svg(compared: Folders, tmp_path: Path) -> None:
    two = compared({"name": "one"}, {"name": "two"})
    two.draw(tmp_path / "new" / "figure.png")
    two.draw(tmp_path / "new" / "figure.svg")
    with Image.open(tmp_path / "new" / "figure.png") as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 200
        assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 50
    drawn = (tmp_path / "new" / "figure.svg").read_text()
    assert "<svg" in drawn
    assert all(f"{row.head}, {row.study}" in drawn and row.runs in drawn for row in two.rows)


@pytest.mark.parametrize("name", ["compare.pdf", "compare", "compare.jpg"])
def test_a_figure_of_another_kind_is_refused(compared: Folders, tmp_path: Path, name: str) -> None:
    with pytest.raises(CannotRun) as caught:
        compared({"name": "one"}).draw(tmp_path / name)
    (problem,) = caught.value.problems
    assert (problem.place, problem.value) == ("--figure", str(tmp_path / name))
    assert ".png or .svg" in problem.rule
    assert problem.fix == "compare.png"
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("trials", [[], [("arcface", 0, [0.5], "running")], [("arcface", 0, [0.5], "failed")]])
def test_studies_without_a_result_are_refused(
    tiny_study: MakeStudy, make_record: MakeRecord, tmp_path: Path, trials: list[Any]
) -> None:
    folders = [make_record(tiny_study(name=name), *trials) for name in ("one", "two")]
    with pytest.raises(CannotRun) as caught:
        Comparison([Results(folder.root) for folder in folders]).draw(tmp_path / "figure.png")
    (problem,) = caught.value.problems
    assert problem.place == f"{folders[0].root}, {folders[1].root}"
    assert problem.value == "no trial has ended with one yet"
    assert problem.fix
    assert not (tmp_path / "figure.png").exists()


def test_compare_prints_a_table_or_json_and_says_where_the_figure_is(
    compared: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    both = compared({"name": "one"}, {"name": "two", "training": {"epochs": 3}})
    words = ["compare", *(results.folder.root for results in both.studies), "--figure", tmp_path / "figure.png"]
    done = run(*words)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == f"figure    {tmp_path / 'figure.png'}"
    assert "training.epochs" in done.stdout
    (tmp_path / "figure.png").unlink()

    told = run(*words, "--json")
    assert (told.exit_code, told.stderr) == (0, "")
    content = json.loads(told.stdout)
    assert content["figure"] == str(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").exists()
    assert content["differences"] == {"training.epochs": [2, 3]}
    assert content["warnings"] == []
    first = content["rows"][0]
    assert (first["study"], first["head"], first["trial"], first["objective"], first["runs"]) == (
        "one", "arcface", "arcface-000", 0.75, "1, best of 1",
    )  # fmt: skip
    assert first["interval"] == list(wilson(0.75, 40))
    assert first["params"] == {"lr": 0.1}


def test_what_cannot_be_compared_is_4_on_stderr(compared: Folders, tmp_path: Path) -> None:
    (results,) = compared({"name": "one"}).studies
    for words in ([tmp_path / "nowhere"], [results.folder.root, tmp_path / "nowhere"]):
        done = run("compare", *words, "--figure", tmp_path / "figure.png")
        assert (done.exit_code, done.stdout) == (4, "")
        assert done.stderr.startswith(f"{tmp_path / 'nowhere'}\n")
    done = run("compare", results.folder.root, "--figure", tmp_path / "figure.pdf", "--json")
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.startswith("--figure\n")
    assert not list(tmp_path.glob("figure.*"))


def test_a_figure_that_cannot_be_written_is_refused(
    tiny_study: MakeStudy, make_record: MakeRecord, tmp_path: Path
) -> None:
    folder = make_record(tiny_study(), ("softmax", 0, [0.5], "completed"))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CannotRun, match="must be one to write in"):
        Comparison([Results(folder.root)]).draw(tmp_path / "file" / "compare.png")
