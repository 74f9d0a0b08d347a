"""Does as the fix of a problem says, where a program can: for a fix that is offered must hold."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

from orchestrator.files import plain_yaml
from orchestrator.files.plain_yaml import NotPlain

RENAME = re.compile(r"did you mean (\S+)\?")
NEAREST = re.compile(r"the nearest valid value is (\S+)|degrees\? \S+ = (\S+) rad")
KEY_VALUE = re.compile(r"([a-z_.]+): ([\w.+-]+)( or less)?")
KNOWN = re.compile(r"there are (\w+)(, .*)?")
IN_RANGE = re.compile(r"must be (?:greater|less) than( or equal to)? (\S+)")
EXAMPLES: dict[str, Any] = {
    "write true or false": True,
    "write a text": "text",
    "write a shorter one": "text",
    "remove them": "text",
    "write something like my-study": "my-study",
    "write a whole number, without quotes or a point": 20,
    "write a whole number, or auto": 20,
    "write a number, without quotes": 1.5,
    "write a number": 0.02,
    "write {min: 0.1, max: 0.5}": {"min": 0.1, "max": 0.5},
    "write {values: [0.1, 0.2]}": {"values": [0.1, 0.2]},
    "write 0.3, {values: [a, b]} or {min: 0.1, max: 0.5}": {"min": 0.1, "max": 0.5},
    "write keys below it, one a line": {},
    "write 0, or 0.0001": 0.0001,
}
DISTRIBUTION = ("distribution", "min", "max", "q")


def repaired(content: dict[str, Any], place: str, rule: str, fix: str) -> Iterator[dict[str, Any]]:
    """The study as each way that the fix offers would have it; none where only a person can tell."""
    if fix in EXAMPLES:
        yield from _changed(content, {place: EXAMPLES[fix]})
    elif fix == "write a number in that range":
        if found := IN_RANGE.fullmatch(rule):
            yield from _changed(content, {place: _value(found[2]) - (not found[1])})
    elif found := RENAME.fullmatch(fix) or KNOWN.fullmatch(fix):
        if rule.startswith("must be"):
            yield from _changed(content, {place: found[1]})
        else:
            yield from _renamed(content, place, found[1])
    elif found := NEAREST.fullmatch(fix):
        if not isinstance(_at(content, place), dict | list):
            yield from _changed(content, {place: _value(found[1] or found[2])})
    elif fix.startswith(("write ", "remove it, or ", "remove path, or ")):
        for way in fix.split(", or "):
            yield from _way(content, place, way.removeprefix("write "))


def _way(content: dict[str, Any], place: str, way: str) -> Iterator[dict[str, Any]]:
    if found := [KEY_VALUE.fullmatch(part) for part in way.split(", ")]:
        changes = {_near(content, place, each[1]): _value(each[2]) for each in found if each}
        if len(changes) == len(found):
            yield from _changed(content, changes)
    if way in ("remove it", "remove path"):
        yield from _changed(content, {place: None})
    if alone := re.fullmatch(r"([\d.e+-]+|\[accuracy.*\]|[A-Z]{3})( or less)?", way):
        yield from _changed(content, {place: _value(alone[1])})


def _near(content: dict[str, Any], place: str, key: str) -> str:
    """The place of a key that a fix names: in the distribution that is refused, else beside it."""
    inside = isinstance(_at(content, place), dict) and key in DISTRIBUTION
    return key if "." in key else f"{place if inside else place.rpartition('.')[0]}.{key}".lstrip(".")


def _value(text: str) -> Any:
    return plain_yaml.parse(text).content


def _at(content: Any, place: str) -> Any:
    holder, key = _holder(content, place)
    return holder.get(key) if holder is not None else None


def _changed(content: dict[str, Any], changes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    content = copy.deepcopy(content)
    for place, value in changes.items():
        holder, key = _holder(content, place)
        if holder is None:
            return
        holder[key] = value
        if value is None:
            del holder[key]
    yield content


def _renamed(content: dict[str, Any], place: str, new: str) -> Iterator[dict[str, Any]]:
    content = copy.deepcopy(content)
    holder, key = _holder(content, place)
    if holder is not None and key in holder and new not in holder:
        holder[new] = holder.pop(key)
        yield content


def _holder(content: Any, place: str) -> tuple[dict[str, Any] | None, str]:
    """The mapping in which the last key of a place is; a key may have points in it."""
    keys = place.split(".")
    while isinstance(content, dict):
        size = next((size for size in range(len(keys), 0, -1) if ".".join(keys[:size]) in content), 0)
        if size in (0, len(keys)):
            return (content, ".".join(keys)) if size or len(keys) == 1 else (None, "")
        content, keys = content[".".join(keys[:size])], keys[size:]
    return None, ""


def parsed(text: str) -> Any:
    """What the study says, or None where that is no plain YAML."""
    try:
        return plain_yaml.parse(text).content
    except NotPlain:
        return None
