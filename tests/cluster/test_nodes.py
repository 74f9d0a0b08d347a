"""A study over several nodes: it uses all of them, also those that come later, and goes on where one is lost."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.storage.bucket_sync import inside
from orchestrator.storage.study_folder import StudyFolder
from tests.cluster.conftest import Cluster
from tests.orchestrator.processes import PATIENCE_S, epochs_on_record, wait_until
from tests.readme import CLUSTER, ROOT, placed

Launch = Callable[..., subprocess.Popen[str]]
EPOCHS = 6  # some are to come when a node dies, however busy the machine is
STUDY = {
    "heads": "{arcface: , sphereface: }",
    "training": f"{{epochs: {EPOCHS}, batch_size: 16}}",
    "search": "{trials_per_head: 3, scheduler: none}",
    "confirmation": "{top: 0}",
}


def places(folder: StudyFolder) -> dict[str, list[str]]:
    """The nodes that each trial ran on, in order."""
    found: dict[str, list[str]] = {}
    for event in folder.events():
        if event["event"] == "placed":
            found.setdefault(event["trial"], []).append(event["node_id"])
    return found


def at_work(folder: StudyFolder, node: str) -> list[str]:
    """The trials in the middle there: an epoch is on record, and two at least are to come."""
    nodes, trials = places(folder), folder.trials().values()
    middle = [trial.name for trial in trials if trial.status == "running" and 1 <= trial.last_epoch <= EPOCHS - 2]
    return [name for name in middle if nodes[name][-1] == node]


def check_exactly_planned(folder: StudyFolder, trials: int, epochs: int) -> None:
    events = folder.events()
    names = [f"{head}-{index:03d}" for head in ("arcface", "sphereface") for index in range(trials)]
    for kind in ("start", "end"):
        assert Counter(event["trial"] for event in events if event["event"] == kind) == Counter(names)
    found = Counter((event["trial"], event["epoch"]) for event in events if event["event"] == "epoch")
    assert found == Counter((name, epoch) for name in names for epoch in range(1, epochs + 1))
    assert {event["status"] for event in events if event["event"] == "end"} == {"completed"}


def test_nodes_that_come_later_are_used_and_one_that_dies_costs_no_trial(
    cluster: Cluster,
    launch: Launch,
    small_study: Callable[..., Path],
    google_runs: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A search of one node, in the README's words, takes in two more, and goes on where one of them is lost."""
    cluster.head()
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)  # on a node of its own `auto` finds it without
    _, words = CLUSTER
    places_of = {"digits.yaml": small_study(**STUDY), "ray_cluster.yaml": ROOT / "ray_cluster.yaml"}
    driver = launch(*placed(words, places_of))
    folder = StudyFolder(inside(google_runs, "small"))
    wait_until(lambda: epochs_on_record(folder) >= 1, driver)
    cluster.join()
    lost = cluster.join()
    name = cluster.id_of(lost)
    wait_until(lambda: bool(at_work(folder, name)), driver)
    cluster.kill(lost)
    _, said = driver.communicate(timeout=PATIENCE_S)
    assert driver.returncode == 0, said
    check_exactly_planned(folder, trials=3, epochs=EPOCHS)
    assert len({node for nodes in places(folder).values() for node in nodes}) == 3
    moved = [nodes for nodes in places(folder).values() if len(nodes) > 1]
    assert moved
    assert all(name in nodes[:-1] and nodes[-1] != name for nodes in moved)
    assert "; it goes on after epoch" in said
