"""What a W&B run gets at its end: the embedding in space, as a table, and as an animation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.storage.event_log import Trial
from orchestrator.storage.events import Event
from orchestrator.storage.study_folder import StudyFolder

MOST_RECALLED = 24  # epochs of a trial, but for the best: a film needs no more
Points = NDArray[np.float16]


@dataclass
class RunMedia:
    """The pictures of one run, kept as they are drawn, so that none is drawn twice. labels: of the sampled images."""

    labels: NDArray[np.int64]
    frames: dict[int, bytes] = field(default_factory=dict)  # by epoch, PNG
    merits: dict[int, float] = field(default_factory=dict)  # higher for the better epoch
    last: Points | None = None

    def draw(self, trial: Trial, row: Event, points: Points) -> bytes:
        """The PNG of the embedding after an epoch."""
        from orchestrator.figures.embedding import Panel, embedding_png

        title = f"{trial.name}, epoch {row['epoch']}: {trial.judged_by.write(row['objective'])}"
        self.frames[row["epoch"]] = png = embedding_png(Panel(points, self.labels, title))
        self.merits[row["epoch"]] = trial.judged_by.merit(row["objective"])
        if row["epoch"] == max(self.frames):
            self.last = points
        return png

    def recall(self, trial: Trial, folder: StudyFolder) -> None:
        """Draws what is missing: of a trial with many epochs some, evenly spaced, with the best and the last."""
        best = trial.best_epoch
        step = -(-len(trial.epochs) // MOST_RECALLED)
        wanted = [row for row in trial.epochs if (trial.last_epoch - row["epoch"]) % max(1, step) == 0 or row is best]
        for row in wanted:
            points = folder.embedding(trial.name, row["epoch"]) if row["epoch"] not in self.frames else None
            if points is not None:
                self.draw(trial, row, points)

    @property
    def best_epoch(self) -> int:
        """The epoch with the best objective, the first of several."""
        return max(sorted(self.merits), key=lambda epoch: self.merits[epoch])

    def animation(self) -> bytes:
        """All frames in order, as a GIF."""
        from orchestrator.figures.animation import gif

        return gif([self.frames[epoch] for epoch in sorted(self.frames)])

    def table(self) -> tuple[list[str], list[list[float]]]:
        """Columns and rows of the last embedding: its coordinates and the class."""
        assert self.last is not None
        columns = [*(f"x{number}" for number in range(1, self.last.shape[1] + 1)), "label"]
        rows = [[*map(float, point), int(label)] for point, label in zip(self.last, self.labels, strict=True)]
        return columns, rows

    def cloud(self) -> Any:
        """The last embedding (n, 6) of a 3-D head: x, y, z, red, green, blue; None in other dimensions."""
        from orchestrator.figures.style import class_colour

        if self.last is None or self.last.shape[1] != 3:
            return None
        colours = np.array([[int(class_colour(label)[n : n + 2], 16) for n in (1, 3, 5)] for label in self.labels])
        return np.concatenate([self.last.astype(np.float64), colours], axis=1)
