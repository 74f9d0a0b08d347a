"""Distributions of one parameter, written as in a W&B sweep.

    0.3                                                            a constant
    {value: 0.3}                                                   a constant
    {values: [semi_hard, batch_all]}                               a choice
    {min: 0.1, max: 0.5}                                           uniform (of integers, where both are integers)
    {distribution: uniform | int_uniform | log_uniform_values, min: …, max: …}
    {distribution: q_uniform, min: …, max: …, q: 0.05}             uniform in steps

The names and meanings are those of https://docs.wandb.ai/models/sweeps/sweep-config-keys#parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

Value = float | int | str | bool


def short(value: object) -> str:
    """A value as a person reads it: numbers with three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


class SpaceError(ValueError):
    """A distribution that makes no sense: which rule it breaks, and what to write instead."""

    def __init__(self, rule: str, fix: str) -> None:
        super().__init__(f"{rule}; {fix}")
        self.rule, self.fix = rule, fix


class Suggests(Protocol):
    """What a searcher's trial offers; Optuna's trials do."""

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None, log: bool) -> float: ...

    def suggest_int(self, name: str, low: int, high: int) -> int: ...

    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


@dataclass(frozen=True)
class Range:
    """Numbers from low to high, both included; `log` spreads them evenly over ratios, `step` over a raster."""

    low: float
    high: float
    log: bool = False
    integer: bool = False
    step: float | None = None

    @property
    def values(self) -> tuple[Value, ...]:
        return ()

    @property
    def is_constant(self) -> bool:
        return False

    def suggest(self, trial: Suggests, name: str) -> Value:
        if self.integer:
            return trial.suggest_int(name, int(self.low), int(self.high))
        return trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log)

    def grid(self, points: int) -> list[Value]:
        """`points` values from low to high, evenly spaced in the range's own measure."""
        if points == 1:
            raise ValueError("a grid over a range needs at least 2 points, but got 1")
        low, high = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        raw = [low + (high - low) * point / (points - 1) for point in range(points)]
        if self.log:
            return [self.low, *(math.exp(value) for value in raw[1:-1]), self.high]
        if self.integer:
            return sorted({round(value) for value in raw})
        if self.step:
            return sorted({self.low + self.step * round((value - self.low) / self.step) for value in raw})
        return [float(value) for value in raw]

    def contains(self, value: Value) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        if self.integer:
            return value == round(value)
        return self.step is None or _on_raster(value - self.low, self.step)

    def clipped(self, value: float) -> float:
        """The member of the range that is nearest to `value`."""
        inside = min(max(value, self.low), self.high)
        if self.integer:
            return round(inside)
        return min(self.low + self.step * round((inside - self.low) / self.step), self.high) if self.step else inside

    def nearest(self, value: float) -> str:
        """The member of the range that is nearest to `value`, with as few digits as are needed to lie in the range."""
        inside = self.clipped(value)
        written = (f"{inside:.{digits}g}" for digits in range(6, 18))
        return next((text for text in written if self.contains(float(text))), repr(inside))

    def to_wandb(self) -> dict[str, Any]:
        if self.integer:
            return {"distribution": "int_uniform", "min": int(self.low), "max": int(self.high)}
        if self.step:
            return {"distribution": "q_uniform", "min": self.low, "max": self.high, "q": self.step}
        return {
            "distribution": "log_uniform_values" if self.log else "uniform",
            "min": self.low,
            "max": self.high,
        }

    def __str__(self) -> str:
        ends = f"{self.low:.4g} … {self.high:.4g}"
        return (
            ends
            + (" log" if self.log else " whole" if self.integer else "")
            + (f" step {self.step:g}" if self.step else "")
        )


@dataclass(frozen=True)
class Choice:
    """One of a few values; with a single one, a constant."""

    values: tuple[Value, ...]

    @property
    def is_constant(self) -> bool:
        return len(self.values) == 1

    def suggest(self, trial: Suggests, name: str) -> Value:
        if self.is_constant:
            return self.values[0]
        chosen: Value = trial.suggest_categorical(name, list(self.values))
        return chosen

    def grid(self, points: int) -> list[Value]:
        return list(self.values)

    def contains(self, value: Value) -> bool:
        return value in self.values

    def to_wandb(self) -> dict[str, Any]:
        return {"value": self.values[0]} if self.is_constant else {"values": list(self.values)}

    def __str__(self) -> str:
        return " | ".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in self.values)


Parameter = Range | Choice
MOST_VALUES = 100  # of a choice
MOST_STEPS = 1_000_000  # of a raster
LARGEST = 1e15  # beyond it a whole number is not told apart from the next
RANGES = ("uniform", "int_uniform", "log_uniform_values", "q_uniform")
KEYS = ("distribution", "value", "values", "min", "max", "q")


