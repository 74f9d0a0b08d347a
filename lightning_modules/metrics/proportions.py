"""Shares of a number of images, and how well they are known. Pure."""

from __future__ import annotations

import math


def wilson(share: float, number: int) -> tuple[float, float]:
    """The 95% interval of a share of `number` independent images (Wilson 1927): which images there were by chance.

    It says nothing of what another seed would have given.
    """
    z = 1.959964
    middle = (share + z * z / (2 * number)) / (1 + z * z / number)
    half = z / (1 + z * z / number) * math.sqrt(share * (1 - share) / number + z * z / (4 * number * number))
    return max(0.0, middle - half), min(1.0, middle + half)
