"""The settings of SphereFace, and what its margin leaves: m·θ = α − θ, so ρ = α/(m + 1), some for every m."""

from __future__ import annotations

from search_spaces.angular_slack import AngularMargin
from search_spaces.distributions import Range
from search_spaces.heads.angular import DETACH_MARGIN, FIXED_HEAD_LR, MARGIN_WARMUP, SCALE, magnitude, margin
from search_spaces.settings import HeadSpace


class SphereFaceMargin(AngularMargin):
    """A factor m ≥ 1 on the angle."""

    setting = "margin_mult"
    no_margin = 1.0
    vanishes_at_centre = True

    def slack_rad(self, margin: float, apart_rad: float, *bends: float) -> float:
        return apart_rad / (margin + 1)

    def leaving(self, share: float, apart_rad: float, *bends: float) -> float:
        return 2 / share - 1

    def at_another_angle(self, margin: float, here_rad: float, there_rad: float, *bends: float) -> float:
        """The share, 2/(m + 1), does not depend on the angle."""
        return margin


MARGIN = SphereFaceMargin()
SPACE = HeadSpace(
    {
        "head_lr": FIXED_HEAD_LR,
        "margin_warmup_epochs": MARGIN_WARMUP,
        MARGIN.setting: margin(MARGIN, Range(1, 100), "factor", 1.05, 2.0, start=lambda angle: 1.4),
        "magnitude": magnitude("feature"),
        "scale": SCALE,
        "detach_margin": DETACH_MARGIN,
    },
    MARGIN,
)
