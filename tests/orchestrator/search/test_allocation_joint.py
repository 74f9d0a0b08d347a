"""One searcher for all heads, and searches with two objectives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from lightning_modules.objectives.separation import OBJECTIVE as SEPARATION
from orchestrator.errors import StudyError
from orchestrator.search.allocation import Assignment, Contest
from orchestrator.storage.event_log import Trial
from orchestrator.study.schema import Study
from search_spaces.configurations import Searched, starting_point
from search_spaces.distributions import Range

HEADS = ("softmax", "triplet", "arcface")


def make_study(trials: int = 8, heads: tuple[str, ...] = HEADS, **search: Any) -> Study:
    search = {"trials_per_head": trials, "searcher": "tpe", "scheduler": "none", "joint": True, **search}
    return Study.model_validate({"name": "joint", "heads": {head: {} for head in heads}, "search": search})


Objectives = Callable[[Assignment], tuple[float, float]]
Fate = Callable[[Assignment], str]


def play(
    contest: Contest, objectives: Objectives, fate: Fate = lambda given: "completed", most: int = 10**6
) -> list[Trial]:
    """Up to `most` trials, one after the other, as the record has them."""
    played: list[Trial] = []
    while len(played) < most and (given := contest.next()):
        (accuracy, separation), status = objectives(given), fate(given)
        rows: list[dict[str, Any]] = []
        if status != "failed":
            rows = [{"epoch": 1, "objective": accuracy, "metrics": {SEPARATION.metric: separation}}]
            contest.epoch(given.name, rows[0])
        contest.end(given.name, status)
        known = (given.name, given.head, given.index, given.seed, given.params)
        played.append(Trial(*known, status, "", rows))  # type: ignore[arg-type]
    return played


def by_settings(given: Assignment) -> tuple[float, float]:
    """Something that head and settings decide."""
    lead = {"softmax": 0.1, "triplet": 0.0, "arcface": 0.2}[given.head]
    return lead + 0.5 - abs(given.params["lr"] - 0.01) * 10, given.params["lr"]


@pytest.mark.parametrize("searcher", ["tpe", "random"])
def test_a_joint_search_gives_as_many_trials_as_an_equal_one_in_all(searcher: str) -> None:
    contest = Contest(make_study(searcher=searcher), make_study().spaces(10))
    for left in range(24, 0, -1):
        assert contest.remaining == left
        play(contest, by_settings, most=1)
    assert contest.next() is None


def test_every_head_gets_its_defaults_first_then_the_searcher_decides() -> None:
    study = make_study(trials=10)
    spaces = study.spaces(10)
    played = play(Contest(study, spaces), by_settings)
    assert [(trial.head, trial.params) for trial in played[:3]] == [
        (head, starting_point(spaces[head])) for head in HEADS
    ]
    assert len({str((trial.head, trial.params)) for trial in played}) == 30
    counts = Counter(trial.head for trial in played)
    assert len(set(counts.values())) > 1
    for head in HEADS:
        assert [trial.index for trial in played if trial.head == head] == list(range(counts[head]))


def test_starts_of_a_study_come_before_the_defaults_of_all() -> None:
    study = make_study(start_at={"arcface": {"scale": 30.0}})
    spaces = study.spaces(10)
    defaults = {head: starting_point(spaces[head]) for head in HEADS}
    played = play(Contest(study, spaces), by_settings, most=4)
    assert [(trial.head, trial.params) for trial in played] == [
        ("softmax", defaults["softmax"]),
        ("triplet", defaults["triplet"]),
        ("arcface", defaults["arcface"] | {"magnitude": "fixed", "scale": 30.0}),
        ("arcface", defaults["arcface"]),
    ]


def test_settings_are_those_of_the_head_that_was_chosen() -> None:
    study = make_study(trials=10, searcher="random", heads=("softmax", "sphereface"))
    spaces = study.spaces(10)
    for trial in play(Contest(study, spaces), lambda given: (0.5, 0.0)):
        space = spaces[trial.head]
        assert all(space[name].parameter.contains(value) for name, value in trial.params.items())
        assert set(space) - set(trial.params) == ({"scale"} if trial.params.get("magnitude") == "feature" else set())


def fate_of(given: Assignment) -> str:
    return {2: "failed", 4: "diverged"}.get(given.index % 5, "completed")


@pytest.mark.parametrize("searcher", ["tpe", "random"])
@pytest.mark.parametrize("objectives", [["accuracy"], ["accuracy", "separation"]])
@pytest.mark.parametrize("cut", [0, 1, 3, 13, 23])
def test_a_resumed_joint_search_proposes_what_the_uninterrupted_one_does(
    searcher: str, objectives: list[str], cut: int
) -> None:
    study = make_study(searcher=searcher, seed=5, objectives=objectives)
    spaces = study.spaces(10)
    whole = play(Contest(study, spaces), by_settings, fate_of)
    resumed = play(Contest(study, spaces, whole[:cut]), by_settings, fate_of)
    assert whole[:cut] + resumed == whole
    assert {trial.status for trial in whole} == {"completed", "failed", "diverged"}


def test_what_was_interrupted_goes_on_in_a_joint_search() -> None:
    study = make_study()
    spaces = study.spaces(10)
    first = Contest(study, spaces)
    record = play(first, by_settings, most=5)
    given = first.next()
    assert given
    record.append(Trial(given.name, given.head, given.index, given.seed, given.params))
    contest = Contest(study, spaces, record)
    assert contest.remaining == 24 - 5
    assert contest.next() == Assignment(**{**vars(given), "continues": True})
    contest.epoch(given.name, {"epoch": 1, "objective": 0.5})
    contest.end(given.name, "completed")
    rest = play(contest, by_settings)
    assert len(rest) == 24 - 6
    assert len({trial.name for trial in (*record, *rest)}) == 24


def toy(low: float = 0.0) -> dict[str, Searched]:
    return {name: Searched(Range(low, 1.0), 0.5, "") for name in ("a", "b")}


def pays(given: Assignment) -> tuple[float, float]:
    """Only one head reaches anything, and that near a = 0.7."""
    return (0.9 - abs(given.params["a"] - 0.7) if given.head == "triplet" else 0.1), 0.0


def shares(searcher: str, seeds: range) -> list[float]:
    """Of the second half of all trials, how many went to the head that pays."""
    found = []
    for seed in seeds:
        study = make_study(trials=20, searcher=searcher, seed=seed)
        late = play(Contest(study, {head: toy() for head in HEADS}), pays)[30:]
        found.append(mean(trial.head == "triplet" for trial in late))
    return found


def test_a_joint_search_moves_its_trials_to_the_head_that_pays() -> None:
    assert mean(shares("tpe", range(3))) > 0.6
    assert mean(shares("random", range(3))) < 0.45


def test_a_record_in_any_order_teaches_which_head_pays() -> None:
    """Runs side by side are recorded in another order than one after the other would be, and with other settings."""
    late = []
    for seed in range(3):
        record = [
            Trial(
                f"{head}-{index:03d}", head, index, 0, {"a": index / 15, "b": 0.5}, "completed", "",
                [{"epoch": 1, "objective": 0.9 if head == "triplet" else 0.1}],
            )
            for head in reversed(HEADS) for index in range(15)
        ]  # fmt: skip
        contest = Contest(make_study(trials=20, seed=seed), {head: toy() for head in HEADS}, record)
        late += play(contest, pays)
    assert len(late) == 3 * 15
    assert mean(trial.head == "triplet" for trial in late) > 0.6
    assert min(trial.index for trial in late) == 15


def test_the_head_that_pays_may_have_more_trials_than_an_equal_share() -> None:
    study = make_study(trials=20)
    played = play(Contest(study, {head: toy() for head in HEADS}), pays)
    names = [trial.name for trial in played if trial.head == "triplet"]
    assert len(names) > 25
    assert names == [f"triplet-{number:03d}" for number in range(len(names))]


def test_a_joint_search_keeps_away_from_a_head_that_diverges() -> None:
    def fate(given: Assignment) -> str:
        return "diverged" if given.head == "arcface" else "completed"

    late = []
    for seed in range(3):
        contest = Contest(make_study(trials=20, seed=seed), {head: toy() for head in HEADS})
        late += play(contest, lambda given: (0.9, 0.0), fate)[30:]
    assert mean(trial.head == "arcface" for trial in late) < 0.2


@pytest.mark.parametrize("status", ["failed", "diverged"])
def test_a_joint_search_in_which_nothing_works_still_ends(status: str) -> None:
    for objectives in (["accuracy"], ["accuracy", "separation"]):
        study = make_study(trials=5, objectives=objectives)
        played = play(Contest(study, study.spaces(10)), lambda given: (0.5, 0.5), lambda given: status)
        assert len({trial.name for trial in played}) == 15


def trade(given: Assignment) -> tuple[float, float]:
    """a trades accuracy for separation, b costs both: the front is b = 0 with any a."""
    a, b = given.params["a"], given.params["b"]
    return 1 - a * a - b, 1 - (1 - a) ** 2 - b


def late_on_the_front(objectives: list[str], fate: Fate = lambda given: "completed") -> list[Trial]:
    late = []
    for seed in range(4):
        study = make_study(trials=40, heads=("arcface",), joint=False, seed=seed, objectives=objectives)
        late += play(Contest(study, {"arcface": toy()}), trade, fate)[20:]
    return late


def test_two_objectives_are_learned_and_the_front_is_covered_from_end_to_end() -> None:
    late = late_on_the_front(["accuracy", "separation"])
    assert mean(trial.params["b"] for trial in late) < 0.3  # by chance 0.5
    thirds = Counter(min(2, int(trial.params["a"] * 3)) for trial in late)
    assert min(thirds[0], thirds[2]) > 0.15 * len(late)
    alone = late_on_the_front(["accuracy"])
    assert mean(trial.params["a"] > 2 / 3 for trial in alone) < 0.1


def test_separation_comes_back_from_the_record() -> None:
    """A resumed search that took it for 0 would propose something else."""
    study = make_study(trials=30, heads=("arcface",), joint=False, objectives=["accuracy", "separation"])
    spaces = {"arcface": toy()}
    whole = play(Contest(study, spaces), trade, fate_of)
    for cut in (12, 20):
        assert whole[:cut] + play(Contest(study, spaces, whole[:cut]), trade, fate_of) == whole
    for trial in whole[:20]:
        for row in trial.epochs:
            row["metrics"] = {}
    forgotten = play(Contest(study, spaces, whole[:20]), trade, fate_of)
    assert [trial.params for trial in forgotten] != [trial.params for trial in whole[20:]]


def test_two_objectives_live_with_trials_that_fail_or_diverge() -> None:
    late = late_on_the_front(["accuracy", "separation"], lambda given: ("failed" if given.index % 4 == 3 else
                             "diverged" if given.params["b"] > 0.8 else "completed"))  # fmt: skip
    assert mean(trial.params["b"] for trial in late) < 0.35


START = "search: {start_at: {%s}}"
WRONG = [
    ("search: {joint: true, searcher: grid}", "search.joint", "a searcher that chooses heads", "searcher: tpe"),
    ("search: {joint: true, searcher: random, scheduler: pbt}", "search.joint", "that chooses heads", "asha or none"),
    (
        "search: {objectives: [accuracy, separation]}",
        "search.objectives", "trials that run to their end", "scheduler: none",
    ),
    (
        "search: {objectives: [accuracy, separation], scheduler: none, searcher: grid}",
        "search.objectives", "a searcher that learns both", "searcher: tpe",
    ),
    (
        "search: {objectives: [accuracy, accuracy], scheduler: none}",
        "search.objectives", "each objective is named once", "write [accuracy]",
    ),
    ("search: {objectives: [acuracy]}", "search.objectives.0", "one of accuracy, separation", "did you mean accuracy?"),
    ("search: {objectives: [map]}", "search.objectives.0", "one of accuracy", "there are accuracy, separation"),
    ("search: {objectives: []}", "search.objectives", "at least one", "write [accuracy]"),
    (START % "cosfase: {scale: 8.0}", "search.start_at.cosfase", "heads of its own", "did you mean cosface?"),
    (START % "softmax: {lr: 0.1}", "search.start_at.softmax", "heads of its own", "there are arcface, cosface"),
    (START % "arcface: {margin: 0.3}", "search.start_at.arcface.margin", "no such setting", "margin_rad"),
    (START % "arcface: {margin_rad: 28.6}", "search.start_at.arcface.margin_rad", "(rad)", "28.6° = 0.499 rad"),
    (START % "arcface: {scale: big}", "search.start_at.arcface.scale", "must be a number", "0.001"),
    (START % "arcface: {lr: 0}", "search.start_at.arcface.lr", "from 1e-07 to 10", "1e-07"),
    (START % "arcface: {detach_margin: 1}", "search.start_at.arcface.detach_margin", "must be false or true", "false"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "place", "rule", "fix"), WRONG, ids=[row[0][8:] for row in WRONG])
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, place: str, rule: str, fix: str) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(f"name: wrong\nheads: {{arcface: , cosface: }}\n{text}\n")
    with pytest.raises(StudyError) as caught:
        Study.load(file)
    assert [(problem.place, problem.line) for problem in caught.value.problems] == [(place, 3)]
    assert rule in caught.value.problems[0].rule
    assert fix in caught.value.problems[0].fix


@pytest.mark.parametrize(
    "search",
    [
        "{joint: true}",
        "{joint: true, searcher: random, scheduler: none}",
        "{joint: true, objectives: [separation, accuracy], scheduler: none}",
        "{objectives: [accuracy, separation], scheduler: none, searcher: random}",
        "{objectives: [separation], scheduler: asha, searcher: grid}",
        "{start_at: {arcface: {margin_rad: 0.3, lr: 0.1}, cosface: {}}}",
    ],
)
def test_what_makes_sense_is_not(tmp_path: Path, search: str) -> None:
    file = tmp_path / "right.yaml"
    file.write_text(f"name: right\nheads: {{arcface: , cosface: }}\nsearch: {search}\n")
    assert Study.load(file).heads == {"arcface": {}, "cosface": {}}
