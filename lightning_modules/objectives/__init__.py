"""What an embedding is judged by: one file an objective, found by its name. A new one needs no registration.

`base` says what each must tell. Importing this loads no torch: that happens where something is measured.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache

from lightning_modules.objectives.base import EmbeddedImages, Objective

BASE = "base"


def names() -> tuple[str, ...]:
    """The objectives that a study may name, in alphabetical order."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != BASE))


@cache
def named(name: str) -> Objective:
    """The objective of that name. Raises ValueError, which names the nearest and all of them, where there is none."""
    known = names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"there is no objective {name!r}; {hint}there are {', '.join(known)}")
    found: Objective = importlib.import_module(f"{__name__}.{name}").OBJECTIVE
    return found


def by_key() -> Mapping[str, Objective]:
    """Every objective by the name of its measure."""
    return {objective.key: objective for objective in map(named, names())}


def measured(images: EmbeddedImages, wanted: Iterable[str], known: Mapping[str, float]) -> dict[str, float]:
    """The measures that are known, and those of the wanted objectives that are not among them."""
    missing = (objective for objective in map(named, wanted) if objective.key not in known)
    return {**known, **{objective.key: objective.measure(images) for objective in missing}}
