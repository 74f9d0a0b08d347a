"""What a setting of a head is: which values are valid, what `auto` searches, and the settings of every training.

Knows no head; the heads' own settings stand in search_spaces/heads/<head>.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from search_spaces.angular_slack import AngularMargin
from search_spaces.distributions import Choice, Parameter, Range, Value, constant

Role = Literal["margin", "crossover", "scale"]


@dataclass(frozen=True)
class Auto:
    """What `auto` means: the parameter, the value that the first trial takes, and why."""

    parameter: Parameter
    start: Value
    reason: str


AutoRule = Callable[[int, int], Auto]  # (classes, dimensions) → what `auto` means there


@dataclass(frozen=True)
class Setting:
    """One setting of a head or of its training.

    valid: the values that make sense at all, for any dataset. when: it is only read if that other setting has
    that value. role: what it does in the loss, where that is one of the few things that pictures and W&B show first and
    that PBT may change while a model trains; None for all else.
    """

    valid: Range | Choice
    unit: str
    auto: AutoRule
    when: tuple[str, Value] | None = None
    role: Role | None = None

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


@dataclass(frozen=True)
class HeadSpace:
    """What a file in search_spaces/heads says of its head, as `SPACE`.

    settings: the head's own, or those of its training that it searches otherwise; one that decides whether another is
    read comes before it. margin: the geometry of its margin, for a head with class centres on the sphere.
    """

    settings: Mapping[str, Setting]
    margin: AngularMargin | None = None


def fixed(value: Value, reason: str) -> AutoRule:
    """`auto` is always this one value."""
    return lambda classes, dimensions: Auto(constant(value), value, reason)


def log_range(low: float, high: float, start: float, reason: str) -> AutoRule:
    """`auto` is always this range, spread evenly over ratios."""
    return lambda classes, dimensions: Auto(Range(low, high, log=True), start, reason)


def length_is_better(dimensions: int) -> bool:
    """Whether a head trains better when it reads the embedding's own length: in 2-D and 3-D it does.

    There an image may go to its class through the middle, and not only around the sphere: in 2-D arcface reaches 0.989
    in place of 0.975.
    """
    return dimensions <= 3


EQUAL = "four searched settings a head: an equal contest"
SWITCH = Choice((False, True))
DECAY, SHARE = Range(0, 10), Range(0.01, 0.99)
LEARNING_RATE = Range(1e-7, 10.0)
EPOCHS = Range(0, 1e4)

HEAD_LR = Setting(
    LEARNING_RATE,
    "peak of OneCycle",
    log_range(5e-3, 2e-1, 5e-2, "centres move on a sphere: faster than weights"),
)

TRAINING: dict[str, Setting] = {  # of every head
    "lr": Setting(
        LEARNING_RATE,
        "peak of OneCycle",
        log_range(2e-3, 3e-2, 1e-2, "AdamW, batch norm, batches of 128 to 512"),
    ),
    "weight_decay": Setting(DECAY, "AdamW's", fixed(0.01, "AdamW's own default")),
    "warmup_share": Setting(SHARE, "share of all steps", fixed(0.25, "OneCycle's rise")),
    "margin_warmup_epochs": Setting(EPOCHS, "epochs", fixed(0.0, "a triplet without a margin would train nothing")),
}
