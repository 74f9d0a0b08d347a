"""What the nodes of a YAML text become: plain values, and nothing that a tag could make of them.

Plain are texts, numbers, true, false, nothing, lists, and mappings with texts as keys; anchors, aliases and merge keys
stand for copies of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orchestrator.errors import Problem, shown

MOST_VALUES = 20_000  # keys included; so many are read in about a second
MOST_DEPTH = 32  # a study has five levels
MOST_DIGITS = 100  # of one number
TAG = "tag:yaml.org,2002:"
MERGE = "<<"


class NotPlain(Exception):
    """A text that is no such YAML, with everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def too_much(rule: str, value: str, fix: str, line: int) -> NotPlain:
    """The refusal of a text that goes beyond a bound."""
    return NotPlain([Problem("YAML", rule, value, fix, line)])


def too_deep(line: int) -> NotPlain:
    """The refusal of a text whose values lie too deep."""
    return too_much(f"values lie at most {MOST_DEPTH} levels deep", "deeper", "nest less", line)


class Builder:
    """Makes plain values of nodes, a copy for each alias, and notes the line of every place."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.origins: dict[str, int] = {}
        self.problems: list[Problem] = []
        self._built: set[int] = set()
        self._open: set[int] = set()
        self._values = 0

    def value(self, node: Node, place: str, copied_to: int | None) -> Any:
        """What a node says. copied_to: the line of the alias or the merge key that stands for it, if one does."""
        self._values, line = self._values + 1, copied_to or line_of(node)
        if self._values > MOST_VALUES:
            raise too_much(f"aliases stand for at most {MOST_VALUES:,} values", "more", "write less of them", line)
        if isinstance(node, ScalarNode):
            return self._scalar(node, place)
        if str(node.tag) not in (TAG + "map", TAG + "seq"):
            return self._odd_tag(node, place)
        if id(node) in self._open:
            raise too_much("an alias stands for nothing that it is itself in", place, "write it out", line)
        if len(self._open) == MOST_DEPTH:  # aliases in what aliases stand for
            raise too_deep(line)
        self._open.add(id(node))
        made = (self._mapping if isinstance(node, MappingNode) else self._list)(node, place, copied_to)
        self._open.remove(id(node))
        self._built.add(id(node))
        return made

    def _list(self, node: Node, place: str, copied_to: int | None) -> list[Any]:
        return [self._entry(_below(place, number), each, each, copied_to) for number, each in enumerate(node.value)]

    def _mapping(self, node: Node, place: str, copied_to: int | None) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged = []
        for key_node, value in node.value:
            key = self._key(key_node, place)
            if key == MERGE and str(key_node.tag) == TAG + "merge":
                merged.append((key_node, value))
            elif key in found:
                rule, said = "the file must be valid YAML", f'found duplicate key "{key}"'
                self._refuse(key_node, "YAML", rule, said, "remove one of the two")
            elif key is not None:
                found[key] = self._entry(_below(place, key), key_node, value, copied_to)
        for key_node, value in merged:
            for each in value.value if isinstance(value, SequenceNode) else [value]:
                found = self._merged(key_node, each, place, copied_to) | found
        return found

    def _merged(self, key_node: Node, node: Node, place: str, copied_to: int | None) -> dict[str, Any]:
        """The keys that `<<` takes over; what is written beside it, or in an earlier one, goes before."""
        taken = self.value(node, place, copied_to or line_of(key_node))
        if isinstance(taken, dict):
            return taken
        rule, fix = f"{MERGE} takes over the keys of a mapping", "write <<: *name for a mapping with &name"
        self._refuse(key_node, _below(place, MERGE), rule, shown(taken), fix)
        return {}

    def _entry(self, place: str, marked: Node, node: Node, copied_to: int | None) -> Any:
        """What stands at a place, noted with the line of its key, or of the alias or merge key that stands for it."""
        origin = line_of(marked) if copied_to else None
        if copied_to is None and id(node) in self._built:
            copied_to, origin = line_of(marked), line_of(node)
        if place not in self.lines:
            self.lines[place] = copied_to or line_of(marked)
            self.origins |= {place: origin} if origin else {}
        return self.value(node, place, copied_to)

    def _key(self, node: Node, place: str) -> str | None:
        kind = str(node.tag).removeprefix(TAG)
        if isinstance(node, ScalarNode) and kind in TEXTS:
            return self._scalar(node, place)  # type: ignore[no-any-return]
        said = str(node.value) if isinstance(node, ScalarNode) else "a list" if kind == "seq" else "a mapping"
        rule, fix = "a key must be a text", "write it as a text, in quotes"
        self._refuse(node, _below(place, said or "an empty key"), rule, shown(said), fix)
        return None

    def _scalar(self, node: ScalarNode, place: str) -> Any:
        kind = str(node.tag).removeprefix(TAG)
        if kind not in READ:
            return self._odd_tag(node, place)
        read, what = READ[kind]
        try:
            return read(str(node.value))
        except ValueError:
            return self._refuse(node, place, f"must be {what}", shown(node.value), f"write {what}")

    def _odd_tag(self, node: Node, place: str) -> None:
        tag = str(node.tag).replace(TAG, "!!")
        rule = "values are texts, numbers, true, false, lists and mappings of keys"
        self._refuse(node, place, rule, tag, f"remove {tag}")

    def _refuse(self, node: Node, place: str, rule: str, value: str, fix: str) -> None:
        self.problems.append(Problem(place or "the whole file", rule, value, fix, line_of(node)))


def _below(place: str, key: object) -> str:
    return f"{place}.{key}" if place else str(key)


def line_of(marked: Any) -> int:
    """The line, from 1, on which a node or an event begins."""
    return int(marked.start_mark.line) + 1


def _text(written: str) -> str:
    written.encode()  # half a character, as the escape \ud800 makes one, is a ValueError
    return written


def _nothing(written: str) -> None:
    if written.lower() not in ("", "~", "null"):
        raise ValueError(written)


def _truth(written: str) -> bool:
    if written.lower() not in ("true", "false"):
        raise ValueError(written)
    return written.lower() == "true"


def _whole(written: str) -> int:
    digits = _digits(written)
    bases = {"0b": 2, "0o": 8, "0x": 16}
    return int(digits, bases.get(digits.lstrip("+-")[:2], 10))


def _number(written: str) -> float:
    return float(_digits(written).replace(".inf", "inf").replace(".nan", "nan"))


def _digits(written: str) -> str:
    if len(written) > MOST_DIGITS:
        raise ValueError(written)
    return written.replace("_", "").lower()


TEXTS = ("str", "timestamp", "value", "merge")  # a date is no more than the text that it is written as
READ: dict[str, tuple[Callable[[str], Any], str]] = {
    **dict.fromkeys(TEXTS, (_text, "a text of whole characters")),
    "null": (_nothing, "empty"),
    "bool": (_truth, "true or false"),
    "int": (_whole, f"a whole number of at most {MOST_DIGITS} digits"),
    "float": (_number, f"a number of at most {MOST_DIGITS} digits"),
}
