"""Means with intervals, paired differences and corrected p values, against scipy and against worked examples."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from lightning_modules.objectives.accuracy import OBJECTIVE as ACCURACY
from orchestrator.selection.statistics import (
    Difference,
    MeanEstimate,
    all_differences,
    differences,
    holm,
    paired_p,
    verdicts,
)

ACCURACIES = [0.951, 0.958, 0.9555, 0.949, 0.9602]


@pytest.mark.parametrize("n", [2, 3, 5, 30, 200])
@pytest.mark.parametrize("scale", [1e-4, 0.003, 10.0])
def test_an_estimate_is_students(n: int, scale: float) -> None:
    values = np.random.default_rng(n).normal(0.95, scale, n)
    found = MeanEstimate.of(values.tolist())
    assert (found.n, found.mean) == (n, pytest.approx(values.mean()))
    assert found.standard_error == pytest.approx(stats.sem(values))
    assert found.interval == pytest.approx(stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values)))


def test_the_interval_of_two_runs_is_a_closed_form() -> None:
    """With one degree of freedom t is Cauchy's: the quantile at 97.5% is tan(0.475 π), 12.7 standard errors."""
    found = MeanEstimate.of([0.9, 0.94])
    assert found.standard_error == pytest.approx(0.02)
    assert found.half_width == pytest.approx(0.02 * math.tan(0.475 * math.pi))


def test_one_run_has_no_interval() -> None:
    found = MeanEstimate.of([0.9])
    assert found == MeanEstimate(1, 0.9, None, None)
    assert found.interval is None
    assert found.written(ACCURACY) == "0.9000 (n = 1)"


def test_equal_runs_have_an_interval_of_no_width() -> None:
    found = MeanEstimate.of([0.9] * 5)
    assert (found.standard_error, found.half_width, found.interval) == (0.0, 0.0, (0.9, 0.9))


def test_no_run_is_no_estimate() -> None:
    with pytest.raises(ValueError, match="at least one value, but got none"):
        MeanEstimate.of([])


def test_an_estimate_says_its_mean_its_interval_and_its_n() -> None:
    half = stats.t.ppf(0.975, 4) * stats.sem(ACCURACIES)
    assert MeanEstimate.of(ACCURACIES).written(ACCURACY) == f"0.9547 ± {half:.4f} (n = 5)"


@given(st.lists(st.integers(-1000, 1000), min_size=2, max_size=40), st.integers(-500, 500))
@settings(deadline=None)
def test_p_is_that_of_the_paired_t_test(thousandths: list[int], shift: int) -> None:
    first, second = np.array(thousandths) / 1000, (np.roll(thousandths, 1) + shift) / 1000
    apart = (first - second).tolist()
    if np.std(apart) > 1e-9:
        assert paired_p(apart) == pytest.approx(stats.ttest_rel(first, second).pvalue, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("apart", "p"), [([], 1.0), ([0.5], 1.0), ([0.0] * 5, 1.0), ([0.25] * 3, 0.0), ([-0.25] * 3, 0.0)]
)
def test_p_where_there_is_no_spread(apart: list[float], p: float) -> None:
    assert paired_p(apart) == p


def test_p_is_the_same_in_both_directions() -> None:
    apart = [0.01, 0.02, -0.005, 0.011]
    assert paired_p(apart) == pytest.approx(paired_p([-each for each in apart]))
    assert 0 < paired_p(apart) < 1


