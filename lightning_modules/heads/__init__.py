"""The heads: each is a file here, found by its name; losses of pytorch-metric-learning are heads as well.

A head is a class that says what `EmbeddingModule`, or for one with class centres on the sphere `AngularHead`, leaves
open. Importing this package loads neither torch nor Lightning; asking it for a head does.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
from typing import TYPE_CHECKING

from lightning_modules.registry import unknown

if TYPE_CHECKING:
    from lightning_modules.heads.base import EmbeddingModule


def head_class(name: str) -> type[EmbeddingModule]:
    """The class of a head such as "arcface", or of a loss such as "pml.ProxyAnchorLoss".

    Raises RegistryError for a name that no head has, and ImportError for a loss that is not installed.
    """
    library, dot, loss = name.partition(".")
    if dot and library == "pml":
        from lightning_modules.heads import pml

        return pml.of_loss(loss)
    found = _class_in(name)
    if found is None:
        raise unknown("head", name, names())
    return found


def names() -> list[str]:
    """The heads that have a file here, by name."""
    return [module.name for module in pkgutil.iter_modules(__path__) if _class_in(module.name)]


def _class_in(name: str) -> type[EmbeddingModule] | None:
    """The head that a file defines; None where there is no such file, or where it leaves something open."""
    from lightning_modules.heads.base import EmbeddingModule

    place = f"{__name__}.{name}"
    if not name.isidentifier() or importlib.util.find_spec(place) is None:
        return None
    classes = (value for value in vars(importlib.import_module(place)).values() if isinstance(value, type))
    own = (value for value in classes if value.__module__ == place and issubclass(value, EmbeddingModule))
    return next((value for value in own if not inspect.isabstract(value)), None)
