"""The `search` section of a study: how configurations are chosen and stopped.

In a file the options of the sampler and of the scheduler stand beside the other keys, for searches were written so
before there were several of each. Inside, each has its own, and none of another: a study without PBT has no
`perturb_every_epochs` that anything could read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SerializationInfo,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails

from lightning_modules.registry import Options, Registry
from orchestrator.search.samplers import SAMPLERS
from orchestrator.search.samplers.base import Sampler
from orchestrator.search.samplers.tpe import Tpe
from orchestrator.search.schedulers import SCHEDULERS
from orchestrator.search.schedulers.asha import Asha
from orchestrator.search.schedulers.base import Scheduler
from orchestrator.study.field_types import AUTO as AUTO
from orchestrator.study.field_types import FEW, Constant, ObjectiveName, Seed, WholeOrAuto, ranked
from orchestrator.study.section import Section

CHOSEN: dict[str, Registry[Any]] = {"sampler": SAMPLERS, "scheduler": SCHEDULERS}  # by the field that holds one
UNREAD = "unread"


def options(registry: Registry[Any]) -> dict[str, Any]:
    """Every option of every entry, with its default, in order."""
    fields = (each.model_fields.items() for each in registry.by_name.values())
    return {name: field.default for own in fields for name, field in own if name != registry.key}


def _entry_named(registry: Registry[Any], name: Any) -> type[Options] | None:
    return registry.by_name.get(name) if isinstance(name, str) else None


def _chosen(registry: Registry[Any]) -> BeforeValidator:
    """Reads the entry that is named, with its own options."""

    def read(written: Any) -> Any:
        if not isinstance(written, dict):
            return written
        name = written.get(registry.key, registry.default)
        if (entry := _entry_named(registry, name)) is None:
            *most, last = map(repr, registry.by_name)
            expected = {"expected": f"{', '.join(most)} or {last}"}
            raise _refused("literal_error", registry.key, name, expected)
        return entry.model_validate(written)

    return BeforeValidator(read)


def _unread(written: Any) -> Any:
    """Refuses a value that an option cannot have, also where nothing reads it; leaves out what is as by default."""
    for registry in CHOSEN.values():
        for entry in registry.by_name.values():
            entry.model_validate({name: value for name, value in written.items() if name in entry.model_fields})
    return {name: value for name, value in written.items() if value != _defaults()[name]}


def _refused(kind: str, key: str, value: Any, context: Mapping[str, Any] | None = None) -> ValidationError:
    details = InitErrorDetails(type=kind, loc=(key,), input=value, ctx={**(context or {})})
    return ValidationError.from_exception_data("Search", [details])


def _defaults() -> dict[str, Any]:
    """The options of all samplers and schedulers, with their defaults."""
    return {name: default for registry in CHOSEN.values() for name, default in options(registry).items()}


class Search(Section):
    """How configurations are chosen and stopped. Every head gets the same number of trials.

    unread: options of samplers and schedulers that are not chosen, as they were written. Nothing reads them, and a plan
    says so; they stay in the file, for whoever changes the scheduler for a try and back.

    joint: one sampler over head and settings, which gives the trials to the heads that promise most. objectives: files
    of lightning_modules/objectives; the first ranks, and of several the sampler looks for the whole front.
    allow_unequal: heads may search more than MOST_SEARCHED settings. stalled_after_s: how long a trial may report
    nothing before its process is ended; 0 is for ever. process_failures: how often a trial that the machine broke off
    begins again at once. most_failures: how many trials may fail by themselves before the search ends. start_at:
    configurations that the first trials take, such as --start-from finds.
    """

    trials_per_head: Annotated[int, Field(ge=1, le=100_000)] = 20
    sampler: Annotated[Sampler, _chosen(SAMPLERS)] = Tpe()
    scheduler: Annotated[Scheduler, _chosen(SCHEDULERS)] = Asha()
    seed: Seed = 0
    concurrent_trials: WholeOrAuto = AUTO
    start_from_defaults: bool = True
    unread: Annotated[dict[str, Any], BeforeValidator(_unread)] = Field(default={})
    process_failures: Annotated[int, Field(ge=0, le=100)] = 2
    stalled_after_s: WholeOrAuto = AUTO
    most_failures: WholeOrAuto = AUTO
    joint: bool = False
    objectives: Annotated[list[ObjectiveName], AfterValidator(ranked)] = Field(default=["accuracy"], min_length=1)
    allow_unequal: bool = False
    start_at: Annotated[dict[str, Annotated[dict[str, Constant], FEW]], FEW] = Field(default={})

    @classmethod
    def written_keys(cls) -> list[str]:
        """The keys that may stand in a file, in the order in which `to_yaml` writes them."""
        return [*cls().model_dump()]

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, written: Any) -> Any:
        """Puts the keys of a file under the field that reads them."""
        if not isinstance(written, dict):
            return written
        rest, read = dict(written), dict[str, Any]()
        for name, registry in CHOSEN.items():
            if isinstance(rest.get(name), registry.base):  # as Python gives it
                read[name] = rest.pop(name)
                continue
            entry = _entry_named(registry, rest.get(registry.key, registry.default))
            own = [registry.key, *(entry.model_fields if entry else ())]
            read[name] = {key: rest.pop(key) for key in own if key in rest}
        read[UNREAD] = {key: rest.pop(key) for key in _defaults() if key in rest}
        for key in (key for key in read if key in rest):
            raise _refused("extra_forbidden", key, rest[key])
        return {**rest, **read}

    @model_serializer(mode="wrap")
    def _to_file(self, fields: Callable[[Any], dict[str, Any]], info: SerializationInfo) -> dict[str, Any]:
        """The keys as a file has them, with the options of all entries; or what is not as by default."""
        own, flat = fields(self), dict[str, Any]()
        chosen = {registry: getattr(self, name).model_dump(mode=info.mode) for name, registry in CHOSEN.items()}
        for name in type(self).model_fields:
            if name in CHOSEN:
                flat[CHOSEN[name].key] = chosen[CHOSEN[name]][CHOSEN[name].key]
            elif name == UNREAD:
                read = {key: value for each in chosen.values() for key, value in each.items() if key not in flat}
                flat |= _defaults() | self.unread | read
            elif name in own:
                flat[name] = own[name]
        if info.exclude_defaults:
            usual = _defaults() | {registry.key: registry.default for registry in CHOSEN.values()}
            return {key: value for key, value in flat.items() if key not in usual or value != usual[key]}
        return flat


def in_file(keys: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The place of a value in a file, from the one in the model."""
    beside = len(keys) > 2 and keys[0] == "search" and keys[1] in (*CHOSEN, UNREAD)
    return (keys[0], *keys[2:]) if beside else keys
