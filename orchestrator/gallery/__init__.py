"""The pictures of a study, made from its folder alone, at any time: what is known so far.

`of_heads` draws the best of each head, `of_search` how the search went. Each picture knows its words; `keep` writes it.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.files import write_atomic
from orchestrator.plots.style import Picture
from orchestrator.records import StudyFolder


def sweep(folder: StudyFolder, names: set[str]) -> None:
    """Removes pictures that earlier reports have drawn and that this one, of `names`, no longer has."""
    for path in [*folder.plots.glob("*.png"), *folder.plots.glob("*.svg"), *folder.plots.glob("*.gif")]:
        if path.stem not in names:
            path.unlink(missing_ok=True)


def keep(folder: StudyFolder, picture: Picture) -> Path:
    """Writes `plots/<name>.png` and `.svg`; returns the first."""
    path = folder.plots / f"{picture.name}.png"
    write_atomic(path, picture.png())
    write_atomic(path.with_suffix(".svg"), picture.svg())
    return path
