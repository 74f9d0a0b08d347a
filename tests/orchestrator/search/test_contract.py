"""What every sampler and every scheduler must hold to, and that a new one is one file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lightning_modules.registry import Registry
from orchestrator.cost.simulation import usual_epochs
from orchestrator.errors import StudyError
from orchestrator.search import samplers, schedulers
from orchestrator.search.allocation import Contest
from orchestrator.search.samplers import SAMPLERS
from orchestrator.search.samplers.base import Sampler
from orchestrator.search.schedulers import SCHEDULERS
from orchestrator.search.schedulers.base import Scheduler
from orchestrator.study import search_section
from orchestrator.study.schema import Study
from search_spaces.configurations import Params, Searched
from search_spaces.distributions import Choice, Range

TRIALS, EPOCHS = 6, 9
SPACE = {
    "kind": Searched(Choice(("fixed", "free")), "fixed", ""),
    "lr": Searched(Range(0.001, 0.1, log=True), 0.01, ""),
    "scale": Searched(Range(8.0, 32.0), 16.0, "", ("kind", "fixed")),
}
START = {"kind": "free", "lr": 0.05}


def played(sampler: Sampler, record: list[Params] | None = None, **given: Any) -> list[Params]:
    """What is proposed one after the other, those on record first, where every third trial fails."""
    proposer, found = sampler.proposer(SPACE, TRIALS, seed=3, **given), list[Params]()
    for number in range(TRIALS):
        known = record[number] if record and number < len(record) else None
        found.append(proposer.propose(f"arcface-{number:03d}", known))
        value = found[-1]["lr"] * 10
        if number % 3 == 2:
            proposer.fail(f"arcface-{number:03d}")
        else:
            others = [value / 2] * (given.get("objectives", 1) - 1)
            proposer.learn(f"arcface-{number:03d}", [(1, value / 2), (2, value)], number % 3 == 0, others)
    return found


@pytest.fixture(params=SAMPLERS.by_name)
def sampler(request: pytest.FixtureRequest) -> Sampler:
    return SAMPLERS.by_name[request.param]()


@pytest.fixture(params=SCHEDULERS.by_name)
def scheduler(request: pytest.FixtureRequest) -> Scheduler:
    return SCHEDULERS.by_name[request.param]()


def test_a_sampler_proposes_what_a_space_holds_and_what_is_read(sampler: Sampler) -> None:
    for params in played(sampler):
        assert all(SPACE[name].parameter.contains(value) for name, value in params.items())
        read = [name for name in SPACE if name != "scale" or params["kind"] == "fixed"]
        assert not sampler.supports_conditions or list(params) == read


def test_a_sampler_proposes_by_its_seed_and_goes_on_from_a_record(sampler: Sampler) -> None:
    whole = played(sampler)
    assert played(sampler) == whole
    for cut in (1, 4):
        assert played(sampler, whole[:cut]) == whole


def test_a_sampler_begins_where_it_is_told_if_it_says_so(sampler: Sampler) -> None:
    assert (played(sampler, starts=[START])[0] == START) is sampler.takes_starts


def test_a_finite_sampler_says_its_size_and_repeats_nothing(sampler: Sampler) -> None:
    size = sampler.size(SPACE)
    if size is not None:
        proposer = sampler.proposer(SPACE, size, seed=3)
        assert len({str(proposer.propose(f"arcface-{number:03d}", None)) for number in range(size)}) == size
    assert [*sampler.problems("arcface", SPACE, TRIALS)] == []


def test_a_sampler_that_is_independent_learns_nothing(sampler: Sampler) -> None:
    proposer = sampler.proposer(SPACE, TRIALS, seed=3)
    at_once = [proposer.propose(f"arcface-{number:03d}", None) for number in range(TRIALS)]
    assert not sampler.is_independent or at_once == played(sampler)


def test_a_sampler_learns_fronts_if_it_says_so(sampler: Sampler) -> None:
    if sampler.learns_fronts:
        assert len(played(sampler, objectives=3)) == TRIALS


def test_a_sampler_chooses_heads_if_it_says_so(sampler: Sampler) -> None:
    spaces: dict[str, Any] = {"arcface": SPACE, "softmax": {"lr": SPACE["lr"]}}
    if not sampler.chooses_heads:
        with pytest.raises(NotImplementedError, match=sampler.searcher):
            sampler.joint_proposer(spaces, TRIALS, 3, {})
        return
    proposer = sampler.joint_proposer(spaces, TRIALS, 3, {"softmax": [{"lr": 0.02}]})
    first = proposer.choose()
    assert (first, proposer.propose(f"{first}-000", None)) == ("softmax", {"lr": 0.02})
    assert proposer.choose() in spaces


def test_a_scheduler_says_what_it_does(scheduler: Scheduler) -> None:
    assert scheduler.title
    assert scheduler.said(EPOCHS)
    assert [*scheduler.problems(EPOCHS, TRIALS)] == []
    assert 0 < scheduler.epochs_share <= 1
    assert scheduler.leaves_alone() is not (scheduler.ends_early or scheduler.changes_settings)


def test_a_scheduler_ends_trials_at_its_rungs_and_only_if_it_says_so(scheduler: Scheduler) -> None:
    rungs = scheduler.rungs(EPOCHS)
    assert rungs == sorted({*rungs} & {*range(1, EPOCHS)})
    assert bool(rungs) is scheduler.ends_early
    scores = [(7 * number % 20) / 20 for number in range(20)]
    given = scheduler.simulated_epochs(scores, EPOCHS)
    assert len(given) == len(scores)
    assert {*given} <= {*rungs, EPOCHS}
    assert (min(given) < EPOCHS) is scheduler.ends_early


def test_a_scheduler_does_in_tune_what_is_simulated(scheduler: Scheduler) -> None:
    """One trial after the other, so that PBT, which needs several at a time, changes nothing."""
    in_tune, scores = scheduler.for_tune({}, EPOCHS), [0.9, 0.3, 0.8, 0.6, 0.7, 0.2]
    ended = []
    for number, score in enumerate(scores):
        trial = SimpleNamespace(trial_id=str(number))
        in_tune.on_trial_add(None, trial)
        rows = ({"epoch": epoch, "objective": score} for epoch in range(1, EPOCHS + 1))
        stops = (row["epoch"] for row in rows if in_tune.on_trial_result(None, trial, row) == "STOP")
        ended.append(next(stops, EPOCHS))
    assert ended == scheduler.simulated_epochs(scores, EPOCHS)


def test_no_two_options_of_a_search_have_one_name() -> None:
    """They stand side by side in a file, beside the keys of the section itself."""
    registries: list[Registry[Any]] = [SAMPLERS, SCHEDULERS]
    of_entries = [name for each in registries for entry in each.by_name.values() for name in entry.model_fields]
    of_entries = [name for name in of_entries if name not in ("searcher", "scheduler")]
    others = {*search_section.Search.model_fields} - {"scheduler"}
    assert len(of_entries) == len({*of_entries} - others)


@pytest.mark.parametrize(("key", "registry"), [("searcher", SAMPLERS), ("scheduler", SCHEDULERS)])
def test_an_unknown_name_is_refused_with_all_that_are_valid_and_the_nearest(
    tmp_path: Path, key: str, registry: Registry[Any]
) -> None:
    default = registry.default
    (tmp_path / "wrong.yaml").write_text(f"name: x\nheads: {{arcface: }}\nsearch: {{{key}: {default}x}}\n")
    with pytest.raises(StudyError) as caught:
        Study.load(tmp_path / "wrong.yaml")
    (problem,) = caught.value.problems
    assert (problem.place, problem.line, problem.fix) == (f"search.{key}", 3, f"did you mean {default}?")
    assert all(repr(name) in problem.rule for name in registry.by_name)


TOYS = {
    samplers: """
        from typing import ClassVar, Literal
        from orchestrator.search.samplers.base import Sampler
        from search_spaces.configurations import active

        class Toy(Sampler):
            searcher: Literal["toy"] = "toy"
            toy_step: float = 0.5
            takes_starts: ClassVar[bool] = False
            supports_conditions: ClassVar[bool] = False

            def proposer(self, space, trials, seed, starts=(), objectives=1):
                return ToyProposer(space, self.toy_step)

        class ToyProposer:
            def __init__(self, space, step):
                self.space, self.step, self.learned = space, step, []

            def propose(self, name, params):
                share = len(self.learned) * self.step % 1
                return params or active(self.space, lambda name, item: item.values[0] if item.values else
                                        item.low + share * (item.high - item.low))

            def learn(self, name, epochs, finished, others=()):
                self.learned.append(name)

            def fail(self, name):
                self.learned.append(name)
    """,
    schedulers: """
        from typing import Annotated, ClassVar, Literal
        from pydantic import Field
        from orchestrator.search.schedulers.base import Scheduler

        class Halving(Scheduler):
            scheduler: Literal["halving"] = "halving"
            half_after: Annotated[int, Field(ge=1)] = 2
            title: ClassVar[str] = "halving"
            ends_early: ClassVar[bool] = True

            def said(self, epochs):
                return f"every second one ends after epoch {self.half_after}"

            def rungs(self, epochs):
                return [self.half_after]

            def simulated_epochs(self, scores, epochs):
                return [self.half_after if number % 2 else epochs for number in range(len(scores))]

            def for_tune(self, space, epochs):
                raise NotImplementedError
    """,
}


@pytest.fixture
def toys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A sampler and a scheduler, each one file more in its package, and nothing else."""
    for number, (package, text) in enumerate(TOYS.items()):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "made_for_a_test.py").write_text(textwrap.dedent(text))
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path / str(number))])
    registries: list[Registry[Any]] = [SAMPLERS, SCHEDULERS]
    for registry in registries:
        registry.__dict__.pop("by_name", None)
    yield
    for registry in registries:
        registry.__dict__.pop("by_name", None)


