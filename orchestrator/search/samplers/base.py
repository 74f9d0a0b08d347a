"""What a sampler must give: its options in a study's `search` section, what it can do, and proposals.

A new sampler is one file in this package with a subclass of `Sampler`. Its fields are its options, each with a default.
`tests/orchestrator/search/test_contract.py` holds it to what is said here. Knows no study and no Ray.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Protocol

from lightning_modules.registry import Options
from orchestrator.errors import Problem
from search_spaces.configurations import Params, Space

Curve = list[tuple[int, float]]  # (epoch, objective) of a trial, in order


class Proposer(Protocol):
    """Chooses the configurations of one head, one after the other.

    Equal calls give equal proposals, and a proposer that is told of a record, trial by trial, goes on as the one that
    proposed it would have gone on.
    """

    def propose(self, name: str, params: Params | None) -> Params:
        """The configuration of trial `name`: a new one, or `params` where a record knows them already.

        It has a value for every setting that is read, in the order of the space, and none for the others.
        """

    def learn(self, name: str, epochs: Curve, finished: bool, others: Sequence[float] = ()) -> None:
        """What trial `name` reached, where higher is better in each objective.

        finished: it was not stopped early. others: what it reached in the objectives after the first.
        """

    def fail(self, name: str) -> None:
        """Trial `name` reached nothing."""


class JointProposer(Proposer, Protocol):
    """Chooses the head as well."""

    def choose(self) -> str:
        """The head of the next trial, whose settings the next `propose` gives."""


class Sampler(Options, ABC):
    """A way to choose configurations. A subclass states its name as a literal `searcher` with itself as default."""

    searcher: str
    supports_conditions: ClassVar[bool] = True  # settings that are only read if another one has some value
    chooses_heads: ClassVar[bool] = False  # `joint_proposer` is there, for a joint search
    learns_fronts: ClassVar[bool] = False  # it can learn several objectives at once
    takes_starts: ClassVar[bool] = True  # its first proposals can be given
    is_independent: ClassVar[bool] = False  # all proposals can be made at once: none depends on what others reached

    @abstractmethod
    def proposer(
        self, space: Space, trials: int, seed: int, starts: Sequence[Params] = (), objectives: int = 1
    ) -> Proposer:
        """Proposals for one head, of so many trials. starts: what the first ones are, where `takes_starts`."""

    def joint_proposer(
        self,
        spaces: Mapping[str, Space],
        trials: int,
        seed: int,
        starts: Mapping[str, Sequence[Params]],
        objectives: int = 1,
    ) -> JointProposer:
        """Proposals for all heads together, where `chooses_heads`."""
        raise NotImplementedError(f"{self.searcher} chooses no heads")

    def size(self, space: Space) -> int | None:
        """How many different configurations there are to propose; None for as many as anyone wants."""
        return None

    def problems(self, head: str, space: Space, trials: int) -> Iterable[Problem]:
        """Why so many trials of a head cannot be proposed from its space."""
        return ()
