"""`make showcase`: what the published studies reached, as README's first picture and table. Reads folders, writes both.

results/mnist-2d, results/mnist-3d ─ sealed tests ─ README.md (between its marks), results/heads.png
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning_modules.bodies import BODIES
from orchestrator.figures.embedding import Panel, side_by_side
from orchestrator.figures.style import rendered
from orchestrator.files.atomic import write_atomic
from orchestrator.reporting.pictures import head_pictures
from orchestrator.selection.results import Results
from orchestrator.selection.sealed_results import Scored
from orchestrator.selection.statistics import MeanEstimate

BEGIN, END = "<!-- made by: make showcase -->\n", "<!-- end of what make showcase makes -->\n"
STUDIES, MNIST_SHAPE = ("mnist-2d", "mnist-3d"), (28, 28, 1)
EXPLAINED = """\
k-means cluster accuracy on MNIST's {images:,} sealed test images, by angle for heads that tell classes apart by angle,
by distance for the others: mean, 95% interval and number of models, trained on train and validation images.
*reference*: the notebooks' single runs, by distance (`results/reference.json`). *less computed*: how many times fewer
multiply-adds than theirs a model's training took.
"""


class Published:
    """A published study whose test has been opened, beside the reference numbers."""

    def __init__(self, folder: Path, reference: dict[str, Any]) -> None:
        self.results, self.reference = Results(folder), reference

    @property
    def dimensions(self) -> int:
        return self.results.study.embedding_dim

    @property
    def scored(self) -> dict[str, Scored]:
        return self.results.test.heads

    def cells(self, head: str) -> list[str]:
        """Of a head: on its own geometry, by distance, the reference, and how many times less was computed."""
        scored = self.scored.get(head)
        if scored is None:
            return ["–"] * 4
        euclidean = MeanEstimate.of(found["cluster_accuracy_euclidean"] for found in scored.measures.values())
        known = self.reference["heads"].get(head)
        if known is None:
            return [self._written(scored.estimate), self._written(euclidean).partition(" (n")[0], "–", "–"]
        less = float(known["epochs"]) * self._reference_pass / self._passes
        return [
            self._written(scored.estimate),
            self._written(euclidean).partition(" (n")[0],
            f"{known['accuracy'][str(self.dimensions)]:.4f}",
            f"{less:.0f} ×",
        ]

    @cached_property
    def _passes(self) -> float:
        """Multiply-adds of all forward passes of a final model's training."""
        study, data = self.results.study, self.results.study.data
        images = self.results.provenance["train_images"] + data.validation_images
        each = study.body.size(MNIST_SHAPE, self.dimensions).multiply_adds
        return float(study.training.epochs * images) * each

    @cached_property
    def _reference_pass(self) -> float:
        """The same of one epoch of the reference."""
        body = BODIES.make(self.reference["body"]["name"], **self.reference["body"])
        return float(self.reference["train_images"] * body.size(MNIST_SHAPE, self.dimensions).multiply_adds)

    def _written(self, estimate: MeanEstimate) -> str:
        return estimate.written(self.results.study.objective)

    def panels(self, heads: Sequence[str]) -> list[Panel]:
        found = {best.head: best for best in head_pictures.bests(self.results)}
        return [
            Panel(
                found[head].points,
                found[head].labels,
                f"{head}, {self.dimensions}-D\n{self._written(self.scored[head].estimate)}",
            )
            for head in heads
            if head in found and head in self.scored
        ]


def table(published: Published, heads: Sequence[str]) -> str:
    """Markdown: a row for each head."""
    header = [f"{published.dimensions}-D", "sealed test", "by distance", "reference", "less computed"]
    rows = [[head, *published.cells(head)] for head in heads]
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)) + "\n"


def section(published: Sequence[Published], heads: Sequence[str], picture: str) -> str:
    """What stands between README's marks."""
    images = max((scored.images for each in published for scored in each.scored.values()), default=0)
    parts = [f"![The embeddings of {', '.join(heads)}]({picture})\n", EXPLAINED.format(images=images)]
    for each in published:
        said = "; ".join(each.results.test.verdicts())
        parts += [table(each, heads), f"In {each.dimensions}-D, paired by seed and corrected for all pairs: {said}.\n"]
    return "\n".join(parts)


def inserted(readme: str, content: str, begin: str = BEGIN, end: str = END) -> str:
    """README with that between two marks. Raises ValueError where they are missing."""
    before, mark, rest = readme.partition(begin)
    _, found, after = rest.partition(end)
    if not mark or not found:
        raise ValueError(f"README has no place for it: {begin.strip()} … {end.strip()}")
    return f"{before}{begin}{content}{end}{after}"


def main(root: Path = Path()) -> None:
    """Of the repository at `root`."""
    results = root / "results"
    reference = json.loads((results / "reference.json").read_text(encoding="utf-8"))
    published = [Published(results / name, reference) for name in STUDIES if (results / name / "test.jsonl").exists()]
    heads = [*reference["heads"], "hybrid"]
    panels = [panel for each in published for panel in each.panels(heads)]
    picture = results / "heads.png"
    write_atomic(picture, rendered(side_by_side(panels, columns=len(heads), inches=3.0), "png", dpi=110))
    readme = root / "README.md"
    content = section(published, heads, str(picture.relative_to(root)))
    write_atomic(readme, inserted(readme.read_text(encoding="utf-8"), content))


if __name__ == "__main__":
    main()
