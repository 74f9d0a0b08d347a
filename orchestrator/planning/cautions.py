"""What a plan warns about: contests that are not equal, and ranges that leave what theory allows. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.selection import confirmation
from orchestrator.study.schema import AS_WRITTEN, Study
from search_spaces import feasibility
from search_spaces.distributions import Parameter, Range
from search_spaces.heads import space_of


def of(study: Study, num_classes: int) -> list[str]:
    """A sentence for each thing that can run, but should not be meant."""
    told = _contest(study), _feasible(study, num_classes), _margins(study, num_classes), _seeds(study), _unread(study)
    return [sentence for sentences in told for sentence in sentences]


def _unread(study: Study) -> Iterable[str]:
    search = study.search
    if search.unread:
        names = ", ".join(f"search.{name}" for name in search.unread)
        chosen = f"searcher {search.sampler.searcher} and scheduler {search.scheduler.scheduler}"
        yield f"nothing reads {names}: {chosen} have no such option"


def _seeds(study: Study) -> Iterable[str]:
    top, seeds = confirmation.size(study)
    if top and seeds < confirmation.FEWEST_SEEDS:
        rule = "one has no interval" if seeds == 1 else "the 95% interval of two is 13 standard errors to each side"
        yield f"confirmation.seeds is {seeds}: {rule}"


def _contest(study: Study) -> Iterable[str]:
    numbers = {head: len(searched) for head, searched in study.searched().items()}
    if len(set(numbers.values())) > 1 and not study.search.joint:
        said = ", ".join(f"{head} {number}" for head, number in numbers.items())
        yield f"heads search different numbers of settings with the same number of trials: {said}"


def _feasible(study: Study, num_classes: int) -> Iterable[str]:
    """A word for each range of the study's own that leaves what theory allows."""
    for head, space in study.spaces(num_classes).items():
        for name, item in space.items():
            if item.reason != AS_WRITTEN:
                continue
            if numbers := _numbers(item.parameter):
                said = feasibility.refutation(head, name, min(numbers), max(numbers), num_classes, study.embedding_dim)
                if said:
                    yield f"heads.{head}.{name} {said}"


def _numbers(parameter: Parameter) -> list[float]:
    """The ends of a range, or the numbers among the values of a choice."""
    values = (parameter.low, parameter.high) if isinstance(parameter, Range) else parameter.values
    return [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]


def _margins(study: Study, num_classes: int) -> Iterable[str]:
    """A word for margins that are asked to grow for longer than they may."""
    most, asked = study.training.epochs / 2, []
    for head, space in study.spaces(num_classes).items():
        item = space["margin_warmup_epochs"]
        if space_of(head).margin and item.reason == AS_WRITTEN and (epochs := max(_numbers(item.parameter))) > most:
            asked.append(f"{head} {epochs:g}")
    if asked:
        rule = f"margins grow for at most half of the training, {most:g} epochs"
        yield f"{rule}; margin_warmup_epochs: {', '.join(asked)}"
