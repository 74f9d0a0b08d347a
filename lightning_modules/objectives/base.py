"""What an objective tells of itself: how it is measured, which way is better, and how it is written and called.

Tables, pictures, searches and sentences ask it and know none by name. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

Ends = tuple[float, float]


@dataclass(frozen=True)
class EmbeddedImages:
    """What an objective is measured on. spherical: the head tells classes apart by angle, not by distance."""

    embeddings_ND: Tensor
    labels_N: Tensor
    num_classes: int
    spherical: bool

    @property
    def points(self) -> tuple[Tensor, Tensor, int]:
        """What every measure takes first."""
        return self.embeddings_ND, self.labels_N, self.num_classes


@dataclass(frozen=True)
class Support:
    """What a measured number stands on. None: not known, or not counted."""

    images: int
    identities: int | None = None
    pairs: int | None = None


@dataclass(frozen=True)
class Interval:
    """The 95% interval of one run's value. method: who computed it so; over: what it takes as drawn by chance."""

    method: str
    over: str
    ends: Callable[[float, Support], Ends]


@dataclass(frozen=True)
class Objective:
    """A number that says how good an embedding is.

    name: in a study's `search.objectives`. key: the name of its measure; an epoch's record has it as `val/<key>`.
    label, meaning: for people; heading: above a column, label unless given. measure: its value, finite.
    bounds: between which every value lies. The poor end must be finite: a diverged trial counts as that.
    digits, percent, unit: how values are written. interval: None where one run has none.
    parts: measures that stand beside it in a table, by their headings. axis: on a picture; described: in a long title.
    note: what a reader must know to compare its values. few_classes: what it means that a class has no image.
    """

    name: str
    key: str
    label: str
    meaning: str
    measure: Callable[[EmbeddedImages], float]
    higher_is_better: bool
    bounds: Ends
    digits: int = 4
    percent: bool = False
    unit: str = ""
    interval: Interval | None = None
    heading: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    axis: str = ""
    described: str = ""
    note: str = ""
    few_classes: str = ""

    @property
    def metric(self) -> str:
        """Its key among the metrics of an epoch."""
        return f"val/{self.key}"

    @property
    def column(self) -> str:
        """What stands above its values in a table."""
        return self.heading or self.label

    @property
    def in_full(self) -> str:
        """Its name where there is room for a long one."""
        return self.described or self.label

    @property
    def title(self) -> str:
        """Its label at the beginning of a sentence."""
        return self.label[0].upper() + self.label[1:]

    @property
    def column_title(self) -> str:
        """Its heading at the beginning of a sentence."""
        return self.column[0].upper() + self.column[1:]

    def axis_on(self, images: str = "validation") -> str:
        """What an axis of a picture is called. images: which of them were measured."""
        return self.axis if self.axis and images == "validation" else f"{self.label} ({images})"

    @property
    def direction(self) -> str:
        """maximize or minimize, as samplers and W&B call it."""
        return "maximize" if self.higher_is_better else "minimize"

    @property
    def mode(self) -> str:
        """max or min, as schedulers call it."""
        return "max" if self.higher_is_better else "min"

    @property
    def worst(self) -> float:
        """What an embedding that is worth nothing counts as."""
        return self.bounds[0] if self.higher_is_better else self.bounds[1]

    @property
    def poorer(self) -> str:
        """How a poorer value differs: less or more."""
        return "less" if self.higher_is_better else "more"

    def merit(self, value: float) -> float:
        """A number that is higher for what is better, whichever way the values go."""
        return value if self.higher_is_better else -value

    def holds(self, value: float) -> bool:
        """Whether it is a value that the objective can have."""
        return self.bounds[0] <= value <= self.bounds[1]

    def clipped(self, ends: Ends) -> Ends:
        """An interval without what no value can be."""
        low, high = self.bounds
        return max(low, ends[0]), min(high, ends[1])

    @property
    def step(self) -> float:
        """The last digit that is written: what is smaller, no reader sees."""
        return float(10.0 ** -(self.digits + 2 * self.percent))

    def write(self, value: float | None) -> str:
        """A value, or a width, for people; a dash for none."""
        return "–" if value is None else format(value, f".{self.digits}{self._kind}") + self.unit

    def write_signed(self, value: float) -> str:
        """A difference, with its sign."""
        return format(value, f"+.{self.digits}{self._kind}") + self.unit

    def write_interval(self, ends: Ends | None) -> str:
        """An interval that leaves out what no value can be; a dash for none."""
        return "–" if ends is None else " – ".join(map(self.write, self.clipped(ends)))

    @property
    def _kind(self) -> str:
        return "%" if self.percent else "f"
