"""The settings of each head: what is valid, and what `auto` searches for C classes in D dimensions.

A new head is one entry in HEADS here, one file in lightning_modules, one test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from search_spaces import angular_slack, class_separation
from search_spaces.distributions import Choice, Parameter, Range, Value, constant


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
        if self.unit == "rad" and self.valid.high < value < 180:
            return rule, f"degrees? {value:g}° = {self.valid.nearest(round(math.radians(value), 3))} rad"
        return rule, f"the nearest valid value is {self.valid.nearest(value)}"


def _fixed(value: Value, reason: str) -> Callable[[int, int], Auto]:
    return lambda classes, dimensions: Auto(constant(value), value, reason)


def _range(low: float, high: float, start: float, reason: str) -> Callable[[int, int], Auto]:
    return lambda classes, dimensions: Auto(Range(low, high, log=True), start, reason)


def _degrees(angle_rad: float) -> str:
    return f"{math.degrees(angle_rad):.0f}°"


def _between_centres(classes: int, dimensions: int) -> str:
    apart = class_separation.separation(classes, dimensions)
    return f"{classes} classes in {dimensions}-D leave {_degrees(apart.angle_rad)} between centres ({apart.source})"


def _margin(head: str, low: float, outside: float, start: Callable[[float], float]) -> Callable[[int, int], Auto]:
    """From `low` to the largest feasible margin, or to `outside` where theory allows more than anyone needs.

    The hybrid's largest margin is the one that is feasible even at the smallest crossover that `auto` searches.
    """
    name = angular_slack.MARGINS[head]

    def auto(classes: int, dimensions: int) -> Auto:
        angle = class_separation.separation(classes, dimensions).angle_rad
        crossover = _crossover_range(angle).low
        feasible = angular_slack.margin_at(head, angular_slack.ROOM_KEPT, angle, {"crossover_rad": crossover})
        high = min(feasible, outside)
        reason = f"{name} ≤ {high:.3g}: {_between_centres(classes, dimensions)}"
        where = f" with a crossover of {crossover:.3g} rad or more" if head == "hybrid" else ""
        if feasible > outside:
            reason += f": {feasible:.3g} would be feasible{where}, {outside:g} is enough"
        else:
            reason += f"; {angular_slack.ROOM_KEPT:.0%} of the room kept{where}"
        space = Range(low if low < high else high / 10, high)
        return Auto(space, space.clipped(start(angle)), reason)

    return auto


def _crossover_range(angle_rad: float) -> Range:
    return Range(min(0.02, angle_rad / 8), angle_rad / 2, log=True)


def _crossover(classes: int, dimensions: int) -> Auto:
    angle = class_separation.separation(classes, dimensions).angle_rad
    reason = f"from nearly ArcFace to half of the {_degrees(angle)} between centres, nearly SphereFace"
    return Auto(_crossover_range(angle), angle / 4, reason)


def _hybrid_start(angle_rad: float) -> float:
    """Leaves as much room at the crossover's start as arcface's start does."""
    return min(angular_slack.margin_at("hybrid", 0.6, angle_rad, {"crossover_rad": angle_rad / 4}), 0.5)


def _scale(classes: int, dimensions: int) -> Auto:
    low = class_separation.smallest_scale(classes)
    aim = f"a probability of {class_separation.TARGET_PROBABILITY} with {classes} classes"
    reason = f"no scale below {low:.3g} reaches {aim}, in however many dimensions"
    return Auto(Range(low, 128.0, log=True), 3 * low, reason)


def _feature_is_better(dimensions: int) -> bool:
    """In 2-D and 3-D "feature" trains better than "fixed": in 2-D arcface reaches 0.989 in place of 0.975."""
    return dimensions <= 3


def _magnitude(of_the_paper: str) -> Callable[[int, int], Auto]:
    """Both are searched; the first trial takes the paper's, or the better one where that is known."""

    def auto(classes: int, dimensions: int) -> Auto:
        start = "feature" if _feature_is_better(dimensions) else of_the_paper
        return Auto(Choice(("feature", "fixed")), start, "both")

    return auto


def _normalise(classes: int, dimensions: int) -> Auto:
    """In few dimensions the first trial measures raw distances, for the same reason."""
    return Auto(SWITCH, not _feature_is_better(dimensions), "both")


