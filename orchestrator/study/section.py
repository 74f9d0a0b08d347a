"""What all sections of a study have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a study: unknown keys are refused, and 3 is not "3"."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
