"""What an embedding is judged by: one file an objective, found by its name. A new one needs no registration.

`base` says what each must tell. Importing this loads no torch: that happens where something is measured.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache

from lightning_modules.objectives.base import EmbeddedImages, Objective
from lightning_modules.registry import unknown

BASE = "base"


def names() -> tuple[str, ...]:
    """The objectives that a study may name, in alphabetical order."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != BASE))


@cache
def named(name: str) -> Objective:
    """The objective of that name. Raises RegistryError, which says what is valid and the nearest name."""
    if name not in names():
        raise unknown("objective", name, names())
    found: Objective = importlib.import_module(f"{__name__}.{name}").OBJECTIVE
    return found


def by_key() -> Mapping[str, Objective]:
    """Every objective by the name of its measure."""
    return {objective.key: objective for objective in map(named, names())}


def measured(images: EmbeddedImages, wanted: Iterable[str], known: Mapping[str, float]) -> dict[str, float]:
    """The measures that are known, and those of the wanted objectives that are not among them."""
    missing = (objective for objective in map(named, wanted) if objective.key not in known)
    return {**known, **{objective.key: objective.measure(images) for objective in missing}}
