"""A registry of things that a study can name, such as bodies: one file each in a package, found there.

A new entry needs nothing but its file. Files are imported to be found, so what is slow to import, such as torch, stands
inside their functions. Knows no entry and no study.
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from types import ModuleType
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError


class Options(BaseModel):
    """The options of an entry: unknown ones are refused, 3 is not "3", and nothing changes later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Entry = TypeVar("Entry", bound=Options)


class RegistryError(ValueError):
    """A name that no entry has, or options that its entry does not have; the message says what is valid."""


def unknown(noun: str, name: str, known: Iterable[str]) -> RegistryError:
    """The error for a name that no entry has: which names there are, and the one that looks most like it."""
    known = [*known]
    close = difflib.get_close_matches(str(name)[:100], known, n=1)
    nearest = f"; did you mean {close[0]}?" if close else ""
    return RegistryError(f"{noun} must be one of {', '.join(known)}, but got {str(name)[:100]!r}{nearest}")


class Registry(Generic[Entry]):
    """All subclasses of `base` in the files of a package, by name.

    key: the field that holds an entry's name, as a literal with itself as default. default: the entry that is meant
    where no name is given.
    """

    def __init__(self, package: str, base: type[Entry], key: str, default: str) -> None:
        self.base, self.key, self.default, self._package = base, key, default, package

    @cached_property
    def by_name(self) -> dict[str, type[Entry]]:
        """Every entry by its name; the default comes first, the others in the order of their names."""
        package = importlib.import_module(self._package)
        files = (
            importlib.import_module(f"{self._package}.{each.name}") for each in pkgutil.iter_modules(package.__path__)
        )
        found: dict[str, type[Entry]] = {}
        for entry in (each for file in files for each in self._defined_in(file)):
            name = entry.model_fields[self.key].default
            if found.setdefault(name, entry) is not entry:
                raise TypeError(f"{entry} and {found[name]} are both called {name!r}")
        return {name: found[name] for name in sorted(found, key=lambda name: (name != self.default, name))}

    def make(self, name: str, /, **options: Any) -> Entry:
        """The entry of that name with these options. Raises RegistryError for what is not valid."""
        if name not in self.by_name:
            raise unknown(self.noun, name, self.by_name)
        try:
            return self.by_name[name](**options)
        except ValidationError as error:
            said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise RegistryError(f"{self.noun} {name} has wrong options: {said}") from error

    @property
    def noun(self) -> str:
        """What each entry is, such as "body"."""
        return self.base.__name__.lower()

    def _defined_in(self, file: ModuleType) -> list[type[Entry]]:
        classes = (each for each in vars(file).values() if isinstance(each, type) and each.__module__ == file.__name__)
        return [each for each in classes if issubclass(each, self.base) and not inspect.isabstract(each)]


def plain_text(written: str) -> str:
    """Refuses characters that are none for people: such as end a path, or tell a terminal what to do."""
    if all(character in "\n\t" or unicodedata.category(character) not in ("Cc", "Cs") for character in written):
        return written
    rule = {"rule": "must have no control characters", "fix": "remove them"}
    raise PydanticCustomError("space", "{rule}", rule)


FilePath = Annotated[str, Field(min_length=1, max_length=4095), AfterValidator(plain_text)]  # as Linux has it
