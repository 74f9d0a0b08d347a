"""What no training can reach: margins that no arrangement of the classes satisfies, scales that are too small."""

from __future__ import annotations

from search_spaces import class_separation
from search_spaces.angular_slack import AngularMargin
from search_spaces.class_separation import Separation
from search_spaces.heads import space_of
from search_spaces.heads.angular import degrees


def refutation(head: str, name: str, low: float, high: float, classes: int, dimensions: int) -> str | None:
    """What is wrong with searching `name` from `low` to `high` (or with one value, twice), as the end of a sentence.

    None if all of it can work, or if nothing is known about such a setting. A margin is judged by the angular slack
    that it leaves: one that vanishes at the class centre always leaves some.
    """
    space = space_of(head)
    if space.margin and name in space.settings and space.settings[name].role == "scale":
        return _of_scale(low, high, classes)
    if space.margin and name == space.margin.setting:
        return _of_margin(space.margin, low, high, classes, dimensions)
    return None


def _of_scale(low: float, high: float, classes: int) -> str | None:
    least = class_separation.smallest_scale(classes)
    if low >= least:
        return None
    where = _reach("goes down to", low, low, high, min(high, least) - low)
    reached = f"a probability of {class_separation.TARGET_PROBABILITY} among {classes} classes"
    return f"{where[0]}, but a scale below {least:.3g} cannot reach {reached}{where[1]}"


def _of_margin(margin: AngularMargin, low: float, high: float, classes: int, dimensions: int) -> str | None:
    apart = class_separation.separation(classes, dimensions)
    least = margin.infeasible_from(apart.angle_rad)
    if high < least:
        return None
    cannot = _unsatisfied(apart, least, f"{classes} classes in {dimensions}-D")
    where = _reach("goes to", high, low, high, high - max(low, least))
    return f"{where[0]}, but {cannot} ({degrees(apart.angle_rad)} between centres, {apart.source}){where[1]}"


def _unsatisfied(apart: Separation, least: float, size: str) -> str:
    """From which margin on nothing can satisfy it, as surely as the angle between centres is known."""
    return {
        "exact": f"from {least:.3g} on no arrangement of {size} satisfies it",
        "best found": f"from {least:.3g} on no arrangement of {size} that was found satisfies it",
        "at most": f"from {least:.3g} on, if not before, no arrangement of {size} satisfies it",
    }[apart.source.split(":")[0]]


def _reach(goes: str, end: float, low: float, high: float, outside: float) -> tuple[str, str]:
    """How far a range goes, and how much of it lies outside; for a single value, that it is that value."""
    if low == high:
        return f"is {end:.3g}", ""
    return f"{goes} {end:.3g}", f": {max(outside, 0) / (high - low):.0%} of the range"