def _hybrid_magnitude(classes: int, dimensions: int) -> Auto:
    if _feature_is_better(dimensions):
        return Auto(constant("feature"), "feature", f"few dimensions: images pass through the middle; {EQUAL}")
    return Auto(constant("fixed"), "fixed", f"as ArcFace's; {EQUAL}")


def _hybrid_head_lr(classes: int, dimensions: int) -> Auto:
    """Searched where no scale is."""
    setting = _head_lr if _feature_is_better(dimensions) else _fixed_head_lr
    return setting.auto(classes, dimensions)


def _margin_growth(classes: int, dimensions: int) -> Auto:
    """In 2-D until long after the classes have parted: on MNIST 3 of 15 seeds lost one under a margin before."""
    epochs = 4.0 if dimensions == 2 else 1.0
    return Auto(constant(epochs), epochs, "under a margin classes that have not parted yet may end up in one place")


def _mining(classes: int, dimensions: int) -> Auto:
    kept = ("semi_hard", "batch_all") + (("batch_hard",) if dimensions > 3 else ())
    reason = (
        "all three" if dimensions > 3 else "batch_hard collapses from scratch in 2-D and 3-D (0.13 to 0.68 on MNIST)"
    )
    return Auto(Choice(kept), "semi_hard", reason)


MARGIN_RAD = Range(0, math.pi - 1e-6)
POSITIVE = Range(1e-3, 1e4)
SWITCH = Choice((False, True))
DECAY, SHARE = Range(0, 10), Range(0.01, 0.99)
LEARNING_RATE = Range(1e-7, 10.0)
EPOCHS = Range(0, 1e4)

EQUAL = "four searched settings a head: an equal contest"

_head_lr = Setting(
    LEARNING_RATE,
    "peak of OneCycle",
    _range(5e-3, 2e-1, 5e-2, "centres move on a sphere: faster than weights"),
)
_fixed_head_lr = Setting(
    LEARNING_RATE,
    "peak of OneCycle",
    _fixed(5e-2, f"centres move on a sphere: faster than weights; {EQUAL}"),
)
_margin_warmup = Setting(EPOCHS, "epochs", _margin_growth)
_magnitude_rule = Choice(("feature", "fixed"))
_scale_setting = Setting(POSITIVE, "a factor", _scale, when=("magnitude", "fixed"))
_detach = Setting(SWITCH, "yes or no", _fixed(False, "the exact gradient"))

TRAINING: dict[str, Setting] = {  # of every head
    "lr": Setting(
        LEARNING_RATE,
        "peak of OneCycle",
        _range(2e-3, 3e-2, 1e-2, "AdamW, batch norm, batches of 128 to 512"),
    ),
    "weight_decay": Setting(DECAY, "AdamW's", _fixed(0.01, "AdamW's own default")),
    "warmup_share": Setting(SHARE, "share of all steps", _fixed(0.25, "OneCycle's rise")),
    "margin_warmup_epochs": Setting(EPOCHS, "epochs", _fixed(0.0, "a triplet without a margin would train nothing")),
}

