"""The heads that can be searched: each is a file here, found by its name, with its settings as `SPACE`.

Losses of pytorch-metric-learning are heads too, where that is installed.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterator, Mapping

from search_spaces import pml
from search_spaces.settings import TRAINING, HeadSpace, Setting


class UnknownHead(LookupError):
    """A name that no head has: why a loss cannot be had, or which heads there are and which looks most like it."""

    def __init__(self, name: str, known: list[str]) -> None:
        close = difflib.get_close_matches(name[:100], known, n=1)
        nearest = f"did you mean {close[0]}? " if close else ""
        reason = "; ".join(pml.refusal(name) or [f"{nearest}the heads are {', '.join(known)}"])
        super().__init__(f"there is no head {name[:100]!r}; {reason}")


class _Heads(Mapping[str, HeadSpace]):
    """The heads that have a file here, those without a margin on the sphere first, each kind by name."""

    def __getitem__(self, name: str) -> HeadSpace:
        found = _space(name)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        files = (module.name for module in pkgutil.iter_modules(__path__))
        found = {name: space for name in files if (space := _space(name))}
        return iter(sorted(found, key=lambda name: (found[name].margin is not None, name)))

    def __len__(self) -> int:
        return len([*iter(self)])


HEADS = _Heads()


def _space(name: str) -> HeadSpace | None:
    """What the file of this name offers; None where there is no such file, or one that all heads share."""
    place = f"{__name__}.{name}"
    if not name.isidentifier() or importlib.util.find_spec(place) is None:
        return None
    found = getattr(importlib.import_module(place), "SPACE", None)
    return found if isinstance(found, HeadSpace) else None


def known_heads() -> list[str]:
    """Every head: those that have a file here, and the losses of pytorch-metric-learning where that is installed."""
    return [*HEADS, *pml.names()]


def is_head(name: object) -> bool:
    """Whether a head has this name."""
    return isinstance(name, str) and (name in HEADS or name in pml.names())


def space_of(head: str) -> HeadSpace:
    """What can be searched of a head, its training apart. Raises UnknownHead."""
    if head in HEADS:
        return HEADS[head]
    if head not in pml.names():
        raise UnknownHead(head, pml.names() if head.startswith(pml.PREFIX) else [*HEADS])
    return pml.space(head)


def settings_of(head: str) -> dict[str, Setting]:
    """All settings of a head, those of its training first. Raises UnknownHead."""
    return TRAINING | dict(space_of(head).settings)
