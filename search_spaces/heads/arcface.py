"""The settings of ArcFace, and what its margin leaves: θ + m = α − θ, so ρ = (α − m)/2."""

from __future__ import annotations

from search_spaces.angular_slack import AngularMargin
from search_spaces.heads.angular import ANGLE_RAD, DETACH_MARGIN, FIXED_HEAD_LR, MARGIN_WARMUP, SCALE, magnitude, margin
from search_spaces.settings import HeadSpace


class ArcFaceMargin(AngularMargin):
    """An added angle m in rad; from m = α on no slack is left."""

    setting = "margin_rad"

    def slack_rad(self, margin: float, apart_rad: float, *bends: float) -> float:
        return max(0.0, (apart_rad - margin) / 2)

    def leaving(self, share: float, apart_rad: float, *bends: float) -> float:
        return (1 - share) * apart_rad

    def at_another_angle(self, margin: float, here_rad: float, there_rad: float, *bends: float) -> float:
        """The share is 1 − m/α."""
        return margin * there_rad / here_rad


MARGIN = ArcFaceMargin()
SPACE = HeadSpace(
    {
        "head_lr": FIXED_HEAD_LR,
        "margin_warmup_epochs": MARGIN_WARMUP,
        MARGIN.setting: margin(MARGIN, ANGLE_RAD, "rad", 0.05, 0.7, start=lambda angle: min(0.4 * angle, 0.5)),
        "magnitude": magnitude("fixed"),
        "scale": SCALE,
        "detach_margin": DETACH_MARGIN,
    },
    MARGIN,
)
