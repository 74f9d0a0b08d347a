"""A study's YAML file: reading it, overriding it, and saying exactly what is wrong with it.

YAML 1.2, so that 1e-3 is a number. Problems are collected, not thrown one at a time.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from orchestrator import study_rules
from orchestrator.errors import Problem, StudyError, did_you_mean, shown
from orchestrator.places import local
from orchestrator.study import AUTO, Section, Study
from search_spaces import STUDIES
from search_spaces.heads import HEADS
from search_spaces.metric_learning import PREFIX

Keys = tuple[str | int, ...]

FIXES = {
    "int_type": "write a whole number, without quotes or a point",
    "float_type": "write a number, without quotes",
    "finite_number": "write a number",
    "string_type": "write a text",
    "bool_type": "write true or false",
    "dict_type": "write keys below it, one a line",
    "model_type": "write keys below it, one a line",
    "invalid_key": "write it as a text",
}
RULES = {
    "dict_type": "must be a mapping of keys",
    "model_type": "must be a mapping of keys",
    "too_short": "must name at least one",
    "missing": "is required",
    "invalid_key": "a key must be a text",
    "string_pattern_mismatch": "a name has small letters, digits, '.', '_' and '-', at most 64",
}


def load(source: str | Path, overrides: Iterable[str] = ()) -> Study:
    """The study in the file `source`, or the shipped one of that name. Raises StudyError."""
    path = _find(source)
    written = _parse(path)
    plain = _plain(written)
    changed = {}
    for override in overrides:
        place, value = _split(override)
        _put(plain, place, value, override)
        changed[place] = override
    for head, block in (plain.get("heads") or {}).items() if isinstance(plain.get("heads"), dict) else ():
        plain["heads"][head] = {} if block is None or block == AUTO else block
    try:
        study = Study.model_validate(plain)
    except ValidationError as error:
        problems = [_translate(details) for details in error.errors()]
        heads = plain.get("heads")
        problems += study_rules.unknown_heads(heads) if isinstance(heads, dict) else []
    else:
        problems = study_rules.problems(study)
    if problems:
        raise StudyError([_located(problem, written, changed) for problem in problems], str(path))
    if study.data.path is not None:
        base = Path() if ("data", "path") in changed else path.parent  # an override is relative to where it is typed
        try:
            absolute = os.path.realpath(base / local(study.data.path, "data.path"))
        except StudyError as error:
            raise StudyError([_located(each, written, changed) for each in error.problems], str(path)) from error
        study = study.model_copy(update={"data": study.data.model_copy(update={"path": absolute})})
    return study


def dump(study: Study, comment: str = "") -> str:
    """YAML text of a study; `comment` lines go on top."""
    stream = io.StringIO()
    yaml = YAML(typ="rt")
    yaml.default_flow_style = False
    content = study.model_dump(exclude_none=True, exclude_defaults=True)
    yaml.dump({"name": study.name, **content}, stream)
    return "".join(f"# {line}\n" for line in comment.splitlines()) + stream.getvalue()


def shipped() -> list[str]:
    """The names of the studies that come with the package."""
    return sorted(path.stem for path in STUDIES.glob("*.yaml"))


def _find(source: str | Path) -> Path:
    path = local(source, "STUDY")
    if path.is_file():
        return path
    named = STUDIES / f"{source}.yaml"
    if path.name == str(source) and named.is_file():
        return named
    fix = f"give a path to a YAML file, or a shipped study: {', '.join(shipped())}"
    raise StudyError([Problem(str(source), "a study is a YAML file or a shipped study's name", "no such file", fix)])


def _parse(path: Path) -> Any:
    yaml = YAML(typ="rt")
    try:
        written = yaml.load(path.read_text(encoding="utf-8"))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        fix = "remove one of the two" if isinstance(error, DuplicateKeyError) else "mend this line"
        problem = Problem("YAML", "the file must be valid YAML", said, fix, mark.line + 1 if mark else None)
        raise StudyError([problem], str(path)) from error
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise StudyError([Problem("YAML", "the file must be readable YAML in UTF-8", str(error))], str(path)) from error
    if not isinstance(written, dict):
        fix = "begin with name: and heads:"
        raise StudyError([Problem("the whole file", "a study is a mapping of keys", repr(written), fix, 1)], str(path))
    return written


def _plain(node: Any) -> Any:
    if isinstance(node, ScalarBoolean):  # a truth value with an anchor, an int to Python
        return bool(node)
    if isinstance(node, Mapping):
        return {key: _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node


def _split(override: str) -> tuple[Keys, Any]:
    place, equals, text = override.partition("=")
    if not equals or not place:
        raise StudyError(
            [Problem(f"--set {override}", "an override is path=value", fix="write --set training.epochs=3")]
        )
    try:
        return _keys(place), YAML(typ="safe").load(text)
    except YAMLError as error:
        raise StudyError([Problem(f"--set {override}", "the value must be valid YAML", text)]) from error


def _keys(place: str) -> Keys:
    """The keys of a dotted place; the name of a loss, such as pml.SupConLoss, is one."""
    found: list[str] = []
    for key in place.split("."):
        if found and found[-1] + "." == PREFIX:
            found[-1] += "." + key
        else:
            found.append(key)
    return tuple(found)


def _put(tree: dict[str, Any], place: Keys, value: Any, override: str) -> None:
    for depth, key in enumerate(place[:-1]):
        child = tree.get(str(key))
        if child is None or child == AUTO:
            child = tree[str(key)] = {}
        if not isinstance(child, dict):
            rule = f"{'.'.join(map(str, place[: depth + 1]))} holds a value, not keys"
            raise StudyError([Problem(f"--set {override}", rule, repr(child), "override the value itself")])
        tree = child
    tree[str(place[-1])] = value


def _translate(details: ErrorDetails) -> Problem:
    """What pydantic found, in the words of a study."""
    keys, kind, context = details["loc"], details["type"], details.get("ctx") or {}
    place = ".".join(map(str, keys))
    rule = RULES.get(kind, details["msg"].replace("Input should be", "must be"))
    fix = FIXES.get(kind, "")
    if kind == "extra_forbidden":
        rule = f"there is no such key in {'.'.join(map(str, keys[:-1])) or 'a study'}"
        fix = did_you_mean(keys[-1], _known(keys[:-1]))
        section, dot, key = str(keys[-1]).partition(".")
        if dot and section in Study.model_fields:
            fix = f"write {key}: below {section}:"
    elif kind == "missing":
        fix = f"add {keys[-1]}:" + (" with the heads to search, such as arcface:" if keys[-1] == "heads" else "")
        return Problem(place, rule, "missing", fix)
    elif kind == "literal_error":
        known = [word.strip(" '") for word in context["expected"].replace(" or ", ",").split(",")]
        fix = did_you_mean(details["input"], known)
    elif place == "heads" and isinstance(details["input"], list):
        fix = "write heads: {" + ", ".join(f"{head}: " for head in details["input"]) + "}"
    elif kind == "space":
        fix = context["fix"]
    elif kind == "string_pattern_mismatch":
        rule, fix = (
            "a name has small letters, digits, '.', '_' and '-', at most 64",
            "write something like my-study",
        )
    elif kind.startswith(("greater_than", "less_than")):
        fix = "write a number in that range"
    elif kind == "too_short":
        fix = f"name at least one of {', '.join(HEADS)}"
    return Problem(place, rule, shown(details["input"]), fix)


def _known(keys: Keys) -> Iterable[str]:
    """The keys that may stand at a place of a study."""
    model: Any = Study
    for key in keys:
        fields = getattr(model, "model_fields", None)
        model = fields[str(key)].annotation if fields else get_args(model)[-1]  # of a mapping, what its keys hold
    return model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else Section.model_fields


def _located(problem: Problem, written: CommentedMap, changed: dict[Keys, str]) -> Problem:
    """The problem with its line, or with the --set that caused it."""
    keys = tuple(problem.place.split("."))
    for changed_keys, override in changed.items():
        place = tuple(".".join(map(str, changed_keys)).split("."))
        if keys[: len(place)] == place or place[: len(keys)] == keys:
            return Problem(f"{problem.place} (--set {override})", problem.rule, problem.value, problem.fix)
    line: int | None = None
    node: Any = written
    while keys and isinstance(node, CommentedMap):
        names = {tuple(str(key).split(".")): key for key in node}  # a key may hold dots, or be a number
        found = next((names[keys[:size]] for size in range(len(keys), 0, -1) if keys[:size] in names), None)
        if found is None:
            break
        line, node, keys = node.lc.key(found)[0] + 1, node[found], keys[str(found).count(".") + 1 :]
    return Problem(problem.place, problem.rule, problem.value, problem.fix, line)
