"""Grid search: every combination of a few values of each setting, once."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from orchestrator.errors import Problem
from orchestrator.search.samplers.base import Curve, Proposer, Sampler
from search_spaces.configurations import Params, Space, active
from search_spaces.distributions import Parameter, Range

LARGEST = 100_000  # points; more are never trained, and may not fit in a memory


class Grid(Sampler):
    """All combinations of `grid_points` values of each range and of all values of each choice, in a random order.

    Combinations that differ in settings alone that are not read are one.
    """

    searcher: Literal["grid"] = "grid"
    grid_points: Annotated[int, Field(ge=2, le=100)] = 3
    takes_starts: ClassVar[bool] = False

    def proposer(
        self, space: Space, trials: int, seed: int, starts: Sequence[Params] = (), objectives: int = 1
    ) -> Proposer:
        return GridProposer(grid(space, self.grid_points), seed)

    def size(self, space: Space) -> int:
        return grid_size(space, self.grid_points)

    def problems(self, head: str, space: Space, trials: int) -> Iterable[Problem]:
        """A grid has as many points as it has trials, and no more than anyone can make."""
        size, place = self.size(space), f"heads.{head}"
        if size > LARGEST:
            rule, fix = f"a grid has at most {LARGEST:,} points", "lower search.grid_points, or make settings constant"
            yield Problem(place, rule, f"{size:,} points", fix)
        elif size < trials:
            rule = "a grid needs as many points as a head has trials, so that every head gets the same number"
            finer = any(isinstance(item.parameter, Range) for item in space.values())
            fix = f"{'raise search.grid_points, or ' if finer else ''}write trials_per_head: {size}"
            yield Problem(place, rule, f"{size} points for {trials} trials", fix)


class GridProposer:
    """Gives each point once, in an order of the seed."""

    def __init__(self, points: list[Params], seed: int) -> None:
        self._todo = points
        random.Random(seed).shuffle(self._todo)

    def propose(self, name: str, params: Params | None) -> Params:
        if params is None:
            return self._todo.pop(0)
        if params in self._todo:
            self._todo.remove(params)
        return params

    def learn(self, name: str, epochs: Curve, finished: bool, others: Sequence[float] = ()) -> None:
        """A grid learns nothing."""

    def fail(self, name: str) -> None:
        """Nor from failures."""


def grid_size(space: Space, points: int) -> int:
    """How many configurations `grid` has, counted without making them: there may be more than fit in a memory."""
    sizes = {name: len({*item.parameter.grid(points)}) for name, item in space.items()}
    deciding = {item.when[0] for item in space.values() if item.when}
    decisions = grid({name: item for name, item in space.items() if name in deciding}, points)
    return sum(math.prod(sizes[name] for name in _read(space, made) - deciding) for made in decisions)


def _read(space: Space, decisions: Params) -> set[str]:
    """The parameters that are read once it is decided so."""
    return {name for name, item in space.items() if item.when is None or decisions.get(item.when[0]) == item.when[1]}


def _given(values: Params) -> Callable[[str, Parameter], Any]:
    return lambda name, parameter: values[name]


def grid(space: Space, points: int) -> list[Params]:
    """Every different configuration on the grid of a space, those that conditions make equal only once."""
    axes = [item.parameter.grid(points) for item in space.values()]
    found: list[Params] = []
    seen = set()
    for values in itertools.product(*axes):
        params = active(space, _given(dict(zip(space, values, strict=True))))
        if (key := tuple(params.items())) not in seen:
            seen.add(key)
            found.append(params)
    return found
