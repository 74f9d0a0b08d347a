"""Seeds of the parts of a study, from its own."""

from __future__ import annotations

SEED_STRIDE = 100_003  # keeps the seeds of neighbouring studies' trials apart


def bounded_seed(study_seed: int, number: int) -> int:
    """A seed that numpy and a study's YAML can hold: those of neighbouring studies do not overlap."""
    return (study_seed * SEED_STRIDE + number) % 2**31
