"""The pictures of a study, made from its folder alone, at any time: what is known so far.

`of_heads` draws the best of each head, `of_search` how the search went. Each picture knows its words; `keep` writes it.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.plots.style import Picture
from orchestrator.records import StudyFolder, write_atomic


def keep(folder: StudyFolder, picture: Picture) -> Path:
    """Writes `plots/<name>.png` and `.svg`; returns the first."""
    path = folder.plots / f"{picture.name}.png"
    write_atomic(path, picture.png())
    write_atomic(path.with_suffix(".svg"), picture.svg())
    return path
