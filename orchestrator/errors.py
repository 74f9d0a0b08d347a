"""What is refused, and how it is said: where, which rule, which value, what to do."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.printable import in_a_line

MOST_PROBLEMS = 50  # that are looked for in one file
MOST_TOLD = 12_000  # characters of a whole message
MOST_CHARACTERS = {"place": 1000, "rule": 400, "value": 1000, "fix": 1600}  # a path, a path, all heads


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. place: dotted keys of a study, or a file. line: in the study's file, from 1."""

    place: str
    rule: str
    value: str = ""
    fix: str = ""
    line: int | None = None

    def __str__(self) -> str:
        said = {name: cut(in_a_line(getattr(self, name)), most) for name, most in MOST_CHARACTERS.items()}
        return "\n".join([said.pop("place"), *(f"  {name:<6} {text}" for name, text in said.items() if text)])


class Refused(Exception):
    """Something cannot be done as asked; nothing was started."""

    def __init__(self, problems: Iterable[Problem], source: str = "") -> None:
        self.problems, self.source = tuple(problems), source
        super().__init__("\n".join(self._told()))

    def _told(self) -> Iterator[str]:
        """The first problems, and how many more there are: nobody reads thousands at a time."""
        told = 0
        for number, problem in enumerate(self.problems):
            text = self._located(problem)
            told += len(text)
            if number and told > MOST_TOLD:
                yield f"and {len(self.problems) - number:,} more like these"
                return
            yield text

    def _located(self, problem: Problem) -> str:
        if not self.source:
            return str(problem)
        number = f":{problem.line}" if problem.line else ""
        return f"{cut(in_a_line(self.source), 1000)}{number}: {problem}"


class StudyError(Refused):
    """A study that makes no sense: wrong usage."""


class CannotRun(Refused):
    """A sound study that cannot run here and now: a taken name, a missing resource, unreadable data."""


def first(problems: Iterable[Problem]) -> list[Problem]:
    """The first of many problems, for to find them all may take long."""
    found = [*itertools.islice(problems, MOST_PROBLEMS + 1)]
    if len(found) > MOST_PROBLEMS:
        found[-1] = Problem("and more", "there may be other problems", fix="mend these first")
    return found


class Interrupted(Exception):
    """The machine broke off what was running, as by a full disk. Nothing on record is lost; the message says more."""


class RayEnded(Interrupted):
    """Ray has ended under a study that was running, as by a kill of its raylet."""


def shown(value: object) -> str:
    """A value as a message shows it: short."""
    return cut(repr(_first_of(value)), 80)


def cut(text: str, most: int) -> str:
    """A text of at most so many characters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _first_of(value: object, levels: int = 4) -> object:
    """As much of a value as is shown at most."""
    if isinstance(value, str | bytes):
        return value[:100]
    if isinstance(value, int) and not -(10**80) < value < 10**80:  # Python writes no number of 4,300 digits
        return math.inf if value > 0 else -math.inf
    if isinstance(value, dict | list | tuple) and not levels:
        return ...
    if isinstance(value, dict):
        return {key: _first_of(value[key], levels - 1) for key in itertools.islice(value, 20)}
    return [_first_of(each, levels - 1) for each in value[:20]] if isinstance(value, list | tuple) else value


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A fix for an unknown word: the known one that looks most like it, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(str(word)[:100], known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
