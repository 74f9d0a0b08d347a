"""The keys of what a trial reports after an epoch that a scheduler looks at."""

from __future__ import annotations

EPOCH, OBJECTIVE = "epoch", "objective"
