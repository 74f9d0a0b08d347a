"""What pydantic found wrong with a study, in the words of a study: place, rule, value and a fix that holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from lightning_modules import objectives
from orchestrator.errors import Problem, did_you_mean, shown
from orchestrator.study.choices import as_written, choice_at
from orchestrator.study.search_section import Search, in_file
from search_spaces.heads import HEADS, is_head

FIXES = {
    "int_type": "write a whole number, without quotes or a point",
    "float_type": "write a number, without quotes",
    "finite_number": "write a number",
    "string_type": "write a text",
    "bool_type": "write true or false",
    "dict_type": "write keys below it, one a line",
    "model_type": "write keys below it, one a line",
    "model_attributes_type": "write keys below it, one a line",
    "list_type": "write a list, such as [1, 2]",
    "invalid_key": "write it as a text",
    "too_long": "leave some out",
    "string_too_long": "write a shorter one",
    "string_too_short": "write a text",
    "string_pattern_mismatch": "write something like my-study",
}
RULES = {
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "model_attributes_type": "must be a mapping of keys",
    "too_short": "must name at least one",
    "too_long": "must have at most {max_length} entries",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "missing": "is required",
    "invalid_key": "a key must be a text",
    "string_pattern_mismatch": "a name has small letters, digits, '.', '_' and '-', at most 64",
}
ADDED = {"name": " my-study", "heads": " with the heads to search, such as arcface:"}


def translated(details: ErrorDetails, model: type[BaseModel]) -> Problem:
    """What pydantic found, in the words of a study. model: what the whole file was read as."""
    keys, kind = in_file(as_written(details["loc"], model)), details["type"]
    loc, details = details["loc"], {**details, "loc": keys}
    if (kind.startswith("union_tag") or kind == "extra_forbidden") and (problem := _of_choice(details, model)):
        return problem
    rule = details["msg"].replace("Input should be", "must be")
    if kind in RULES:
        rule = RULES[kind].format(**details.get("ctx") or {})
    if kind == "missing":
        return _missing(loc, keys, rule, model)
    if kind == "extra_forbidden":
        rule = f"there is no such key in {_place(keys[:-1]) or 'a study'}"
    return Problem(_place(keys), rule, shown(details["input"]), _fix(details, model))


def _missing(loc: tuple[str | int, ...], keys: tuple[str | int, ...], rule: str, model: type[BaseModel]) -> Problem:
    """A key that must be given, with what its field says of it. loc: the place as pydantic has it."""
    place, key, choice = _place(keys), keys[-1], choice_at(model, str(keys[0]))
    if choice is None or len(loc) < 3:
        return Problem(place, rule, "missing", f"add {key}:{ADDED.get(str(key), '')}")
    field = choice.models[str(loc[1])].model_fields[str(key)]
    said = f"the {loc[1]} {choice.registry.noun} needs {field.description or 'it'}"
    return Problem(place, said, "missing", f"add {key}: below {keys[0]}:")


def _of_choice(details: ErrorDetails, model: type[BaseModel]) -> Problem | None:
    """What is wrong with a section that is one of several: there is no such one, or a key is another's."""
    section, *below = map(str, details["loc"])
    choice, given = choice_at(model, section), details["input"]
    if choice and not below:
        name, known = given.get(choice.key), [*choice.models]
        rule = f"must be {', '.join(map(repr, known[:-1]))} or {known[-1]!r}"
        return Problem(f"{section}.{choice.key}", rule, shown(name), did_you_mean(name, known))
    if choice and len(below) == 1 and (owners := choice.owners(below[0])):
        rule = f"{below[0]} belongs to the {' or '.join(owners)} {choice.registry.noun}"
        fix = f"remove it, or write {choice.key}: {owners[0]}"
        return Problem(_place(details["loc"]), rule, shown(given), fix)
    return None


def _place(keys: Iterable[str | int]) -> str:
    return ".".join(map(str, keys))


def _fix(details: ErrorDetails, model: type[BaseModel]) -> str:
    keys, kind, context, given = details["loc"], details["type"], details.get("ctx") or {}, details["input"]
    if kind == "extra_forbidden":
        return _known_key(keys, model)
    if kind == "literal_error":
        return did_you_mean(given, [word.strip(" '") for word in context["expected"].replace(" or ", ",").split(",")])
    if kind == "space":
        return str(context["fix"])
    if kind.startswith(("greater_than", "less_than")):
        return "write a number in that range"
    if kind == "too_short":
        return f"name at least one of {', '.join(HEADS)}" if keys == ("heads",) else f"write [{objectives.names()[0]}]"
    if keys == ("heads",) and isinstance(given, list) and _are_heads(given):
        return "write heads: {" + ", ".join(f"{head}: " for head in given) + "}"
    return FIXES.get(kind, "")


def _are_heads(given: list[Any]) -> bool:
    named = [each for each in given[:100] if isinstance(each, str) and is_head(each)]
    return 0 < len(given) == len({*named})


def _known_key(keys: tuple[str | int, ...], model: type[BaseModel]) -> str:
    """A key that may stand there in place of an unknown one."""
    section, dot, key = str(keys[-1]).partition(".")
    if len(keys) == 1 and dot and section in model.model_fields:
        below = {*_known((section,), model)}
        return f"write {key}: below {section}:" if key in below else f"below {section}: {did_you_mean(key, below)}"
    return did_you_mean(keys[-1], _known(keys[:-1], model))


def _known(keys: Iterable[str | int], root: type[BaseModel]) -> Iterable[str]:
    """The keys that may stand at a place of a study."""
    model: Any = root
    for key in keys:
        if model is root and (choice := choice_at(root, str(key))):
            return {name for each in choice.models.values() for name in each.model_fields}
        fields = getattr(model, "model_fields", None)
        model = fields[str(key)].annotation if fields else get_args(model)[-1]  # of a mapping, what its keys hold
    if model is Search:
        return Search.written_keys()
    return model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else ()
