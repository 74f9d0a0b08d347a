"""The pictures of a study, made from its folder alone, at any time: what is known so far.

`head_pictures` draws the best of each head, `search_pictures` how the search went. Each picture knows its words;
`keep` writes it.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.figures.style import Picture
from orchestrator.files.atomic import write_atomic
from orchestrator.storage.study_folder import StudyFolder


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