def constant(value: Value) -> Choice:
    """A parameter that is not searched."""
    return Choice((value,))


def parse(written: Any) -> Parameter:
    """The parameter that a study's YAML describes; raises SpaceError with the rule that is broken and a fix."""
    if isinstance(written, bool | int | float | str):
        return constant(_finite(written))
    if not isinstance(written, dict):
        raise SpaceError(
            "a parameter is a value or a distribution", "write 0.3, {values: [a, b]} or {min: 0.1, max: 0.5}"
        )
    unknown = [key for key in written if key not in KEYS]
    if unknown:
        raise SpaceError(f"a distribution has no key {str(unknown[0])[:80]!r}", f"its keys are {', '.join(KEYS)}")
    if "value" in written:
        _only(written, "value", "distribution")
        if not isinstance(written["value"], bool | int | float | str):
            raise SpaceError("a value is one number, text or truth value", "for several, write {values: […]}")
        return constant(_finite(written["value"]))
    if "values" in written:
        _only(written, "values", "distribution")
        values = written["values"]
        rule, fix = f"values is a list of different values, one to {MOST_VALUES}", "write {values: [0.1, 0.2]}"
        if not isinstance(values, list) or not 0 < len(values) <= MOST_VALUES:
            raise SpaceError(rule, fix)
        if not all(isinstance(value, bool | int | float | str) for value in values):
            raise SpaceError("values holds numbers, texts or truth values", fix)
        if len({*values}) < len(values):
            raise SpaceError(rule, fix)
        return Choice(tuple(_finite(value) for value in values))
    return _parse_range(written)


def _parse_range(written: dict[str, Any]) -> Range:
    low, high = written.get("min"), written.get("max")
    for value in (low, high):
        if isinstance(value, bool) or not isinstance(value, int | float) or not -LARGEST <= value <= LARGEST:
            raise SpaceError("a range needs min and max, both finite numbers", "write {min: 0.1, max: 0.5}")
    assert low is not None
    assert high is not None
    integers = isinstance(low, int) and isinstance(high, int)
    kind = written.get("distribution", "int_uniform" if integers else "uniform")
    if kind == "log_uniform":
        fix = "write distribution: log_uniform_values with the values themselves"
        raise SpaceError("log_uniform takes exponents in W&B and is not supported", fix)
    if kind not in RANGES:
        raise SpaceError(
            f"distribution is one of {', '.join(RANGES)}", f"write distribution: {'int_' * integers}uniform"
        )
    if not low < high:
        raise SpaceError(
            "min must be below max", "swap them" if low > high else f"write {{value: {low}}} for a constant"
        )
    if kind == "log_uniform_values" and low <= 0:
        raise SpaceError("a logarithmic range lies above 0", "raise min, or use distribution: uniform")
    if kind == "int_uniform" and not integers:
        raise SpaceError("int_uniform needs integers for min and max", "write whole numbers, or distribution: uniform")
    step = written.get("q")
    if (kind == "q_uniform") != (step is not None):
        raise SpaceError(
            "q belongs to q_uniform, and q_uniform needs it",
            "write distribution: q_uniform, or remove q" if step is not None else f"write q: {high - low}",
        )
    if step is not None:
        if isinstance(step, bool) or not isinstance(step, int | float) or not 0 < step <= (high - low) * (1 + 1e-9):
            raise SpaceError("q must be above 0 and at most max − min", f"write q: {high - low}")
        if (high - low) / step > MOST_STEPS:
            raise SpaceError(
                f"a range has at most {MOST_STEPS:,} steps", f"write q: {(high - low) / MOST_STEPS:g} or more"
            )
        if not _on_raster(high - low, step):
            last = low + step * math.floor((high - low) / step)
            raise SpaceError("max must lie a whole number of q above min", f"write max: {last}")
    return Range(low, high, log=kind == "log_uniform_values", integer=kind == "int_uniform", step=step)


def _on_raster(distance: float, step: float) -> bool:
    """Whether a distance is a whole number of steps, but for rounding."""
    return abs(distance / step - round(distance / step)) < 1e-6


def _finite(value: Value) -> Value:
    if isinstance(value, int | float) and not -LARGEST <= value <= LARGEST:
        raise SpaceError(f"a value must be finite, {LARGEST:g} at most", "write a number")
    return value


def _only(written: dict[str, Any], *keys: str) -> None:
    extra = [key for key in written if key not in keys]
    if extra:
        raise SpaceError(f"{keys[0]} and {extra[0]} exclude each other", f"keep {keys[0]}, or min and max")
