"""The settings of CosFace, and what its margin leaves: cos θ − m = cos(α − θ), so ρ = α/2 − asin(m / (2·sin(α/2)))."""

from __future__ import annotations

import math

from search_spaces.angular_slack import AngularMargin
from search_spaces.distributions import Range
from search_spaces.heads.angular import DETACH_MARGIN, FIXED_HEAD_LR, MARGIN_WARMUP, SCALE, magnitude, margin
from search_spaces.settings import HeadSpace


class CosFaceMargin(AngularMargin):
    """A cosine m taken away; from m = 1 − cos α on no slack is left."""

    setting = "margin_cos"

    def slack_rad(self, margin: float, apart_rad: float, *bends: float) -> float:
        sine = min(1.0, margin / (2 * math.sin(apart_rad / 2)))
        return max(0.0, apart_rad / 2 - math.asin(sine))

    def leaving(self, share: float, apart_rad: float, *bends: float) -> float:
        return 2 * math.sin(apart_rad / 2) * math.sin((1 - share) * apart_rad / 2)


MARGIN = CosFaceMargin()
SPACE = HeadSpace(
    {
        "head_lr": FIXED_HEAD_LR,
        "margin_warmup_epochs": MARGIN_WARMUP,
        MARGIN.setting: margin(
            MARGIN, Range(0, 2 - 1e-6), "cosine", 0.02, 0.6, start=lambda angle: min(MARGIN.margin_at(0.6, angle), 0.35)
        ),
        "magnitude": magnitude("fixed"),
        "scale": SCALE,
        "detach_margin": DETACH_MARGIN,
    },
    MARGIN,
)
