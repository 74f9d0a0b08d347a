"""What is searched: distributions, feasible bounds, the default space of each head, ready studies.

Knows the standard library, pydantic and numpy only; neither torch, Ray nor the orchestrator.
"""

from __future__ import annotations

from pathlib import Path

STUDIES = Path(__file__).parent / "studies"
