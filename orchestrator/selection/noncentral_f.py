"""The noncentral F distribution: how strong an effect may be, given its F statistic. Pure; knows no trials.

scipy's own (ncf, ncfdtr) has no number at scattered points: it says NaN where a chance is so small that a double hardly
holds it, and whoever searches for a root comes across them. Here a chance is a mean of incomplete beta functions with
Poisson weights (Johnson, Kotz & Balakrishnan 1995, eq. 30.10): a number from 0 to 1 whatever the arguments are.
"""

from __future__ import annotations

import math

REACH = 7  # standard deviations of the Poisson weights, to each side of their mean
STEP = 1 / 3  # of a standard deviation, between terms of the mean, where there are that many


def chance_below(f: float, own: int, freedom: int, noncentrality: float) -> float:
    """The chance that F with these degrees of freedom, above and below, and this λ is at most f; it falls with λ.

    Where the weights spread over many terms, equally spaced ones stand for all: so slowly do weights and betas change
    there that no digit that matters is lost.
    """
    import numpy as np
    from scipy.special import betainc, gammaln, xlogy

    mean = noncentrality / 2
    spread = math.sqrt(mean)
    reach, step = REACH * spread + (8 if mean else 0), max(1, math.floor(STEP * spread))
    counts = np.arange(max(0, math.floor(mean - reach)), mean + reach + 1, step, dtype=float)
    logs = xlogy(counts, mean) - gammaln(counts + 1)
    weights = np.exp(logs - logs.max())
    betas = betainc(own / 2 + counts, freedom / 2, own * f / (own * f + freedom))
    return min(1.0, float(weights @ betas / weights.sum()))


def noncentrality_at(chance: float, f: float, own: int, freedom: int) -> float:
    """The λ at which F is at most f with this chance; 0 where it is less likely even at λ = 0."""
    from scipy.optimize import brentq

    def above(noncentrality: float) -> float:
        return chance_below(f, own, freedom, noncentrality) - chance

    if above(0.0) <= 0:
        return 0.0
    high = own * f + 1
    while above(high) > 0:
        high *= 2
    return float(brentq(above, 0.0, high, rtol=1e-10))
