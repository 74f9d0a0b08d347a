"""What the record of the sealed test tells: openings, what each head reached, and how sure that is."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
from scipy.stats import binomtest, ttest_rel

from orchestrator.selection.replicates import ReplicationPlan
from orchestrator.selection.sealed_results import Sealed
from orchestrator.selection.statistics import MeanEstimate
from orchestrator.storage.event_log import Trial
from orchestrator.storage.events import Event

TRIALS = {
    name: Trial(name, name[:-4], int(name[-3:]), 7, {"lr": 0.1}, "completed") for name in ("arcface-003", "softmax-001")
}
SEEDS, IMAGES = (31, 32, 33), 2000
ASKED = ReplicationPlan(tuple(TRIALS), SEEDS).event()
COMMIT = {"commit": "0123456789abcdef", "changed": False}
ARCFACE, SOFTMAX = (0.9505, 0.953, 0.951), (0.931, 0.9325, 0.9315)


def final_runs(statuses: Mapping[str, str] | None = None, seeds: tuple[int, ...] = SEEDS) -> list[Event]:
    """Start, epoch and end of each final run, round by round; a running one has no end."""
    events: list[Event] = []
    for number, seed in enumerate(seeds, start=1):
        for name, trial in TRIALS.items():
            run, status = f"{name}-final-{number}", (statuses or {}).get(f"{name}-final-{number}", "completed")
            known = {"head": trial.head, "index": number, "seed": seed, "params": trial.params}
            events.append({"event": "start", "trial": run, **known})
            events.append({"event": "epoch", "trial": run, "epoch": 1, "objective": 0.999, "metrics": {}})
            if status != "running":
                events.append({"event": "end", "trial": run, "status": status, "reason": ""})
    return events


def opened(number: int, by: str = "test", git: Any = COMMIT) -> Event:
    time = f"2026-01-{number:02d}T10:20:30.456+00:00"
    return {"event": "opened", "number": number, "by": by, "git": git, "orchestrator": "2.0.0", "time": time}


def measured(opening: int, shift: float = 0.0, arcface: Any = ARCFACE, softmax: Any = SOFTMAX) -> list[Event]:
    found = []
    for name, values in zip(TRIALS, (arcface, softmax), strict=True):
        for number, value in enumerate(values, start=1):
            measures = {"cluster_accuracy": value + shift, "cluster_accuracy_spherical": 0.1}
            event = {"event": "measured", "opening": opening, "run": f"{name}-final-{number}"}
            found.append({**event, "images": IMAGES, "measures": measures})
    return found


def sealed(*events: Event) -> Sealed:
    return Sealed(events, TRIALS)


WHOLE = [ASKED, *final_runs(), opened(1), *measured(1)]


def test_a_test_that_was_not_asked_for_is_sealed() -> None:
    test = sealed()
    assert (test.asked, test.openings, test.runs, test.wanted(), test.measured()) == (None, [], {}, [], {})
    assert (test.half_open, test.heads, test.between_heads, test.verdicts()) == (False, {}, [], [])
    assert test.said() == "the test images are sealed"


@pytest.mark.parametrize("ended", range(0, 19, 3))
def test_final_runs_alone_open_nothing(ended: int) -> None:
    test = sealed(ASKED, *final_runs()[:ended])
    assert test.said() == "the test images are sealed"
    assert (test.half_open, test.heads) == (False, {})
    assert test.asked
    assert test.repeats(test.asked).remaining == 6 - ended // 3
    assert len(test.wanted()) == ended // 3


@pytest.mark.parametrize("done", range(7))
def test_a_test_cut_short_is_half_open_and_says_no_number(done: int) -> None:
    test = sealed(ASKED, *final_runs(), opened(1), *measured(1)[:done])
    assert test.half_open == (done < 6)
    assert bool(test.heads) == (done == 6)
    assert bool(test.verdicts()) == (done == 6)
    assert test.said() == "the test images were opened once, 2026-01-01 10:20 UTC by commit 0123456789"


def test_every_head_has_its_scores_seed_by_seed() -> None:
    test = sealed(*WHOLE)
    assert list(test.heads) == ["arcface", "softmax"]
    arcface = test.heads["arcface"]
    assert arcface.trial == TRIALS["arcface-003"]
    assert arcface.scores == dict(zip(SEEDS, ARCFACE, strict=True))
    assert arcface.estimate == MeanEstimate.of(ARCFACE)
    assert arcface.images == IMAGES
    (difference,) = test.between_heads
    assert (difference.first, difference.second) == ("arcface", "softmax")
    assert difference.p == pytest.approx(ttest_rel(ARCFACE, SOFTMAX).pvalue)
    assert test.verdicts() == [f"arcface is better than softmax by 0.0198 at n = 3 (p = {difference.p:.2g})"]


def test_the_images_leave_an_interval_of_their_own() -> None:
    """Three accuracies of 1,900 of 2,000 images each: Wilson's interval of one such share."""
    test = sealed(*WHOLE[:-6], *measured(1, arcface=(0.95, 0.949, 0.951)))
    expected = binomtest(1900, IMAGES).proportion_ci(0.95, method="wilson")
    assert test.heads["arcface"].by_images == pytest.approx((expected.low, expected.high), abs=1e-7)


