"""The pictures of a finished study, drawn from its folder alone: each head's best, and all of them side by side."""

from __future__ import annotations

from pathlib import Path

from orchestrator.records import Trial, write_atomic
from orchestrator.results import Results


def draw(results: Results) -> list[Path]:
    """Writes `plots/<head>.png` for each head's best and `plots/heads.png` with all; returns their paths."""
    from orchestrator.plots import Panel, embeddings_png

    folder, study = results.folder, results.study
    heading = (
        f"{study.name}: {study.embedding_dim}-D embeddings of {len(folder.labels()):,} validation images, each number"
        f" a class;\nabove each head's best its k-means cluster accuracy on all {study.data.validation_images:,}"
    )
    drawn: list[Path] = []
    panels: list[Panel] = []
    for trial in results.best.values():
        points = folder.embedding(trial.name, trial.last_epoch)
        if points is not None:
            panels.append(Panel(points, folder.labels(), _title(trial)))
            drawn.append(folder.plots / f"{trial.head}.png")
            write_atomic(drawn[-1], embeddings_png(panels[-1:], inches=6))
    if panels:
        drawn.append(folder.plots / "heads.png")
        write_atomic(drawn[-1], embeddings_png(panels, heading))
    return drawn


def _title(trial: Trial) -> str:
    return f"{trial.head}: {trial.objective:.4f}\n{trial.name}, epoch {trial.last_epoch}"
