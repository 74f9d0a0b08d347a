"""The settings of the hybrid, and what its margin leaves: ρ solves ρ + m·tanh(ρ/θ*) = α − ρ, some for every m."""

from __future__ import annotations

import math

from search_spaces import class_separation
from search_spaces.angular_slack import AngularMargin, farthest
from search_spaces.distributions import Range
from search_spaces.heads.angular import (
    ANGLE_RAD,
    DETACH_MARGIN,
    FIXED_HEAD_LR,
    MARGIN_WARMUP,
    SCALE,
    degrees,
    equal_magnitude,
    margin,
)
from search_spaces.settings import HEAD_LR, LEARNING_RATE, Auto, HeadSpace, Setting, length_is_better


class HybridMargin(AngularMargin):
    """An added angle m in rad, that grows from 0 at the class centre and is nearly whole from the crossover θ* on."""

    setting = "margin_rad"
    bends_at = ("crossover_rad",)
    vanishes_at_centre = True

    def slack_rad(self, margin: float, apart_rad: float, *bends: float) -> float:
        (crossover_rad,) = bends
        return farthest(lambda angle: angle + margin * math.tanh(angle / crossover_rad) < apart_rad - angle, apart_rad)

    def leaving(self, share: float, apart_rad: float, *bends: float) -> float:
        (crossover_rad,) = bends
        bend = math.tanh(share * apart_rad / 2 / crossover_rad)
        return (1 - share) * apart_rad / bend if bend > 0 else math.inf

    def at_another_angle(self, margin: float, here_rad: float, there_rad: float, *bends: float) -> float:
        """The equation keeps its form when m, the crossover and α grow by the same factor."""
        return margin * there_rad / here_rad


def _crossover_range(angle_rad: float) -> Range:
    return Range(min(0.02, angle_rad / 8), angle_rad / 2, log=True)


def _crossover(classes: int, dimensions: int) -> Auto:
    angle = class_separation.separation(classes, dimensions).angle_rad
    reason = f"from nearly ArcFace to half of the {degrees(angle)} between centres, nearly SphereFace"
    return Auto(_crossover_range(angle), angle / 4, reason)


def _start(angle_rad: float) -> float:
    """Leaves as much slack at the crossover's start as arcface's start does."""
    return min(MARGIN.margin_at(0.6, angle_rad, {CROSSOVER: angle_rad / 4}), 0.5)


def _head_lr(classes: int, dimensions: int) -> Auto:
    """Searched where no scale is."""
    setting = HEAD_LR if length_is_better(dimensions) else FIXED_HEAD_LR
    return setting.auto(classes, dimensions)


MARGIN = HybridMargin()
(CROSSOVER,) = MARGIN.bends_at
SPACE = HeadSpace(
    {
        "head_lr": Setting(LEARNING_RATE, "peak of OneCycle", _head_lr),
        "margin_warmup_epochs": MARGIN_WARMUP,
        MARGIN.setting: margin(
            MARGIN,
            ANGLE_RAD,
            "rad",
            0.05,
            0.7,
            start=_start,
            tightest=lambda angle: {CROSSOVER: _crossover_range(angle).low},
        ),
        CROSSOVER: Setting(Range(1e-6, 100.0), "rad", _crossover, role="crossover"),
        "magnitude": equal_magnitude("fixed"),
        "scale": SCALE,
        "detach_margin": DETACH_MARGIN,
    },
    MARGIN,
)
