"""A study's YAML file: reading it, overriding it, and saying exactly what is wrong with it.

YAML 1.2, so that 1e-3 is a number. Problems are collected, not thrown one at a time.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from orchestrator.errors import Problem, StudyError, did_you_mean
from orchestrator.study import AUTO, MOST_SEARCHED, Section, Study
from search_spaces import STUDIES, parameters
from search_spaces.heads import HEADS, TRAINING, Setting, settings_of

Keys = tuple[str | int, ...]

FIXES = {
    "int_type": "write a whole number, without quotes or a point",
    "float_type": "write a number, without quotes",
    "string_type": "write a text",
    "bool_type": "write true or false",
    "dict_type": "write keys below it, one a line",
    "model_type": "write keys below it, one a line",
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
    else:
        problems = _meaning(study)
    if problems:
        raise StudyError([_located(problem, written, changed) for problem in problems], str(path))
    if study.data.path is not None:
        absolute = str((path.parent / study.data.path).resolve())
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
    path = Path(source)
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
        problem = Problem(
            "YAML", "the file must be valid YAML", said, "mend this line", mark.line + 1 if mark else None
        )
        raise StudyError([problem], str(path)) from error
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise StudyError([Problem("YAML", "the file must be readable YAML in UTF-8", str(error))], str(path)) from error
    if not isinstance(written, dict):
        fix = "begin with name: and heads:"
        raise StudyError([Problem("the whole file", "a study is a mapping of keys", repr(written), fix, 1)], str(path))
    return written


def _plain(node: Any) -> Any:
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
        return tuple(place.split(".")), YAML(typ="safe").load(text)
    except YAMLError as error:
        raise StudyError([Problem(f"--set {override}", "the value must be valid YAML", text)]) from error


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
    rule = details["msg"].replace("Input should be", "must be").replace("Field required", "is required")
    fix = FIXES.get(kind, "")
    if kind == "extra_forbidden":
        rule, fix = (
            f"there is no such key in {'.'.join(map(str, keys[:-1])) or 'a study'}",
            did_you_mean(keys[-1], _known(keys[:-1])),
        )
    elif kind == "missing":
        fix = f"add {keys[-1]}:" + (" with the heads to search, such as arcface:" if keys[-1] == "heads" else "")
        return Problem(place, "is required", "missing", fix)
    elif kind == "literal_error":
        known = [word.strip(" '") for word in context["expected"].replace(" or ", ",").split(",")]
        fix = did_you_mean(details["input"], known)
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
    return Problem(place, rule, _shown(details["input"]), fix)


def _known(keys: Keys) -> Iterable[str]:
    """The keys that may stand at a place of a study."""
    model: Any = Study
    for key in keys:
        model = model.model_fields[str(key)].annotation
    return model.model_fields if isinstance(model, type) and issubclass(model, BaseModel) else Section.model_fields


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def _meaning(study: Study) -> list[Problem]:
    """Problems that lie between the keys: heads, settings, units, and what excludes what."""
    problems = []
    for head, block in study.heads.items():
        if head not in HEADS:
            problems.append(Problem(f"heads.{head}", "there is no such head", head, did_you_mean(head, HEADS)))
            continue
        settings = settings_of(head)
        for name, written in block.items():
            place = f"heads.{head}.{name}"
            if name not in settings:
                problems.append(Problem(place, f"{head} has no such setting", name, did_you_mean(name, settings)))
            else:
                problems += _values(place, settings[name], written)
    for name, setting in TRAINING.items():
        problems += _values(f"training.{name}", setting, getattr(study.training, name))
    return problems or [*_combinations(study), *_dimensions(study)]


def _values(place: str, setting: Setting, written: Any) -> list[Problem]:
    """Whether all values that a space can give make sense for the setting."""
    if written == AUTO:
        return []
    parameter = parameters.parse(written)
    values = (parameter.low, parameter.high) if isinstance(parameter, parameters.Range) else parameter.values
    refused = ((value, setting.refusal(value)) for value in values)
    return [Problem(place, said[0], _shown(value), said[1]) for value, said in refused if said][:1]


def _dimensions(study: Study) -> list[Problem]:
    """A search over too many parameters at once cannot be an equal contest."""
    problems = []
    for head, space in study.spaces(num_classes=10).items():
        searched = [name for name, item in space.items() if len(item.parameter.values) != 1]
        if len(searched) > MOST_SEARCHED:
            rule = f"a head searches at most {MOST_SEARCHED} parameters"
            fix = f"give one of them a constant, such as {searched[-1]}: {space[searched[-1]].start}"
            problems.append(Problem(f"heads.{head}", rule, ", ".join(searched), fix))
    return problems


def _combinations(study: Study) -> Iterable[Problem]:
    data, body, training, search = study.data, study.body, study.training, study.search
    if data.source == "idx" and data.path is None:
        yield Problem(
            "data.path",
            "an idx source needs the folder with its four files",
            "missing",
            "add path: below data:",
        )
    if data.source == "mnist" and data.path is not None:
        yield Problem("data.path", "mnist comes with the package", data.path, "remove path, or write source: idx")
    if body.name == "strided" and body.depth is not None:
        yield Problem(
            "body.depth",
            "depth belongs to the reference body",
            str(body.depth),
            "remove it, or name: reference",
        )
    if body.name == "reference" and body.width is not None:
        yield Problem("body.width", "width belongs to the strided body", str(body.width), "remove it, or name: strided")
    if search.grace_epochs > training.epochs:
        rule = f"grace_epochs is at most the number of epochs, {training.epochs}"
        yield Problem("search.grace_epochs", rule, str(search.grace_epochs), f"write {max(1, training.epochs // 3)}")
    if search.scheduler == "pbt" and search.searcher != "random":
        fix = "write searcher: random, or scheduler: asha"
        yield Problem("search.searcher", "pbt mutates a random population and takes no searcher", search.searcher, fix)
    if search.concurrent_trials == 0:
        yield Problem("search.concurrent_trials", "at least one trial runs at a time", "0", "write 1, or auto")
    if search.scheduler == "pbt" and search.trials_per_head < 2:
        yield Problem(
            "search.trials_per_head",
            "pbt needs a population of at least 2",
            str(search.trials_per_head),
            "write 4",
        )


def _located(problem: Problem, written: CommentedMap, changed: dict[Keys, str]) -> Problem:
    """The problem with its line, or with the --set that caused it."""
    keys = tuple(problem.place.split("."))
    for place, override in changed.items():
        if keys[: len(place)] == place or place[: len(keys)] == keys:
            return Problem(f"{problem.place} (--set {override})", problem.rule, problem.value, problem.fix)
    line: int | None = None
    node: Any = written
    for key in keys:
        if not isinstance(node, CommentedMap) or key not in node:
            break
        line, node = node.lc.key(key)[0] + 1, node[key]
    return Problem(problem.place, problem.rule, problem.value, problem.fix, line)