def test_holm_by_hand() -> None:
    """Of four: 0.005 · 4, 0.01 · 3, then 0.03 · 2, and 0.04 · 1, raised to the 0.06 before it."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_is_the_step_down_procedure(chances: list[float]) -> None:
    """The k-th smallest becomes the largest min(1, (m − j + 1)·p) over all j up to k."""
    ordered = sorted(chances)
    stepped = [min(1.0, (len(chances) - place) * p) for place, p in enumerate(ordered)]
    found = holm(chances)
    assert sorted(found) == pytest.approx([max(stepped[: place + 1]) for place in range(len(chances))])
    for (p, corrected), (other, other_corrected) in itertools.combinations(zip(chances, found, strict=True), 2):
        assert (corrected <= other_corrected) if p < other else (corrected >= other_corrected) or p == other


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from([0.01, 0.05, 0.2]))
def test_what_holm_rejects_is_what_its_author_rejects(chances: list[float], level: float) -> None:
    """Rejects from the smallest on, while p < level / (how many are left), and stops at the first that is not."""
    rejected: set[int] = set()
    for index in sorted(range(len(chances)), key=lambda index: chances[index]):
        left = len(chances) - len(rejected)
        if abs(chances[index] * left - level) < 1e-9:
            return  # on the border, where rounding decides
        if chances[index] * left > level:
            break
        rejected.add(index)
    assert {index for index, p in enumerate(holm(chances)) if p < level} == rejected


def scores(*values: float, first_seed: int = 0) -> dict[int, float]:
    return dict(enumerate(values, start=first_seed))


def test_only_seeds_that_both_have_are_compared() -> None:
    known = {"a": scores(0.9, 0.8, 0.7), "b": scores(0.6, 0.7, 0.1, first_seed=1)}
    (found,) = differences(known, [("a", "b")], ACCURACY)
    assert found.estimate == MeanEstimate.of([0.8 - 0.6, 0.7 - 0.7])
    assert found.p == pytest.approx(paired_p([0.8 - 0.6, 0.0]))
    assert differences(known | {"c": scores(0.5, first_seed=9)}, [("a", "c"), ("b", "c")], ACCURACY) == []


def test_p_is_corrected_for_all_pairs() -> None:
    drawn = np.random.default_rng(1).normal([0.95, 0.953, 0.957], 0.002, (6, 3)).T
    known = {name: scores(*values) for name, values in zip("abc", drawn.tolist(), strict=True)}
    found = all_differences(known, ACCURACY)
    assert [(each.first, each.second) for each in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    raw = [stats.ttest_rel(drawn["abc".index(x)], drawn["abc".index(y)]).pvalue for x, y in ("ab", "ac", "bc")]
    assert [each.p for each in found] == pytest.approx(holm(raw))
    assert [each.p for each in found] != pytest.approx(raw)


def difference(mean: float, p: float, n: int = 5, **names: Any) -> Difference:
    return Difference(
        names.get("first", "arcface"), names.get("second", "cosface"), MeanEstimate(n, mean, 0.1, 0.2), p, ACCURACY
    )


@pytest.mark.parametrize(
    ("mean", "p", "said"),
    [
        (0.01, 0.314, "arcface and cosface cannot be told apart at n = 5 (p = 0.31)"),
        (0.01, 0.0501, "arcface and cosface cannot be told apart at n = 5 (p = 0.05)"),
        (0.0123, 0.0312, "arcface is better than cosface by 0.0123 at n = 5 (p = 0.031)"),
        (-0.0123, 0.00012, "cosface is better than arcface by 0.0123 at n = 5 (p = 0.00012)"),
    ],
)
def test_a_difference_in_words(mean: float, p: float, said: str) -> None:
    assert str(difference(mean, p)) == said


def test_verdicts_name_what_is_apart_and_then_say_that_nothing_else_is() -> None:
    apart, alike = difference(0.1, 0.01), difference(0.1, 0.5, second="hybrid")
    assert verdicts([]) == []
    assert verdicts([alike, apart]) == [str(apart), str(alike)]
    fewer = difference(-0.1, 0.9, n=3, first="cosface", second="hybrid")
    assert verdicts([alike, fewer]) == ["no two of them can be told apart at n = 3"]
    assert verdicts([alike, apart, fewer]) == [str(apart), "no other two of them can be told apart at n = 3"]


def test_a_single_seed_tells_nothing_apart() -> None:
    (found,) = all_differences({"arcface": {1: 0.99}, "cosface": {1: 0.5}}, ACCURACY)
    assert not found.significant
    assert str(found) == "arcface and cosface cannot be told apart at n = 1 (p = 1)"
