"""A study looked at whole: its state, its best, what its settings matter, what it lost, and where to look further."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.errors import CannotRun
from orchestrator.reporting.inspection import inspected
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.tracking import fetch
from orchestrator.tracking.sweep import Place
from search_spaces.distributions import Range

Build = Callable[..., StudyFolder]
TRIALS = 14
PLACE = Place(
    server="https://w.example", entity="me", project="heads", sweep="abc", url="https://w.example/me/heads/sweeps/abc"
)
MORE = PLACE.model_copy(update={"workspace": "https://w.example/me/heads?nw=1"})


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["inspect", *(str(word) for word in words)])


def text(folder: StudyFolder) -> str:
    console = Console(width=300)
    with console.capture() as caught, inspected(str(folder.root)) as known:
        for line in known.lines():
            console.print(line, highlight=False, markup=False, soft_wrap=isinstance(line, str))
    return caught.get()


def told(folder: StudyFolder) -> dict[str, Any]:
    with inspected(str(folder.root)) as known:
        content: dict[str, Any] = json.loads(json.dumps(known.as_dict(), allow_nan=False))
    return content


def links(folder: StudyFolder) -> dict[str, str]:
    with inspected(str(folder.root)) as known:
        return known.links


@pytest.fixture
def folder(build_study: Build, tmp_path: Path) -> StudyFolder:
    """Two heads, of each a completed, a stopped and a failed trial."""
    return build_study(tmp_path, examined=False)


@pytest.fixture(scope="module")
def deciding(build_study: Build, tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """The learning rate decides what softmax reaches; nothing but chance decides what arcface does."""
    chance = np.random.default_rng(0)
    places = {head: chance.uniform(size=(TRIALS, 4)) for head in ("softmax", "arcface")}
    noise = {head: 0.01 * chance.standard_normal(TRIALS) for head in places}
    reached = {"softmax": 0.5 + 0.3 * places["softmax"][:, 0] + noise["softmax"], "arcface": 0.9 + noise["arcface"]}
    ends = {head: [([0.1, float(each)], "completed") for each in own] for head, own in reached.items()}
    head_lr = {"distribution": "log_uniform_values", "min": 0.005, "max": 0.2}
    heads = {"softmax": {}, "arcface": {"head_lr": head_lr, "scale": "auto"}}  # ranges alone, four each
    made = build_study(tmp_path_factory.mktemp("deciding"), heads, trials=ends, examined=False)
    searched, events = Results(made.root).study.searched(), made.events()
    for event in events:
        if event["event"] == "start":
            own = zip(searched[event["head"]].items(), places[event["head"]][event["index"]].tolist(), strict=True)
            event["params"] |= {name: at(item.parameter, place) for (name, item), place in own}
    made.trials_file.write_text("".join(json.dumps(event) + "\n" for event in events))
    return made


def at(parameter: Any, place: float) -> float:
    assert isinstance(parameter, Range)
    if parameter.log:
        return float(parameter.low * (parameter.high / parameter.low) ** place)
    return float(parameter.low + (parameter.high - parameter.low) * place)


def test_the_state_says_how_far_it_is_and_whether_it_goes_on(build_study: Build, tmp_path: Path) -> None:
    ends: Any = {"softmax": [([0.5], "completed"), ([0.4], "running")], "arcface": [([0.6], "completed")]}
    made = build_study(tmp_path, trials=ends, examined=False)
    assert "made-3d: 2 of 4 trials ended; interrupted" in text(made).splitlines()
    with made.writer():
        assert "made-3d: 2 of 4 trials ended; running" in text(made).splitlines()
        assert told(made)["running"] is True
    assert told(made)["running"] is False


def test_a_finished_study_and_its_confirmation(folder: StudyFolder, build_study: Build, tmp_path: Path) -> None:
    assert "made-3d: 6 of 6 trials ended; finished" in text(folder).splitlines()
    confirmed = {"softmax-000": [0.9, 0.91], "arcface-000": [0.8, None]}
    made = build_study(tmp_path / "more", examined=False, confirmed=confirmed)
    assert "made-3d: 6 of 6 trials ended, 4 of at most 4 confirmation runs; finished" in text(made).splitlines()
    assert "arcface-000-seed-2 failed: because it failed" in text(made).splitlines()
    assert [each["run"] for each in told(made)["lost"]] == ["softmax-002", "arcface-002", "arcface-000-seed-2"]


def test_the_leaderboard_is_that_of_the_results(folder: StudyFolder) -> None:
    said, best = text(folder), told(folder)["leaderboard"]
    assert best == json.loads(json.dumps(Results(folder.root).as_dict()["leaderboard"]))
    assert [(row["head"], row["trial"], row["objective"]) for row in best] == [
        ("softmax", "softmax-000", 0.9),
        ("arcface", "arcface-000", 0.9),
    ]
    assert "made-3d: cluster accuracy on 80 validation images, 3-D" in said
    assert all(row["trial"] in said for row in best)


def test_what_failed_is_named_with_its_reason(folder: StudyFolder) -> None:
    failed = [
        {"run": f"{head}-002", "status": "failed", "reason": "because it failed"} for head in ("softmax", "arcface")
    ]
    assert told(folder)["lost"] == failed
    said = text(folder).splitlines()
    assert [line for line in said if "because" in line] == [
        f"{each['run']} failed: {each['reason']}" for each in failed
    ]


def test_links_are_to_what_there_is(folder: StudyFolder) -> None:
    further = {"trials": f"orchestrator dashboard {folder.root}", "W&B": f"orchestrator sync {folder.root}"}
    assert links(folder) == further
    folder.report_file.write_text("a page")
    assert links(folder) == {"report": str(folder.report_file)} | further
    (folder.wandb / "offline-run-x-y").mkdir(parents=True)
    assert links(folder) == {"report": str(folder.report_file), "runs": f"wandb leet {folder.wandb}"} | further
    assert text(folder).splitlines()[-4:] == [
        f"report  {folder.report_file}",
        f"runs    wandb leet {folder.wandb}",
        f"trials  orchestrator dashboard {folder.root}",
        f"W&B     orchestrator sync {folder.root}",
    ]


@pytest.mark.parametrize("place", [PLACE, MORE])
def test_a_study_with_a_sweep_links_to_it(folder: StudyFolder, place: Place) -> None:
    place.keep(folder)
    workspace = {"workspace": place.workspace} if place.workspace else {}
    assert links(folder) == {"sweep": place.url, **workspace, "trials": f"orchestrator dashboard {folder.root}"}
    assert told(folder)["links"] == links(folder)
    assert place.url in text(folder)


def test_the_setting_that_decides_stands_first_and_what_chance_would_do_in_brackets(deciding: StudyFolder) -> None:
    softmax, arcface = told(deciding)["importance"]
    assert (softmax["head"], softmax["trials"], softmax["epoch"], softmax["reason"]) == ("softmax", TRIALS, 2, "")
    first, *others = softmax["settings"]
    assert first["setting"] == "lr"
    assert first["share"] > 0.8
    assert first["p"] < 0.05
    assert min(each["p"] for each in [*others, *arcface["settings"]]) >= 0.05
    rows = [line for line in text(deciding).splitlines() if line.startswith("│") and line.count("│") == 8]
    cells = [[cell.strip() for cell in row.strip("│").split("│")] for row in rows if "–" in row]
    shown = [(head, setting, share, interval, p) for head, setting, share, interval, p, *_ in cells]
    expected = []
    for known in (softmax, arcface):
        for each in known["settings"]:
            (low, high), share = each["interval_95"], f"{each['share']:.2f}"
            share = share if each["p"] < 0.05 else f"({share})"
            expected.append((known["head"], each["setting"], share, f"{low:.2f}–{high:.2f}", f"{each['p']:.3f}"))
    assert shown == expected
    assert all(own[-2:] == [str(TRIALS), "2"] for own in cells)
    assert "In brackets: no more than chance would do." in text(deciding)


def test_what_does_not_differ_is_named(deciding: StudyFolder, tmp_path: Path) -> None:
    made = StudyFolder(tmp_path / "copy")
    shutil.copytree(deciding.root, made.root)
    events = made.events()
    for event in events:
        if event["trial"].startswith("softmax") and event["event"] == "start":
            event["params"] |= {"head_lr": 0.05, "weight_decay": 0.01}
    made.trials_file.write_text("".join(json.dumps(event) + "\n" for event in events))
    assert "softmax: weight_decay, head_lr left out" in text(made).splitlines()
    assert [len(each["settings"]) for each in told(made)["importance"]] == [2, 4]


def test_one_reason_is_said_once_for_all_its_heads(build_study: Build, tmp_path: Path) -> None:
    trials: Any = {head: [([0.5], "completed"), ([0.6], "completed")] for head in ("softmax", "arcface")}
    trials["cosface"] = [([], "failed")]
    made = build_study(tmp_path, ["softmax", "cosface", "arcface"], trials=trials, examined=False)
    why = "1 setting needs at least 5 trials with a result, and it has 2"
    assert [line for line in text(made).splitlines() if line.startswith("no importance")] == [
        f"no importance of settings (softmax, arcface): {why}",
        "no importance of settings (cosface): no trial has ended with a result",
    ]
    assert [each["reason"] for each in told(made)["importance"]] == [why, "no trial has ended with a result", why]


def test_a_study_that_has_not_begun_can_be_looked_at(folder: StudyFolder) -> None:
    for path in (folder.trials_file, folder.provenance_file):
        path.unlink()
    shutil.rmtree(folder.embeddings)
    assert "made-3d: 0 of 6 trials ended; interrupted" in text(folder).splitlines()
    content = told(folder)
    assert [(row["head"], row["objective"]) for row in content["leaderboard"]] == [("softmax", None), ("arcface", None)]
    assert all(each["reason"] for each in content["importance"])


def test_on_a_terminal_it_is_a_page_and_for_scripts_json(deciding: StudyFolder) -> None:
    shown = run(deciding.root)
    assert (shown.exit_code, shown.stderr) == (0, "")
    wanted = ("trials ended; finished", "cluster accuracy on", "What each setting matters", "orchestrator dashboard")
    assert all(part in shown.stdout for part in wanted)
    asked = run(deciding.root, "--json")
    assert (asked.exit_code, asked.stderr) == (0, "")
    content = json.loads(asked.stdout)
    assert content == told(deciding)
    assert content.keys() >= {"source", "leaderboard", "importance", "lost", "links", "running"}
    assert (content["source"], content["trials"], content["finished"]) == (str(deciding.root), 2 * TRIALS, True)
    assert "folder" not in content


def test_looking_changes_nothing(folder: StudyFolder) -> None:
    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in folder.root.rglob("*") if path.is_file()}

    before = files()
    assert (run(folder.root).exit_code, run(folder.root, "--json").exit_code) == (0, 0)
    assert files() == before


@pytest.mark.parametrize(
    "source", ["nowhere", "a/b", "a/b/c/d", "a//c", "me/heads/abc/", "/no/such/study", "./no/study", "../no/study"]
)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_what_is_neither_a_folder_nor_a_sweep_is_refused_unasked(
    source: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetch, "fetch", lambda *given: pytest.fail("W&B was asked"))
    done = run(source, *options)
    assert (done.exit_code, done.stdout) == (4, "")
    assert done.stderr.splitlines() == [
        source,
        "  rule   a study is named by its folder, or by its sweep at W&B as entity/project/sweep",
        "  value  there is no such folder",
        "  fix    orchestrator inspect results/quick",
    ]


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotRun, match=r"a study's folder holds a study\.yaml"), inspected(str(tmp_path)):
        pass


def test_a_sweep_is_said_in_the_same_words(
    folder: StudyFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetched(path: str, to: Path) -> fetch.Fetched:
        asked.append(path)
        shutil.copytree(folder.root, to / "made-3d")
        return fetch.Fetched(Results(to / "made-3d"), MORE, 1)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetch, "fetch", fetched)
    with inspected("me/heads/abc") as known:
        content = known.as_dict()
    own = {"source": "me/heads/abc", "running": True, "links": {"sweep": MORE.url, "workspace": MORE.workspace}}
    assert content == told(folder) | own
    (tmp_path / "me" / "heads").mkdir(parents=True)
    shutil.copytree(folder.root, tmp_path / "me" / "heads" / "abc")
    with inspected("me/heads/abc") as known:
        assert known.links["trials"] == "orchestrator dashboard me/heads/abc"
    assert asked == ["me/heads/abc"]
