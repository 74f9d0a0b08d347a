"""Configurations of a head: values for the settings of its space, of which a condition leaves some out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from search_spaces.distributions import Parameter, Range, Value
from search_spaces.heads import settings_of
from search_spaces.settings import Role

Params = dict[str, Any]  # the settings of a trial, by name


@dataclass(frozen=True)
class Searched:
    """One parameter of one head, ready to be searched.

    when: read only if that other one has that value. role: what it does in the loss, as `settings` says.
    """

    parameter: Parameter
    start: Value
    reason: str
    when: tuple[str, Value] | None = None
    role: Role | None = None


Space = Mapping[str, Searched]


def active(space: Space, choose: Callable[[str, Parameter], Any]) -> Params:
    """Values for all parameters that are read, in order; choose(name, parameter) gives one."""
    params: Params = {}
    for name, item in space.items():
        if item.when is None or params.get(item.when[0]) == item.when[1]:
            params[name] = choose(name, item.parameter)
    return params


def starting_point(space: Space) -> Params:
    """The defaults of every parameter: what the first trial of a head takes."""
    return active(space, lambda name, parameter: space[name].start)


def config_key(params: Params) -> tuple[tuple[str, str], ...]:
    """What tells configurations apart: six digits of every number, so that rounding makes no new one."""
    written = ((name, f"{value:.6g}" if isinstance(value, float) else str(value)) for name, value in params.items())
    return tuple(sorted(written))


def with_implied_settings(head: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a head as they were given; one that is read on a condition, such as a scale, also means that."""
    known = settings_of(head)
    conditions = dict(when for name in given if name in known and (when := known[name].when))
    return {**conditions, **given}


def nearest(parameter: Parameter, default: Value) -> Value:
    """The default where a space holds it, else what comes nearest to it."""
    if parameter.contains(default):
        return default
    if isinstance(parameter, Range) and isinstance(default, int | float):
        return parameter.clipped(default)
    numbers = [each for each in parameter.values if isinstance(each, int | float) and not isinstance(each, bool)]
    if numbers and isinstance(default, int | float):
        return min(numbers, key=lambda each: abs(each - default))
    return parameter.values[0]
