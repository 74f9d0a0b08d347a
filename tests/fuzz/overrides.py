"""`--set` with paths and values that nobody expects: as with studies."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

from orchestrator.study.schema import Study
from tests.fuzz import odd_yaml, studies
from tests.fuzz.child import Case

CASES = 4000
PLACES = (
    *odd_yaml.FITTING,
    *("heads", "data", "training", "search", "training.lr.min", "training.lr.values.0", "heads.arcface.margin_rad.max"),
    *("data.unseen_classes.0", "search.objectives.1", "name.first", "training.epochs.x", "heads.3", "3", "heads.3.4"),
    *("", ".", "..", "a..b", ".a", "a.", "training.", "training..epochs", "<<", "heads.<<", "training.<<", "~", "null"),
    *("epochs", "trainin.epochs", "heads.acrface.scale", "pml", "heads.pml", "heads.pml.", "heads.pml.pml.X.y"),
    *("\x1b[31m", "training.\x00", "heads.\udcff", "é", "heads. arcface", "training .epochs", "x" * 5000),
    *("a." * 999 + "b", "data.x.y.z"),
)  # fmt: skip


def prepare(folder: Path) -> Case:
    """A study with every key, which the overrides change."""
    studies.make_images(folder / "images", 120, 4)
    path = folder / "study.yaml"
    path.write_text(json.dumps(studies.whole(folder)), encoding="utf-8")

    def case(random: Random) -> str:
        overrides = [_override(random) for _ in range(random.choice((1, 1, 2, 5)))]
        return studies.outcome(lambda: Study.load(path, overrides), folder)

    return case


def _override(random: Random) -> str:
    place = random.choice(PLACES)
    if place in odd_yaml.FITTING and random.random() < 0.5:
        value = json.dumps(random.choice(odd_yaml.FITTING[place]))
    else:
        value = odd_yaml.odd(random)
    return place + random.choice(("=", "=", "=", "=", "", "==", " = ")) + value
