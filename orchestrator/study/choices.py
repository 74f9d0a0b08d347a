"""A section of a study that is one of several, each with keys of its own: which one, a key in it says.

The section's type is a union of all that a registry finds, so a key of another one cannot be written, and a new entry
needs no change here. Knows no section of a study.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any

from pydantic import BaseModel, Field, GetCoreSchemaHandler, SerializerFunctionWrapHandler, create_model
from pydantic_core import CoreSchema, core_schema

from lightning_modules.registry import Registry


@dataclass(frozen=True)
class OneOf:
    """Written beside the type of a section: it is one of the entries of a registry, the default where none is named.

    beside: keys that the section has whichever entry it is.
    """

    registry: Registry[Any]
    beside: type[BaseModel] | None = None

    @property
    def key(self) -> str:
        """The key that says which entry a section is."""
        return self.registry.key

    @property
    def models(self) -> Mapping[str, type[BaseModel]]:
        """What a section may be, by what its key says."""
        entries: Mapping[str, Any] = self.registry.by_name
        return {name: _joined(entry, self.beside) for name, entry in entries.items()}

    def default(self) -> Any:
        """The section of a study that says nothing of it."""
        return self.models[self.registry.default]()

    def owners(self, key: str) -> list[str]:
        """The entries that have a key."""
        return [name for name, model in self.models.items() if key in model.model_fields]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        union: Any = Annotated[reduce(or_, self.models.values()), Field(discriminator=self.key)]
        return core_schema.no_info_before_validator_function(
            self._completed,
            handler.generate_schema(union),
            serialization=core_schema.wrap_serializer_function_ser_schema(self._dumped),
        )

    def _completed(self, written: Any) -> Any:
        """With the default's name where none is written. A null says nothing, whichever entry has that key."""
        if not isinstance(written, dict):
            return written
        said = {key: value for key, value in written.items() if not self._says_nothing(key, value)}
        return {self.key: self.registry.default, **said}

    def _says_nothing(self, key: Any, value: Any) -> bool:
        return value is None and key != self.key and bool(self.owners(key))

    def _dumped(self, section: Any, dump: SerializerFunctionWrapHandler) -> Any:
        """The entry's own keys first. Its name is said also where defaults are left out, for it is its own default."""
        name, dumped = getattr(section, self.key), dump(section)
        named = {self.key: name} if name != self.registry.default else {}
        own = {key: dumped[key] for key in self.registry.by_name[name].model_fields if key in dumped}
        return {**named, **own, **dumped}


@cache
def _joined(entry: Any, beside: Any) -> type[BaseModel]:
    """An entry with the keys that all of them have."""
    return create_model(entry.__name__, __base__=(entry, beside), __doc__=entry.__doc__) if beside else entry


def choice_at(model: type[BaseModel], key: str) -> OneOf | None:
    """What a section of a model is one of; None for one that is always the same."""
    field = model.model_fields.get(key)
    return next((each for each in field.metadata if isinstance(each, OneOf)), None) if field else None


def as_written(keys: Iterable[str | int], model: type[BaseModel]) -> tuple[str | int, ...]:
    """The place of an error as it is in the file: pydantic puts the name of the entry between section and key."""
    keys = tuple(keys)
    choice = choice_at(model, str(keys[0])) if keys else None
    return (keys[0], *keys[2:]) if choice and len(keys) > 1 and keys[1] in choice.models else keys