@pytest.mark.parametrize("status", ["failed", "diverged", "running"])
def test_a_run_without_an_end_is_not_measured(status: str) -> None:
    statuses = {"softmax-001-final-2": status}
    events = [event for event in measured(1) if event["run"] not in statuses]
    test = sealed(ASKED, *final_runs(statuses), opened(1), *events)
    assert not test.half_open
    assert test.heads["softmax"].scores == {31: SOFTMAX[0], 33: SOFTMAX[2]}
    assert test.heads["arcface"].estimate.n == 3
    (difference,) = test.between_heads
    assert difference.estimate.n == 2


def test_a_head_whose_final_runs_all_failed_has_no_score() -> None:
    statuses = {f"softmax-001-final-{number}": "failed" for number in (1, 2, 3)}
    test = sealed(ASKED, *final_runs(statuses), opened(1), *measured(1)[:3])
    assert list(test.heads) == ["arcface"]
    assert test.verdicts() == []


def test_a_second_opening_is_measured_anew() -> None:
    half = sealed(*WHOLE, opened(2), *measured(2, 0.01)[:5])
    assert half.half_open
    assert half.heads == {}
    assert list(half.measured()) == [event["run"] for event in measured(2)[:5]]
    whole = sealed(*WHOLE, opened(2), *measured(2, 0.01))
    assert not whole.half_open
    assert whole.heads["arcface"].estimate == MeanEstimate.of(value + 0.01 for value in ARCFACE)
    assert len(whole.openings) == 2


def test_more_than_one_opening_is_said_with_caution() -> None:
    changed = {"commit": "fedcba9876543210", "changed": True}
    test = sealed(*WHOLE, opened(2, git=changed), *measured(2))
    said = test.said()
    assert said.startswith("CAUTION: the test images were opened 2 times")
    assert "2026-01-01 10:20 UTC by commit 0123456789;" in said
    assert said.endswith("2026-01-02 10:20 UTC by commit fedcba9876 with changes on top")
    assert "opened 3 times" in sealed(*WHOLE, opened(2), opened(3)).said()


def test_code_without_a_commit_is_said_by_its_version() -> None:
    said = sealed(ASKED, *final_runs(), opened(1, git=None)).said()
    assert said == "the test images were opened once, 2026-01-01 10:20 UTC by orchestrator 2.0.0"
    said = sealed(ASKED, *final_runs(), opened(1, "vectors")).said()
    assert said.endswith("by commit 0123456789 (vectors)")


def test_another_look_that_measures_nothing_is_no_half_open_test() -> None:
    """The vectors of test images, say, before the test: a look, after which the test is opened only by force."""
    test = sealed(ASKED, *final_runs(), opened(1, "vectors"))
    assert (test.half_open, test.heads, test.measured()) == (False, {}, {})
    assert len(test.openings) == 1


def test_another_look_that_measures_nothing_leaves_what_was_measured() -> None:
    test = sealed(*WHOLE, opened(2, "vectors"))
    assert not test.half_open
    assert test.said().startswith("CAUTION")
    assert list(test.heads) == ["arcface", "softmax"]
    assert test.heads["arcface"].estimate == MeanEstimate.of(ARCFACE)


def test_what_was_asked_for_last_is_what_counts() -> None:
    """After a confirmation chose another configuration of a head, the final runs of the earlier one say nothing."""
    again = ReplicationPlan(("softmax-001",), SEEDS).event()
    test = sealed(*WHOLE, again, opened(2), *measured(2)[3:])
    assert not test.half_open
    assert list(test.heads) == ["softmax"]


@pytest.mark.parametrize("ended", [1, 2])
def test_final_runs_after_an_opening_are_no_part_of_it(ended: int) -> None:
    """Else `test` would measure them without a second opening in the record, and without being forced to."""
    more = ReplicationPlan(tuple(TRIALS), (*SEEDS, 34))
    test = sealed(*WHOLE, more.event(), *final_runs(seeds=(*SEEDS, 34))[18 : 18 + 3 * ended])
    assert len(test.wanted()) == 6 + ended
    assert not test.half_open
    assert test.heads["arcface"].estimate == MeanEstimate.of(ARCFACE)


def test_more_seeds_are_further_runs() -> None:
    more = ReplicationPlan(tuple(TRIALS), (*SEEDS, 34, 35))
    test = sealed(*WHOLE, more.event())
    rest = list(iter(test.repeats(more).next, None))
    assert [(run.name, run.seed) for run in rest] == [
        (f"{name}-final-{number}", 30 + number) for number in (4, 5) for name in TRIALS
    ]


def test_reading_a_record_changes_nothing_of_it() -> None:
    events = copy.deepcopy(WHOLE)
    test = Sealed(events, TRIALS)
    assert (len(test.runs), len(test.heads), test.half_open) == (6, 2, False)
    assert events == WHOLE