HEADS: dict[str, dict[str, Setting]] = {
    "softmax": {
        "head_lr": _head_lr,
        "weight_decay": Setting(
            DECAY, "AdamW's", _range(1e-4, 1e-1, 0.01, f"around AdamW's own default, 0.01; {EQUAL}")
        ),
        "label_smoothing": Setting(
            Range(0, 0.99),
            "a share",
            _range(0.01, 0.4, 0.1, "tight clusters in place of rays"),
        ),
    },
    "triplet": {
        "margin_dist": Setting(Range(0, 1e3), "distance", _range(0.02, 1.0, 0.3, "0.02 to 1 of a distance of about 2")),
        "mining": Setting(Choice(("semi_hard", "batch_hard", "batch_all")), "a rule", _mining),
        "normalise": Setting(SWITCH, "yes or no", _normalise),
        "soft_margin": Setting(SWITCH, "yes or no", _fixed(False, "the margin is what is studied")),
    },
    "arcface": {
        "head_lr": _fixed_head_lr,
        "margin_warmup_epochs": _margin_warmup,
        "margin_rad": Setting(MARGIN_RAD, "rad", _margin("arcface", 0.05, 0.7, lambda angle: min(0.4 * angle, 0.5))),
        "magnitude": Setting(_magnitude_rule, "a rule", _magnitude("fixed")),
        "scale": _scale_setting,
        "detach_margin": _detach,
    },
    "cosface": {
        "head_lr": _fixed_head_lr,
        "margin_warmup_epochs": _margin_warmup,
        "margin_cos": Setting(
            Range(0, 2 - 1e-6),
            "cosine",
            _margin("cosface", 0.02, 0.6, lambda angle: min(angular_slack.margin_at("cosface", 0.6, angle), 0.35)),
        ),
        "magnitude": Setting(_magnitude_rule, "a rule", _magnitude("fixed")),
        "scale": _scale_setting,
        "detach_margin": _detach,
    },
    "sphereface": {
        "head_lr": _fixed_head_lr,
        "margin_warmup_epochs": _margin_warmup,
        "margin_mult": Setting(Range(1, 100), "factor", _margin("sphereface", 1.05, 2.0, lambda angle: 1.4)),
        "magnitude": Setting(_magnitude_rule, "a rule", _magnitude("feature")),
        "scale": _scale_setting,
        "detach_margin": _detach,
    },
    "hybrid": {
        "head_lr": Setting(LEARNING_RATE, "peak of OneCycle", _hybrid_head_lr),
        "margin_warmup_epochs": _margin_warmup,
        "margin_rad": Setting(MARGIN_RAD, "rad", _margin("hybrid", 0.05, 0.7, _hybrid_start)),
        "crossover_rad": Setting(Range(1e-6, 100.0), "rad", _crossover),
        "magnitude": Setting(_magnitude_rule, "a rule", _hybrid_magnitude),
        "scale": _scale_setting,
        "detach_margin": _detach,
    },
}


def known_heads() -> list[str]:
    """Every head: those of this file, and the losses of pytorch-metric-learning where that is installed."""
    from search_spaces import pml  # it makes its settings with what is above

    return [*HEADS, *pml.names()]


def is_head(name: object) -> bool:
    """Whether a head has this name."""
    return name in HEADS or name in known_heads()


def settings_of(head: str) -> dict[str, Setting]:
    """All settings of a head, those of its training first."""
    from search_spaces import pml

    return TRAINING | (HEADS[head] if head in HEADS else pml.settings(head))


def feasibility(head: str, name: str, low: float, high: float, classes: int, dimensions: int) -> str | None:
    """What is wrong with searching `name` from `low` to `high` (or with one value, twice), as the end of a sentence.

    None if all of it can work, or if nothing is known about such a setting. A margin is judged by its room; those of
    sphereface and hybrid, which vanish at the class centre, always leave some.
    """
    if name == "scale" and name in HEADS.get(head, {}):
        least = class_separation.smallest_scale(classes)
        if low >= least:
            return None
        where = _reach("goes down to", low, low, high, min(high, least) - low)
        reached = f"a probability of {class_separation.TARGET_PROBABILITY} among {classes} classes"
        cannot = f"a scale below {least:.3g} cannot reach {reached}"
        return f"{where[0]}, but {cannot}{where[1]}"
    if name != angular_slack.MARGINS.get(head):
        return None
    apart = class_separation.separation(classes, dimensions)
    least = angular_slack.infeasible_from(head, apart.angle_rad)
    if high < least:
        return None
    kind, size = apart.source.split(":")[0], f"{classes} classes in {dimensions}-D"
    said = {
        "exact": f"from {least:.3g} on no arrangement of {size} satisfies it",
        "best found": f"from {least:.3g} on no arrangement of {size} that was found satisfies it",
        "at most": f"from {least:.3g} on, if not before, no arrangement of {size} satisfies it",
    }[kind]
    where = _reach("goes to", high, low, high, high - max(low, least))
    return f"{where[0]}, but {said} ({_degrees(apart.angle_rad)} between centres, {apart.source}){where[1]}"


def _reach(goes: str, end: float, low: float, high: float, outside: float) -> tuple[str, str]:
    """How far a range goes, and how much of it lies outside; for a single value, that it is that value."""
    if low == high:
        return f"is {end:.3g}", ""
    return f"{goes} {end:.3g}", f": {max(outside, 0) / (high - low):.0%} of the range"