TOY_STUDY = """
name: toys
heads: {softmax: {lr: {min: 0.01, max: 0.02}}}
training: {epochs: 4}
search: {searcher: toy, scheduler: halving, toy_step: 0.25, half_after: 3, trials_per_head: 4, grace_epochs: 2}
"""


@pytest.mark.usefixtures("toys")
def test_a_new_sampler_and_a_new_scheduler_are_a_file_each(tmp_path: Path) -> None:
    file = tmp_path / "toys.yaml"
    file.write_text(TOY_STUDY)
    study = Study.load(file)
    assert study.to_yaml().splitlines()[-6:] == [
        "  trials_per_head: 4",
        "  searcher: toy",
        "  scheduler: halving",
        "  toy_step: 0.25",
        "  grace_epochs: 2",
        "  half_after: 3",
    ]
    assert search_section.Search.written_keys()[6:12] == [
        "grid_points", "toy_step", "grace_epochs", "reduction_factor", "half_after", "perturb_every_epochs",
    ]  # fmt: skip
    contest, proposed = Contest(study, study.spaces(10)), []
    for epochs in study.search.scheduler.simulated_epochs([0.5] * 4, 4):
        given = contest.next()
        assert given
        proposed.append(given.params["lr"])
        for epoch in range(1, epochs + 1):
            contest.epoch(given.name, {"epoch": epoch, "objective": epoch / 4})
        contest.end(given.name, "completed" if epochs == 4 else "stopped")
    assert proposed == pytest.approx([0.01, 0.0125, 0.015, 0.0175])
    assert contest.next() is None
    assert usual_epochs(study) == 3.5
    assert study.search.scheduler.said(4) == "every second one ends after epoch 3"


@pytest.mark.usefixtures("toys")
def test_what_a_new_one_cannot_do_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "toys.yaml"
    file.write_text(TOY_STUDY)
    for override, place in {
        "search.toy_step=a": "search.toy_step",
        "search.half_after=0": "search.half_after",
        "search.joint=true": "search.joint",
        "search.scheduler=pbt": "search.searcher",
        "search.start_at={softmax: {lr: 0.01}}": "search.start_at",
        "heads.arcface={magnitude: {values: [fixed, feature]}, scale: {min: 8.0, max: 9.0}}": "search.searcher",
    }.items():
        with pytest.raises(StudyError) as caught:
            Study.load(file, [override])
        assert [problem.place.partition(" ")[0] for problem in caught.value.problems] == [place]
