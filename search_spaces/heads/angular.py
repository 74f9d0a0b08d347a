"""The settings that all angular heads share, and what `auto` means by a margin; no head itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from search_spaces import class_separation
from search_spaces.angular_slack import SLACK_KEPT, AngularMargin
from search_spaces.distributions import Choice, Range, constant
from search_spaces.settings import (
    EPOCHS,
    EQUAL,
    LEARNING_RATE,
    SWITCH,
    Auto,
    Setting,
    fixed,
    length_is_better,
)

ANGLE_RAD = Range(0, math.pi - 1e-6)  # what is valid for an added angle


def margin(
    geometry: AngularMargin,
    valid: Range,
    unit: str,
    low: float,
    outside: float,
    start: Callable[[float], float],
    tightest: Callable[[float], Mapping[str, float]] = lambda angle_rad: {},
) -> Setting:
    """The setting of a margin, searched from `low` to the largest feasible one.

    outside: the end of the range where theory allows more than anyone needs. start: the first trial's margin, given the
    angle between centres (rad), as is `tightest`: the values of what the geometry bends at, for which it is to be
    feasible.
    """

    def auto(classes: int, dimensions: int) -> Auto:
        angle = class_separation.separation(classes, dimensions).angle_rad
        bends = tightest(angle)
        feasible = geometry.margin_at(SLACK_KEPT, angle, bends)
        high = min(feasible, outside)
        reason = f"{geometry.setting} ≤ {high:.3g}: {_between_centres(classes, dimensions)}"
        where = "".join(map(_at_least, bends.items()))
        if feasible > outside:
            reason += f": {feasible:.3g} would be feasible{where}, {outside:g} is enough"
        else:
            reason += f"; {SLACK_KEPT:.0%} of the room kept{where}"
        space = Range(low if low < high else high / 10, high)
        return Auto(space, space.clipped(start(angle)), reason)

    return Setting(valid, unit, auto, role="margin")


def degrees(angle_rad: float) -> str:
    """An angle as a person reads it."""
    return f"{math.degrees(angle_rad):.0f}°"


def _between_centres(classes: int, dimensions: int) -> str:
    apart = class_separation.separation(classes, dimensions)
    return f"{classes} classes in {dimensions}-D leave {degrees(apart.angle_rad)} between centres ({apart.source})"


def _at_least(bend: tuple[str, float]) -> str:
    name, value = bend
    noun, _, unit = name.rpartition("_")
    return f" with a {noun} of {value:.3g} {unit} or more"


def magnitude(of_the_paper: str) -> Setting:
    """Both are searched; the first trial takes the paper's, or the better one where that is known."""

    def auto(classes: int, dimensions: int) -> Auto:
        start = "feature" if length_is_better(dimensions) else of_the_paper
        return Auto(MAGNITUDES, start, "both")

    return Setting(MAGNITUDES, "a rule", auto)


def equal_magnitude(of_the_paper: str) -> Setting:
    """The better one alone, for a head with one more setting than others: an equal contest searches four of each."""

    def auto(classes: int, dimensions: int) -> Auto:
        if length_is_better(dimensions):
            return Auto(constant("feature"), "feature", f"few dimensions: images pass through the middle; {EQUAL}")
        return Auto(constant(of_the_paper), of_the_paper, f"as ArcFace's; {EQUAL}")

    return Setting(MAGNITUDES, "a rule", auto)


def _scale(classes: int, dimensions: int) -> Auto:
    low = class_separation.smallest_scale(classes)
    aim = f"a probability of {class_separation.TARGET_PROBABILITY} with {classes} classes"
    reason = f"no scale below {low:.3g} reaches {aim}, in however many dimensions"
    return Auto(Range(low, 128.0, log=True), 3 * low, reason)


def _margin_growth(classes: int, dimensions: int) -> Auto:
    """In 2-D until long after the classes have parted: on MNIST 3 of 15 seeds lost one under a margin before."""
    epochs = 4.0 if dimensions == 2 else 1.0
    return Auto(constant(epochs), epochs, "under a margin classes that have not parted yet may end up in one place")


MAGNITUDES = Choice(("feature", "fixed"))
FIXED_HEAD_LR = Setting(
    LEARNING_RATE,
    "peak of OneCycle",
    fixed(5e-2, f"centres move on a sphere: faster than weights; {EQUAL}"),
)
MARGIN_WARMUP = Setting(EPOCHS, "epochs", _margin_growth)
SCALE = Setting(Range(1e-3, 1e4), "a factor", _scale, when=("magnitude", "fixed"), role="scale")
DETACH_MARGIN = Setting(SWITCH, "yes or no", fixed(False, "the exact gradient"))
