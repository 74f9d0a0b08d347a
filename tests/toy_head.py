"""A head that is not in the packages, added as anyone adds one: by a file with its class and one with its space."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning_modules.heads
import search_spaces.heads

HEAD = '''"""Shrunk: target logit s·(cos θ − m·θ)."""

import torch

from lightning_modules.heads.angular import AngularHead
from lightning_modules.heads.base import at_least


class Shrunk(AngularHead):
    """margin_slope: m ≥ 0, a cosine per rad."""

    def __init__(self, trunk, *, margin_slope, scale=None, magnitude="fixed", detach_margin=False):
        super().__init__(trunk, scale=scale, magnitude=magnitude, detach_margin=detach_margin)
        self.margin_slope = at_least("margin_slope", margin_slope, 0)

    def target_cosine(self, angle_B):
        return torch.cos(angle_B) - self.margin_share * self.margin_slope * angle_B
'''
SPACE = '''"""The settings of Shrunk; nothing is stated of its margin but the slack that it leaves."""

import math

from search_spaces.angular_slack import AngularMargin, farthest
from search_spaces.distributions import Range
from search_spaces.heads.angular import DETACH_MARGIN, FIXED_HEAD_LR, MARGIN_WARMUP, SCALE, magnitude, margin
from search_spaces.settings import HeadSpace


class ShrunkMargin(AngularMargin):
    """A cosine m per rad, nothing at the class centre."""

    setting = "margin_slope"
    vanishes_at_centre = True

    def slack_rad(self, margin, apart_rad, *bends):
        return farthest(lambda angle: math.cos(angle) - margin * angle > math.cos(apart_rad - angle), apart_rad)


MARGIN = ShrunkMargin()
SPACE = HeadSpace(
    {
        "head_lr": FIXED_HEAD_LR,
        "margin_warmup_epochs": MARGIN_WARMUP,
        MARGIN.setting: margin(MARGIN, Range(0, 10), "cosine per rad", 0.01, 0.5, start=lambda angle: 0.1),
        "magnitude": magnitude("fixed"),
        "scale": SCALE,
        "detach_margin": DETACH_MARGIN,
    },
    MARGIN,
)
'''


@contextmanager
def added(folder: Path) -> Iterator[list[Path]]:
    """The files that it takes to have one more head, "shrunk", while they lie in `folder`."""
    files = []
    for package, text in ((lightning_modules.heads, HEAD), (search_spaces.heads, SPACE)):
        path = folder / package.__name__ / "shrunk.py"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
        package.__path__.append(str(path.parent))
        files.append(path)
    importlib.invalidate_caches()
    try:
        yield files
    finally:
        for package in (lightning_modules.heads, search_spaces.heads):
            package.__path__.pop()
            sys.modules.pop(f"{package.__name__}.shrunk", None)
