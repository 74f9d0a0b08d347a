"""Optima at the edge of what was searched: beyond it may be better, so a wider study is written, ready to run."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from orchestrator.files.atomic import write_atomic
from orchestrator.selection.results import Results
from orchestrator.study.schema import Study
from search_spaces import class_separation
from search_spaces.distributions import Range
from search_spaces.heads import settings_of, space_of

EDGE = 0.02  # of the range, in its own measure


@dataclass(frozen=True)
class EdgeHit:
    """The best value of a setting within 2% of an end of its range. wider: None where there is no beyond."""

    head: str
    setting: str
    value: float
    end: Literal["lower", "upper"]
    searched: Range
    wider: Range | None

    def __str__(self) -> str:
        bound = self.searched.low if self.end == "lower" else self.searched.high
        said = f"{self.head}: the best {self.setting}, {self.value:.4g}, is at the {self.end} bound {bound:.4g}"
        if self.wider is None:
            return f"{said}, and nothing that makes sense lies beyond"
        beyond = self.wider.low if self.end == "lower" else self.wider.high
        return f"{said}; the wider study goes to {beyond:.4g}"


def hits(results: Results) -> list[EdgeHit]:
    """Of each head's best configuration, the settings at an edge."""
    found = []
    spaces = results.study.spaces(results.num_classes)
    for head, best in results.best.items():
        for name, item in spaces[head].items():
            value, space = best.params.get(name), item.parameter
            if isinstance(space, Range) and isinstance(value, int | float) and (end := _end(space, value)):
                wider = _wider(space, end, *_sensible(results, head, name))
                found.append(EdgeHit(head, name, value, end, space, wider))
    return found


def _end(space: Range, value: float) -> Literal["lower", "upper"] | None:
    low, high, value = (math.log(each) if space.log else each for each in (space.low, space.high, value))
    share = (value - low) / (high - low)
    return "lower" if share <= EDGE else "upper" if share >= 1 - EDGE else None


def _sensible(results: Results, head: str, name: str) -> tuple[float, float]:
    """The ends of what makes sense: valid at all and, for a margin, satisfied by some arrangement of the classes."""
    valid = settings_of(head)[name].valid
    assert isinstance(valid, Range)
    margin = space_of(head).margin
    if margin is None or name != margin.setting:
        return valid.low, valid.high
    angle = class_separation.separation(results.num_classes, results.study.embedding_dim).angle_rad
    return valid.low, min(valid.high, margin.infeasible_from(angle))


def _wider(space: Range, end: str, least: float, most: float) -> Range | None:
    """Half as wide again beyond that end, in the range's own measure; None if that is nothing. The other end stays."""
    beyond = math.sqrt(space.high / space.low) if space.log else (space.high - space.low) / 2
    if end == "lower":
        low = max(least, space.low / beyond if space.log else space.low - beyond)
        low = max(math.floor(low), math.ceil(least)) if space.integer else low
        changed = replace(space, low=low)
    else:
        high = min(most, space.high * beyond if space.log else space.high + beyond)
        high = min(math.ceil(high), math.floor(most)) if space.integer else high
        changed = replace(space, high=high)
    if space.step:
        steps = math.floor((changed.high - changed.low) / space.step + 1e-9)
        if steps <= round((space.high - space.low) / space.step):
            return None
        if end == "lower":
            changed = replace(space, low=max(least, space.high - steps * space.step))
        else:
            changed = replace(space, high=min(most, space.low + steps * space.step))
    grown = changed.low < space.low or changed.high > space.high
    return changed if grown and (changed.low > 0 or not space.log) else None


def wider_study(study: Study, found: list[EdgeHit]) -> Study | None:
    """The study again, with every range that was hit widened; None where none can be."""
    heads = {head: dict(block) for head, block in study.heads.items()}
    widened = [hit for hit in found if hit.wider]
    for hit in widened:
        assert hit.wider is not None
        heads[hit.head][hit.setting] = hit.wider.to_wandb()
    if not widened:
        return None
    content = study.model_dump() | {"name": f"{study.name[:58]}-wider", "heads": heads}
    return Study.model_validate(content)


def write_wider(results: Results) -> Path | None:
    """Writes `wider.yaml` where a finished search has its optimum at an edge; removes one that no longer holds."""
    path = results.folder.wider_file
    found = hits(results) if results.searched and results.best else []
    wider = wider_study(results.study, found)
    if wider is None:
        path.unlink(missing_ok=True)
        return None
    comment = "\n".join(
        [f"{results.study.name} once more, wider where its best settings lie at an edge:", *map(str, found)]
    )
    write_atomic(path, wider.to_yaml(comment))
    return path
