"""How many trials fit on which nodes, and that what would wait for ever is refused."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.cluster.resources import Fleet, Node, loopback, misfits
from orchestrator.study import validation
from orchestrator.study.schema import Profile, Study

CORES, GPUS, CHIPS = Node(8), Node(4, gpu=2), Node(4, tpu=4)
CLUSTER = Fleet((CORES, GPUS, CHIPS), "10.0.0.1:6379")


@pytest.mark.parametrize(
    ("profile", "fits"),
    [
        ({"cpu": 1}, (8, 4, 4)),
        ({"cpu": 0.5}, (16, 8, 8)),
        ({"cpu": 3}, (2, 1, 1)),
        ({"gpu": 1}, (0, 2, 0)),
        ({"gpu": 0.5}, (0, 4, 0)),
        ({"gpu": 0.4}, (0, 4, 0)),  # two on each GPU, for a trial never has parts of two
        ({"cpu": 4, "gpu": 0.5}, (0, 1, 0)),
        ({"gpu": 2}, (0, 1, 0)),
        ({"tpu": 4}, (0, 0, 1)),
        ({"tpu": 1}, (0, 0, 4)),
        ({"gpu": 1, "tpu": 1}, (0, 0, 0)),
    ],
)
def test_a_node_takes_as_many_trials_as_have_all_that_they_ask_for(
    profile: dict[str, Any], fits: tuple[int, int, int]
) -> None:
    asked = Profile(**profile)
    assert tuple(node.fits(asked) for node in CLUSTER.nodes) == fits
    assert CLUSTER.fits(asked) == sum(fits)
    assert Fleet((Node(8, number=3),)).fits(Profile()) == 24


@pytest.mark.parametrize(
    ("profiles", "slots"),
    [
        ([{}], 16),
        ([{}, {}], 16),
        ([{"gpu": 1}], 2),
        ([{}, {"gpu": 1}], 16),  # cores are shared
        ([{"cpu": 4}, {"cpu": 2, "gpu": 1}, {"tpu": 4}], 7),
    ],
)
def test_trials_of_different_profiles_run_beside_each_other(profiles: list[dict[str, Any]], slots: int) -> None:
    assert CLUSTER.slots(Profile(**profile) for profile in profiles) == slots


@pytest.mark.parametrize(
    ("profile", "workers", "trials"),
    [
        ({"workers": 2}, 16, 8),
        ({"workers": 16}, 16, 1),
        ({"workers": 17}, 16, 0),
        ({"cpu": 3, "workers": 2}, 4, 2),  # two on the largest node, or on two nodes
        ({"gpu": 1, "workers": 2}, 2, 1),
        ({"gpu": 2, "workers": 2}, 1, 0),
    ],
)
def test_all_workers_of_a_trial_fit_at_once_on_one_node_or_on_several(
    profile: dict[str, Any], workers: int, trials: int
) -> None:
    asked = Profile(**profile)
    assert (CLUSTER.fit_workers(asked), CLUSTER.fits(asked)) == (workers, trials)


def test_trials_with_workers_start_only_where_any_mix_of_them_fits() -> None:
    assert CLUSTER.slots([Profile(workers=4), Profile(workers=2)]) == 4
    assert CLUSTER.slots([Profile(workers=8), Profile()]) == 2
    assert CLUSTER.slots([Profile(workers=2, gpu=1), Profile()]) == 1


def study(tiny_study: Callable[..., Study], **resources: Any) -> Study:
    return tiny_study(heads={"softmax": {}, "arcface": {}}, resources=resources)


def test_a_head_gets_what_it_says_and_the_rest_from_all(tiny_study: Callable[..., Study]) -> None:
    resources = study(tiny_study, cpu=2.0, heads={"arcface": {"gpu": 0.5}}).resources
    assert resources.of("softmax") == Profile(cpu=2)
    assert resources.of("arcface") == Profile(cpu=2, gpu=0.5)
    assert resources.of("arcface").requested() == {"cpu": 2, "gpu": 0.5}


def test_what_a_head_gets_survives_the_studys_normal_form(tiny_study: Callable[..., Study], tmp_path: Any) -> None:
    written = study(tiny_study, cpu=2.0, heads={"arcface": {"gpu": 0.5}})
    (tmp_path / "study.yaml").write_text(written.to_yaml())
    read = Study.load(tmp_path / "study.yaml")
    assert [read.resources.of(head) for head in read.heads] == [written.resources.of(head) for head in written.heads]


def test_resources_of_a_head_that_is_not_there_are_refused(tiny_study: Callable[..., Study]) -> None:
    (problem,) = validation.problems(study(tiny_study, heads={"arcfase": {"gpu": 1.0}}))
    assert (problem.place, problem.fix) == ("resources.heads.arcfase", "did you mean arcface?")


@pytest.mark.parametrize(
    ("resources", "place", "rule", "fix"),
    [
        ({"cpu": 9.0}, "resources.cpu", "the largest node has 8 cores", "write cpu: 8 or less"),
        ({"gpu": 3.0}, "resources.gpu", "the largest node has 2 GPUs", "write gpu: 2 or less"),
        ({"gpu": 1.5}, "resources.gpu", "a trial takes a share of one GPU, or whole ones", "write gpu: 1"),
        ({"tpu": 3}, "resources.tpu", "a trial takes 1, 2, 4 or 8 TPU chips of one host", "write tpu: 2"),
        ({"tpu": 8}, "resources.tpu", "the largest node has 4 TPU chips", "write tpu: 4 or less"),
        (
            {"cpu": 8.0, "gpu": 1.0},
            "resources",
            "one node must have all that a trial takes",
            "nodes have 8 cores; 4 cores and 2 GPUs; 4 cores and 4 TPU chips",
        ),
        ({"heads": {"arcface": {"cpu": 9.0}}}, "resources.heads.arcface.cpu", "the largest node has 8 cores", None),
        (
            {"cpu": 3.0, "workers": 5},
            "resources.workers",
            "all workers of a trial run at once, and 4 workers of 3 cores fit on the cluster",
            "write workers: 4 or less",
        ),
        (
            {"heads": {"arcface": {"gpu": 2.0, "workers": 2}}},
            "resources.heads.arcface.workers",
            "all workers of a trial run at once, and 1 worker of 1 core and 2 GPUs fit on the cluster",
            "write workers: 1",
        ),
        (
            {"cpu": 9.0, "workers": 2},
            "resources.cpu",
            "the largest node has 8 cores",
            "write cpu: 8 or less",
        ),
    ],
)
def test_a_trial_that_fits_no_node_is_refused(
    tiny_study: Callable[..., Study], resources: dict[str, Any], place: str, rule: str, fix: str | None
) -> None:
    (problem,) = misfits(study(tiny_study, **resources), CLUSTER)
    assert (problem.place, problem.rule) == (place, rule)
    assert fix is None or problem.fix == fix


def test_what_fits_somewhere_is_not_refused(tiny_study: Callable[..., Study]) -> None:
    mixed = study(tiny_study, heads={"arcface": {"cpu": 4.0, "gpu": 2.0}, "softmax": {"tpu": 4}})
    assert list(misfits(mixed, CLUSTER)) == []


@pytest.mark.parametrize(
    ("resources", "search", "place", "value", "fix"),
    [
        ({"workers": 3}, {}, "resources.workers", "3", "write workers: 2, or training.batch_size: 18"),
        ({"workers": 32}, {}, "resources.workers", "32", "write workers: 16, or training.batch_size: 32"),
        (
            {"heads": {"arcface": {"workers": 6}}},
            {},
            "resources.heads.arcface.workers",
            "6",
            "write workers: 4, or training.batch_size: 18",
        ),
        ({"workers": 2, "gpu": 0.5}, {}, "resources.workers", "2 with gpu: 0.5", "write gpu: 1, or workers: 1"),
        ({"workers": 2, "tpu": 4}, {}, "resources.workers", "2 with tpu: 4", "write workers: 1, or tpu: 0"),
        (
            {"workers": 2},
            {"scheduler": "pbt", "searcher": "random"},
            "resources.workers",
            "2 with scheduler: pbt",
            "write scheduler: asha, or workers: 1",
        ),
    ],
)
def test_workers_that_cannot_share_a_batch_are_refused(
    tiny_study: Callable[..., Study],
    resources: dict[str, Any],
    search: dict[str, Any],
    place: str,
    value: str,
    fix: str,
) -> None:
    asked = tiny_study(heads={"softmax": {}, "arcface": {}}, resources=resources, search=search)
    (problem,) = validation.problems(asked)
    assert (problem.place, problem.value, problem.fix) == (place, value, fix)


def test_workers_that_share_batches_equally_are_taken(tiny_study: Callable[..., Study]) -> None:
    asked = study(tiny_study, workers=2, heads={"arcface": {"gpu": 1.0, "workers": 4}})
    assert validation.problems(asked) == []
    assert [asked.resources.of(head).workers for head in ("softmax", "arcface")] == [2, 4]
    assert asked.resources.of("arcface").requested() == {"cpu": 1, "gpu": 1}  # for each of the workers


def test_processes_that_cannot_talk_to_each_other_are_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loopback() is None

    def unreachable(*given: Any, **also: Any) -> Any:
        raise OSError(101, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    problem = loopback()
    assert problem
    assert (problem.place, problem.value) == (
        "network",
        "it cannot be reached: [Errno 101] Network is unreachable",
    )
