"""The noncentral F distribution against its definition, and that it has a number everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import gammaincc
from scipy.stats import f as central

from orchestrator.selection.noncentral_f import chance_below, noncentrality_at

POINTS = {1: 6001, 2: 401, 3: 91}  # of the normal variables above the line, each


def by_definition(f: float, own: int, freedom: int, noncentrality: float) -> float:
    """P(F ≤ f), where F has the squares of `own` normal variables above the line, one of them moved by √λ.

    Below it is an independent χ² with its own degrees of freedom, whose chance is known; the normal variables are
    summed over as they are, on a grid.
    """
    if f < 1e-20:
        return 0.0
    normal = np.linspace(-9, 9, POINTS[own])
    weights: NDArray[np.float64] = np.exp(-(normal**2) / 2)
    weights /= weights.sum()
    above, chance = (normal + math.sqrt(noncentrality)) ** 2, weights
    for _ in range(own - 1):
        above, chance = np.add.outer(above, normal**2).ravel(), np.multiply.outer(chance, weights).ravel()
    return float(chance @ gammaincc(freedom / 2, freedom * above / (2 * own * f)))


@pytest.mark.parametrize("own", [1, 2, 3])
@pytest.mark.parametrize("freedom", [3, 8, 71])
def test_chances_are_those_of_the_definition(own: int, freedom: int) -> None:
    for f in (0.9, 2.0, 30.0) if own < 3 else (2.0,):
        assert chance_below(f, own, freedom, 0.0) == pytest.approx(central.cdf(f, own, freedom), rel=1e-9)
        for noncentrality in (0.3, 4.0, 60.0, 1500.0):
            expected = by_definition(f, own, freedom, noncentrality)
            assert chance_below(f, own, freedom, noncentrality) == pytest.approx(expected, abs=1e-7)


def test_terms_that_stand_for_others_leave_the_sum_as_it_is() -> None:
    for noncentrality in (1e3, 1e5, 1e7):
        f = noncentrality / 2
        expected = by_definition(f, 2, 20, noncentrality)
        assert 0.3 < expected < 0.7
        assert chance_below(f, 2, 20, noncentrality) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("freedom", [3, 71, 5000])
def test_every_chance_is_a_number_from_0_to_1_and_falls_as_the_effect_grows(freedom: int) -> None:
    """Also at 0.5, 2 and 71 degrees of freedom and a share of 0.952, where scipy's ncf.cdf was NaN."""
    assert 0 <= chance_below(0.5, 2, 71, 0.952 / 0.048 * 73) < 1e-300
    noncentralities = [0.0, *np.geomspace(1e-9, 1e12, 80)]
    for own in (1, 2, 9):
        for f in (0.0, 1e-12, 0.5, 2.0, 1e3, 1e10):
            chances = np.array([chance_below(f, own, freedom, each) for each in noncentralities])
            assert ((chances >= 0) & (chances <= 1)).all()
            assert (np.diff(chances) <= 1e-9).all()


@pytest.mark.parametrize("own", [1, 2, 9])
@pytest.mark.parametrize("freedom", [3, 71, 5000])
def test_the_effect_at_which_a_chance_is_reached_is_found_for_every_statistic(own: int, freedom: int) -> None:
    for f in (0.0, 1e-300, 1e-3, 0.4, 1.0, 2.7, 50.0, 1e4, 1e10):
        low, high = (noncentrality_at(chance, f, own, freedom) for chance in (0.975, 0.025))
        assert 0 <= low <= high < math.inf
        for end, chance in ((low, 0.975), (high, 0.025)):
            below = chance_below(f, own, freedom, end)
            assert below == pytest.approx(chance, rel=1e-5) if end else below <= chance
