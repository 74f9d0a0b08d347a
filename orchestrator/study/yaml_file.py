"""A study's YAML file: reading it, overriding it, and saying exactly what is wrong with it.

Problems are collected, not thrown one at a time.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from lightning_modules.data.sources.base import FolderSource
from orchestrator.errors import MOST_PROBLEMS, Problem, StudyError, first, shown
from orchestrator.files import plain_yaml
from orchestrator.files.paths import local
from orchestrator.files.plain_yaml import Written
from orchestrator.files.yaml_values import NotPlain
from orchestrator.study import validation
from orchestrator.study.field_types import AUTO
from orchestrator.study.messages import translated
from search_spaces import STUDIES
from search_spaces.pml import PREFIX

if TYPE_CHECKING:
    from orchestrator.study.schema import Study

Keys = tuple[str, ...]
MOST_KEYS = 20  # of the place of an override; a study's are five at most


def load(model: type[Study], source: str | Path, overrides: Iterable[str] = ()) -> Study:
    """The study in the file `source`, or the shipped one of that name. Raises StudyError."""
    path = _find(source)
    written, changed = _parse(path), {}
    plain: dict[str, Any] = written.content
    for override in overrides:
        place, value = _split(override)
        _put(plain, place, value, override)
        changed[place] = override
    heads = plain.get("heads")
    if isinstance(heads, dict):
        plain["heads"] = {head: {} if block in (None, AUTO) else block for head, block in heads.items()}
    try:
        study = model.model_validate(plain)
    except ValidationError as error:
        typed = (translated(each, model) for each in error.errors()[:MOST_PROBLEMS])
        problems = first([*typed, *validation.alone(plain)])
    else:
        problems = validation.problems(study)
    if problems:
        raise StudyError([_located(problem, written, changed) for problem in problems], str(path))
    if isinstance(study.data, FolderSource):
        base = Path() if ("data", "path") in changed else path.parent  # an override is relative to where it is typed
        try:
            absolute = os.path.realpath(local(base / local(study.data.path, "data.path"), "data.path"))
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
    path, found = local(source, "STUDY"), "no such file"
    try:
        if path.is_file():
            return path
        named = STUDIES / f"{source}.yaml"
        if path.name == str(source) and named.is_file():
            return named
        found = "a folder" if path.is_dir() else "no regular file" if path.exists() else found
    except OSError as error:  # a name that is too long, a folder that is closed
        found = error.strerror or str(error)
    fix = f"give a path to a YAML file, or a shipped study: {', '.join(shipped())}"
    raise StudyError([Problem(str(source), "a study is a YAML file or a shipped study's name", found, fix)])


def _parse(path: Path) -> Written:
    try:
        written = plain_yaml.parse(plain_yaml.read(path))
    except NotPlain as error:
        raise StudyError(error.problems, str(path)) from error
    if not isinstance(written.content, dict):
        said = "nothing" if written.content is None else shown(written.content)
        fix = "begin with name: and heads:"
        raise StudyError([Problem("the whole file", "a study is a mapping of keys", said, fix, 1)], str(path))
    return written


def _split(override: str) -> tuple[Keys, Any]:
    place, equals, text = override.partition("=")
    if not equals or not place:
        raise _refused(override, "an override is path=value", "", "write --set training.epochs=3")
    keys = _keys(place)
    if not all(keys) or len(keys) > MOST_KEYS:
        rule = f"a path is keys with points between them, {MOST_KEYS} at most"
        raise _refused(override, rule, shown(place), "write --set training.epochs=3")
    try:
        return keys, plain_yaml.parse(text).content
    except NotPlain as error:
        problems = error.problems
    raise StudyError(
        Problem(f"--set {override}", f"the value must be valid YAML: {each.rule}", each.value, each.fix)
        for each in problems
    )


def _refused(override: str, rule: str, value: str, fix: str) -> StudyError:
    return StudyError([Problem(f"--set {override}", rule, value, fix)])


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
        child = tree.get(key)
        if child is None or child == AUTO:
            child = tree[key] = {}
        if not isinstance(child, dict):
            rule = f"{'.'.join(place[: depth + 1])} holds a {'list' if isinstance(child, list) else 'value'}, not keys"
            raise _refused(override, rule, shown(child), "override the value itself")
        tree = child
    tree[place[-1]] = value


def _located(problem: Problem, written: Written, changed: dict[Keys, str]) -> Problem:
    """The problem with its line, or with the --set that caused it."""
    keys = problem.place.split(".")
    for changed_keys, override in changed.items():
        changed_parts = ".".join(changed_keys).split(".")
        if keys[: len(changed_parts)] == changed_parts or changed_parts[: len(keys)] == keys:
            return replace(problem, place=f"{problem.place} (--set {override})")
    nearest = next((key for size in range(len(keys), 0, -1) if (key := ".".join(keys[:size])) in written.lines), "")
    origin = written.origins.get(nearest)
    place = f"{problem.place} (a copy from line {origin})" if origin else problem.place
    return replace(problem, place=place, line=written.lines.get(nearest))
