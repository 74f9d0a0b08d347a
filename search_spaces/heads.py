"""The settings of each head: what is valid, and what `auto` searches for C classes in D dimensions.

A new head is one entry in HEADS here, one file in lightning_modules, one test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from search_spaces import bounds
from search_spaces.parameters import Choice, Parameter, Range, Value, constant


@dataclass(frozen=True)
class Auto:
    """What `auto` means: the parameter, the value that the first trial takes, and why."""

    parameter: Parameter
    start: Value
    reason: str


@dataclass(frozen=True)
class Setting:
    """One setting of a head or of its training.

    valid: the values that make sense at all, for any dataset. when: it is only read if that other setting has
    that value.
    """

    valid: Range | Choice
    unit: str
    auto: Callable[[int, int], Auto]
    when: tuple[str, Value] | None = None

    def refusal(self, value: Value) -> tuple[str, str] | None:
        """(rule, fix) if `value` is not valid, else None."""
        if isinstance(self.valid, Choice):
            if self.valid.contains(value) and isinstance(value, type(self.valid.values[0])):
                return None
            words = [str(each).lower() if isinstance(each, bool) else str(each) for each in self.valid.values]
            return f"must be {' or '.join(words)}", f"write {words[0]}"
        if isinstance(value, bool) or not isinstance(value, int | float):
            return (
                f"must be a number ({self.unit})",
                f"write a number from {self.valid.low:g} to {self.valid.high:g}",
            )
        if self.valid.contains(value):
            return None
        rule = f"must be from {self.valid.low:g} to {self.valid.high:g} ({self.unit})"
        if self.unit == "rad" and self.valid.high < value <= 180:
            return rule, f"degrees? {value:g}° = {math.radians(value):.3f} rad"
        return rule, f"the nearest valid value is {self.valid.clipped(value):g}"


def _fixed(value: Value, reason: str) -> Callable[[int, int], Auto]:
    return lambda classes, dimensions: Auto(constant(value), value, reason)


def _range(low: float, high: float, start: float, reason: str) -> Callable[[int, int], Auto]:
    return lambda classes, dimensions: Auto(Range(low, high, log=True), start, reason)


def _degrees(angle_rad: float) -> str:
    return f"{math.degrees(angle_rad):.0f}°"


def _margin(
    low: float, outside: float, limit: Callable[[float], float], start: Callable[[float], float]
) -> Callable[[int, int], Auto]:
    """From `low` to the largest feasible margin, or to `outside` where theory allows more than anyone needs."""

    def auto(classes: int, dimensions: int) -> Auto:
        apart = bounds.separation(classes, dimensions)
        feasible = limit(apart.angle_rad)
        high = min(feasible, outside)
        setting = (
            f"{classes} classes in {dimensions}-D leave {_degrees(apart.angle_rad)} between centres ({apart.source})"
        )
        if feasible > outside:
            reason = f"{setting}: {feasible:.3g} would be feasible, {outside:g} is enough"
        else:
            reason = f"{setting}; {bounds.ROOM_KEPT:.0%} of the room kept"
        space = Range(low if low < high else high / 10, high)
        return Auto(space, space.clipped(start(apart.angle_rad)), reason)

    return auto


def _crossover(classes: int, dimensions: int) -> Auto:
    apart = bounds.separation(classes, dimensions)
    space = Range(min(0.02, apart.angle_rad / 8), apart.angle_rad / 2, log=True)
    reason = f"from nearly ArcFace to half of the {_degrees(apart.angle_rad)} between centres, nearly SphereFace"
    return Auto(space, apart.angle_rad / 4, reason)


def _scale(classes: int, dimensions: int) -> Auto:
    low = bounds.smallest_scale(classes)
    reason = f"{low:.3g} is the least at which {classes} classes reach a probability of {bounds.TARGET_PROBABILITY}"
    return Auto(Range(low, 128.0, log=True), 3 * low, reason)


def _mining(classes: int, dimensions: int) -> Auto:
    kept = ("semi_hard", "batch_all") + (("batch_hard",) if dimensions > 3 else ())
    reason = (
        "all three" if dimensions > 3 else "batch_hard collapses from scratch in 2-D and 3-D (0.13 to 0.68 on MNIST)"
    )
    return Auto(Choice(kept), "semi_hard", reason)


MARGIN_RAD = Range(0, math.pi - 1e-6)
POSITIVE = Range(1e-3, 1e4)
SWITCH = Choice((False, True))
LEARNING_RATE = Range(1e-7, 10.0)

_head_lr = Setting(
    LEARNING_RATE,
    "peak of OneCycle",
    _range(5e-3, 2e-1, 5e-2, "centres move on a sphere: faster than weights"),
)
_scale_setting = Setting(POSITIVE, "a factor", _scale)
_detach = Setting(SWITCH, "yes or no", _fixed(False, "the exact gradient"))

TRAINING: dict[str, Setting] = {  # of every head
    "lr": Setting(
        LEARNING_RATE,
        "peak of OneCycle",
        _range(2e-3, 3e-2, 1e-2, "AdamW, batch norm, batches of 128 to 512"),
    ),
    "weight_decay": Setting(Range(0, 10), "AdamW's", _fixed(0.01, "AdamW's own default")),
    "warmup_share": Setting(Range(0.01, 0.99), "share of all steps", _fixed(0.25, "OneCycle's rise")),
    "margin_warmup_epochs": Setting(Range(0, 1e4), "epochs", _fixed(0.0, "small margins need none")),
}

_arcface_margin = Setting(
    MARGIN_RAD,
    "rad",
    _margin(0.05, 0.7, bounds.largest_arcface_margin_rad, lambda angle: min(0.4 * angle, 0.5)),
)

HEADS: dict[str, dict[str, Setting]] = {
    "softmax": {"head_lr": _head_lr},
    "triplet": {
        "margin_dist": Setting(
            Range(0, 1e3), "distance", _range(0.02, 0.5, 0.2, "0.02 to 0.5 of a distance of about 2")
        ),
        "mining": Setting(Choice(("semi_hard", "batch_hard", "batch_all")), "a rule", _mining),
        "normalise": Setting(SWITCH, "yes or no", lambda classes, dimensions: Auto(SWITCH, True, "both")),
        "soft_margin": Setting(SWITCH, "yes or no", _fixed(False, "the margin is what is studied")),
    },
    "arcface": {
        "head_lr": _head_lr,
        "margin_rad": _arcface_margin,
        "scale": _scale_setting,
        "detach_margin": _detach,
    },
    "cosface": {
        "head_lr": _head_lr,
        "margin_cos": Setting(
            Range(0, 2 - 1e-6),
            "cosine",
            _margin(
                0.02,
                0.6,
                bounds.largest_cosface_margin_cos,
                lambda angle: min(bounds.cosface_margin_cos(angle, 0.6), 0.35),
            ),
        ),
        "scale": _scale_setting,
        "detach_margin": _detach,
    },
    "sphereface": {
        "head_lr": _head_lr,
        "margin_mult": Setting(
            Range(1, 100),
            "factor",
            _margin(1.05, 2.0, bounds.largest_sphereface_margin_mult, lambda angle: 1.4),
        ),
        "magnitude": Setting(
            Choice(("feature", "fixed")),
            "a rule",
            lambda classes, dimensions: Auto(Choice(("feature", "fixed")), "feature", "both"),
        ),
        "scale": Setting(POSITIVE, "a factor", _scale, when=("magnitude", "fixed")),
        "detach_margin": _detach,
    },
    "hybrid": {
        "head_lr": _head_lr,
        "margin_rad": _arcface_margin,
        "crossover_rad": Setting(Range(1e-6, 100.0), "rad", _crossover),
        "scale": _scale_setting,
        "detach_margin": _detach,
    },
}


def settings_of(head: str) -> dict[str, Setting]:
    """All settings of a head, those of its training first."""
    return TRAINING | HEADS[head]
