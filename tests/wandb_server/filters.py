"""Which runs a filter in MongoDB's manner lets through, and in which order. What it does not know is an error."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from tests.wandb_server.state import Run

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "$eq": lambda value, operand: value == operand,
    "$ne": lambda value, operand: value != operand,
    "$in": lambda value, operand: value in operand,
    "$nin": lambda value, operand: value not in operand,
    "$gt": lambda value, operand: value is not None and value > operand,
    "$gte": lambda value, operand: value is not None and value >= operand,
    "$lt": lambda value, operand: value is not None and value < operand,
    "$lte": lambda value, operand: value is not None and value <= operand,
    "$exists": lambda value, operand: (value is not None) == operand,
    "$regex": lambda value, operand: re.search(operand, str(value or "")) is not None,
}
FIELDS: dict[str, Callable[[Run], Any]] = {
    "name": lambda run: run.id,  # W&B's word for the id
    "display_name": lambda run: run.name,
    "displayName": lambda run: run.name,
    "group": lambda run: run.group,
    "job_type": lambda run: run.job_type,
    "jobType": lambda run: run.job_type,
    "state": lambda run: run.state,
    "sweep": lambda run: run.sweep,
    "tags": lambda run: run.tags,
    "created_at": lambda run: (run.created, run.number),
    "createdAt": lambda run: (run.created, run.number),
    "heartbeat_at": lambda run: (run.heartbeat, run.number),
}


def passes(run: Run, condition: dict[str, Any] | None) -> bool:
    for key, wanted in (condition or {}).items():
        if key == "$and":
            passed = all(passes(run, each) for each in wanted)
        elif key == "$or":
            passed = any(passes(run, each) for each in wanted)
        elif key in ("$nor", "$not"):
            passed = not any(passes(run, each) for each in (wanted if key == "$nor" else [wanted]))
        else:
            passed = _fits(_value(run, key), wanted)
        if not passed:
            return False
    return True


def ordered(runs: Iterable[Run], order: str | None) -> list[Run]:
    """order: a field with + before it, or - for the greatest first; runs without the field come last."""
    order = order or "+created_at"
    key = order.lstrip("+-")
    known = [(run, _value(run, key)) for run in runs]
    first = sorted(
        ((run, value) for run, value in known if value is not None),
        key=lambda pair: pair[1],
        reverse=order.startswith("-"),
    )
    return [run for run, _ in first] + [run for run, value in known if value is None]


def _fits(value: Any, wanted: Any) -> bool:
    values = value if isinstance(value, list) else [value]  # of tags, any may fit
    if isinstance(wanted, dict):
        return all(any(OPERATORS[name](each, operand) for each in values) for name, operand in wanted.items())
    return wanted == value or wanted in values


def _value(run: Run, key: str) -> Any:
    if key in FIELDS:
        return FIELDS[key](run)
    part, _, rest = key.partition(".")
    if part not in ("config", "summary_metrics"):
        raise KeyError(f"no filter or order by {key} is known here")
    holder: Any = run.config if part == "config" else run.summary
    if rest in holder:  # names may have dots of their own
        return holder[rest]
    for name in rest.split("."):
        if isinstance(holder, dict) and name in holder:
            holder = holder[name]
        elif name != "value":  # the protocol wraps a setting: config.scale.value
            return None
    return holder
