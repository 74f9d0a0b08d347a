"""The losses of pytorch-metric-learning as its source tells them: their constructors' numbers, without importing it.

Importing that package loads torch; a study must be checked in a fraction of a second.
"""

from __future__ import annotations

import ast
import functools
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from search_spaces.distributions import Value

SUPPLIED = ("num_classes", "embedding_size", "descriptors_dim")  # what a head knows of its data
IDLE = ("embedding_reg_weight", "weight_reg_weight")  # read only beside a regulariser, an object


@dataclass(frozen=True)
class Constructor:
    """What a loss takes. defaults: its numbers, texts and truth values; needs: of SUPPLIED, what it cannot do without.

    required: what else has no default. choices: the texts that its class lists, where it lists the default among them.
    """

    defaults: dict[str, Value]
    needs: tuple[str, ...]
    required: tuple[str, ...]
    choices: dict[str, tuple[str, ...]]


def folder() -> Path | None:
    """The folder of the installed package's losses; None where it is not installed."""
    spec = find_spec("pytorch_metric_learning")
    found = list(spec.submodule_search_locations or []) if spec else []
    return Path(found[0], "losses") if found else None


def exported(losses: Path) -> dict[str, Path]:
    """The file of each class that the package's `losses` offer."""
    found: dict[str, Path] = {}
    for node in _parsed(losses / "__init__.py").body:
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            found |= {alias.name: losses / f"{node.module}.py" for alias in node.names}
    return found


@functools.cache
def constructor(losses: Path, name: str) -> Constructor:
    """What the loss `name` takes, with what it passes on to its bases."""
    taken = _taken(losses, name)
    scalar = {key: value for key, value in taken.items() if isinstance(value, bool | int | float | str)}
    defaults = {key: value for key, value in scalar.items() if key not in (*SUPPLIED, *IDLE)}
    required = [key for key, value in taken.items() if value is ...]
    return Constructor(
        defaults=defaults,
        needs=tuple(key for key in SUPPLIED if key in required),
        required=tuple(key for key in required if key not in SUPPLIED),
        choices=_choices(_class(losses, name), defaults),
    )


def _taken(losses: Path, name: str) -> dict[str, object]:
    """Every parameter with its default: ... where there is none, None where it is no plain value."""
    if name not in exported(losses):
        return {}
    node = _class(losses, name)
    own = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
    taken, passes_on = _arguments(own) if own else ({}, True)
    if passes_on:
        settled = _passed_to_super(own) - {*SUPPLIED} if own else set[str]()
        for base in node.bases:
            inherited = _taken(losses, base.id) if isinstance(base, ast.Name) else {}
            taken |= {key: value for key, value in inherited.items() if key not in taken and key not in settled}
    return taken


def _arguments(init: ast.FunctionDef) -> tuple[dict[str, object], bool]:
    """The parameters of a constructor with their defaults, and whether it takes others for its base."""
    positional = init.args.args[1:]
    defaults = [*[None] * (len(positional) - len(init.args.defaults)), *init.args.defaults]
    pairs = [*zip(positional, defaults, strict=True), *zip(init.args.kwonlyargs, init.args.kw_defaults, strict=True)]
    return {argument.arg: _value(default) for argument, default in pairs}, init.args.kwarg is not None


def _value(default: ast.expr | None) -> object:
    if default is None:
        return ...
    try:
        return ast.literal_eval(default)
    except ValueError:
        return None


def _passed_to_super(init: ast.FunctionDef) -> set[str]:
    """The names that a constructor gives to its base itself, which a caller therefore cannot give."""
    calls = (node for node in ast.walk(init) if isinstance(node, ast.Call))
    inits = (call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "__init__")
    return {keyword.arg for call in inits for keyword in call.keywords if keyword.arg}


def _choices(node: ast.ClassDef, defaults: dict[str, Value]) -> dict[str, tuple[str, ...]]:
    lists = [_value(each.value) for each in node.body if isinstance(each, ast.Assign)]
    texts = {key: value for key, value in defaults.items() if isinstance(value, str)}
    return {
        key: tuple(known)
        for key, value in texts.items()
        for known in lists
        if isinstance(known, list) and value in known
    }


def _class(losses: Path, name: str) -> ast.ClassDef:
    body = _parsed(exported(losses)[name]).body
    return next(node for node in body if isinstance(node, ast.ClassDef) and node.name == name)


@functools.cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))
