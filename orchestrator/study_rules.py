"""What a study must mean, beyond the types of its keys: known heads and settings, units, what excludes what.

Pure: a Study in, problems out. Used for studies from files and for those built in Python.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from orchestrator.errors import Problem, did_you_mean, shown
from orchestrator.study import AUTO, MOST_SEARCHED, Study
from search_spaces import parameters
from search_spaces.heads import HEADS, TRAINING, Setting, settings_of


def problems(study: Study) -> list[Problem]:
    """What is wrong with a study whose types are right; empty if nothing is."""
    found = unknown_heads(study.heads)
    for head, block in study.heads.items():
        settings = settings_of(head) if head in HEADS else {}
        for name, written in block.items():
            place = f"heads.{head}.{name}"
            if name in settings:
                found += _values(place, settings[name], written)
            elif settings:
                found.append(Problem(place, f"{head} has no such setting", name, did_you_mean(name, settings)))
    for name, setting in TRAINING.items():
        found += _values(f"training.{name}", setting, getattr(study.training, name))
    return found or [*_combinations(study), *_dimensions(study)]


def unknown_heads(heads: Iterable[str]) -> list[Problem]:
    """A problem for each name that is no head's."""
    unknown = (head for head in heads if head not in HEADS)
    return [Problem(f"heads.{head}", "there is no such head", str(head), did_you_mean(head, HEADS)) for head in unknown]


def _values(place: str, setting: Setting, written: Any) -> list[Problem]:
    """Whether all values that a space can give make sense for the setting."""
    if written == AUTO:
        return []
    parameter = parameters.parse(written)
    if isinstance(parameter, parameters.Range) and parameter.integer and "distribution" not in written:
        rule = "min and max without a point mean whole numbers only, as in W&B"
        fix = f"write min: {parameter.low:.1f}, max: {parameter.high:.1f}, or add distribution: int_uniform"
        return [Problem(place, rule, shown(written), fix)]
    values = (parameter.low, parameter.high) if isinstance(parameter, parameters.Range) else parameter.values
    refused = ((value, setting.refusal(value)) for value in values)
    return [Problem(place, said[0], shown(value), said[1]) for value, said in refused if said][:1]


def _dimensions(study: Study) -> list[Problem]:
    """A search over too many parameters at once cannot be an equal contest."""
    problems = []
    for head, searched in study.searched().items():
        names = list(searched)
        if len(names) > MOST_SEARCHED:
            rule = f"a head searches at most {MOST_SEARCHED} parameters"
            spare = ", ".join(f"{name}: {parameters.short(searched[name].start)}" for name in names[MOST_SEARCHED:])
            fix = f"make {len(names) - MOST_SEARCHED} of them constant, such as {spare}"
            problems.append(Problem(f"heads.{head}", rule, ", ".join(names), fix))
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
