"""What a margin does, seen from outside: the target logit over the angle, and the angular slack it leaves a class."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lightning_modules.heads import head_class
from lightning_modules.heads.angular import AngularHead
from lightning_modules.heads.base import EmbeddingModule, Recipe, Trunk

Array = NDArray[np.float64]
HALVINGS = 50


class Margin:
    """The margin of an angular head with these settings."""

    def __init__(self, head: str, params: dict[str, Any]) -> None:
        module = _bare(head, params)
        assert isinstance(module, AngularHead)
        self._head = module

    def target_cosine(self, angle_rad: Array) -> Array:
        """What stands in place of the cosine of the angle to the own centre, at angles in rad of any shape."""
        with torch.no_grad():
            return np.asarray(self._head.target_cosine(torch.from_numpy(np.array(angle_rad, np.float64))))

    def angular_slack(self, apart_rad: Array) -> Array:
        """How far (rad) a point may be from its centre, towards another centre `apart_rad` away, and still win.

        Where the target cosine equals the other's cosine: target(θ) = cos(α − θ); 0 where no angle satisfies it.
        """
        apart_rad = np.asarray(apart_rad, np.float64)
        low, high = np.zeros_like(apart_rad), apart_rad / 2
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            wins = self.target_cosine(middle) > np.cos(apart_rad - middle)
            low, high = np.where(wins, middle, low), np.where(wins, high, middle)
        return (low + high) / 2


def _bare(head: str, params: dict[str, Any]) -> EmbeddingModule:
    """The head's module with these settings, on no body; settings that are not its own, such as lr, are left out."""
    known = inspect.signature(head_class(head)).parameters
    scale = {"scale": 1.0} if "scale" in known else {}
    foreign = {field.name for field in fields(Recipe)} if "settings" in known else params.keys() - known
    settings = {name: value for name, value in params.items() if name not in foreign}
    return head_class(head)(Trunk(nn.Identity(), 2, 2), **{**scale, **settings})


def is_spherical(head: str, params: dict[str, Any]) -> bool:
    """Whether a head with these settings tells classes apart by angle."""
    return _bare(head, params).spherical


def margin_of(head: str, params: dict[str, Any]) -> Margin | None:
    """The margin of a head; None for one that has no class centres on the sphere."""
    return Margin(head, params) if issubclass(head_class(head), AngularHead) else None
