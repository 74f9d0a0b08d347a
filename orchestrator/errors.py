"""What is refused, and how it is said: where, which rule, which value, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. place: dotted keys of a study, or a file. line: in the study's file, from 1."""

    place: str
    rule: str
    value: str = ""
    fix: str = ""
    line: int | None = None

    def __str__(self) -> str:
        lines = [self.place, f"  rule   {self.rule}"]
        if self.value:
            lines.append(f"  value  {self.value}")
        if self.fix:
            lines.append(f"  fix    {self.fix}")
        return "\n".join(lines)


class Refused(Exception):
    """Something cannot be done as asked; nothing was started."""

    def __init__(self, problems: Iterable[Problem], source: str = "") -> None:
        self.problems, self.source = tuple(problems), source
        super().__init__("\n".join(map(self._located, self.problems)))

    def _located(self, problem: Problem) -> str:
        if not self.source:
            return str(problem)
        line = f":{problem.line}" if problem.line else ""
        return f"{self.source}{line}: {problem}"


class StudyError(Refused):
    """A study that makes no sense: wrong usage."""


class CannotRun(Refused):
    """A sound study that cannot run here and now: a taken name, a missing resource, unreadable data."""


def shown(value: object) -> str:
    """A value as a message shows it: short."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A fix for an unknown word: the known one that looks most like it, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
