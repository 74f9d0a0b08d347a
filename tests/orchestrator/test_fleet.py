"""How many trials fit on which nodes, and that what would wait for ever is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from orchestrator import study_rules
from orchestrator.fleet import Fleet, Node, misfits
from orchestrator.study import Profile, Study

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
    (problem,) = study_rules.problems(study(tiny_study, heads={"arcfase": {"gpu": 1.0}}))
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
