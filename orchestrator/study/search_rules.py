"""What a search must mean: which sampler goes with which scheduler, and where its first trials may start.

Samplers and schedulers say themselves what they can do; no rule here knows one by its name. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from lightning_modules.registry import Registry
from orchestrator.errors import Problem, did_you_mean, shown
from orchestrator.search.samplers import SAMPLERS
from orchestrator.search.schedulers import SCHEDULERS
from search_spaces.heads import settings_of

if TYPE_CHECKING:
    from orchestrator.study.schema import Study


def of(study: Study) -> Iterable[Problem]:
    """What is wrong with a study's search."""
    yield from study.search.scheduler.problems(study.training.epochs, study.search.trials_per_head)
    for rule in (_population, _conditions, _joint, _objectives, _start_points, _concurrent_trials):
        yield from rule(study)


def one_with(registry: Registry[Any], fact: Callable[[Any], bool]) -> str:
    """The name of the first entry of which something is so, for a fix."""
    return next(name for name, entry in registry.by_name.items() if fact(entry))


def _names(study: Study) -> str:
    return f"searcher {study.search.sampler.searcher}, scheduler {study.search.scheduler.scheduler}"


def _population(study: Study) -> Iterable[Problem]:
    """A scheduler that takes all trials from the start leaves a sampler nothing to learn from."""
    sampler, scheduler = study.search.sampler, study.search.scheduler
    if scheduler.takes_population and not sampler.is_independent:
        random, other = _independent(), one_with(SCHEDULERS, lambda each: not each.takes_population)
        rule = f"{scheduler.scheduler} mutates a {random} population and takes no searcher"
        yield Problem("search.searcher", rule, sampler.searcher, f"write searcher: {random}, or scheduler: {other}")


def _independent() -> str:
    return one_with(SAMPLERS, lambda each: each.is_independent)


def _conditions(study: Study) -> Iterable[Problem]:
    sampler = study.search.sampler
    if sampler.supports_conditions:
        return
    for head, space in study.searched().items():
        for name, item in space.items():
            if item.when:
                rule = f"{sampler.searcher} knows no settings that depend on others, and {name} does on {item.when[0]}"
                other = one_with(SAMPLERS, lambda each: each.supports_conditions)
                fix = f"write searcher: {other}, or make heads.{head}.{item.when[0]} constant"
                yield Problem("search.searcher", rule, sampler.searcher, fix)
                return


def _joint(study: Study) -> Iterable[Problem]:
    search = study.search
    if search.joint and (search.scheduler.takes_population or not search.sampler.chooses_heads):
        choosing = one_with(SAMPLERS, lambda each: each.chooses_heads)
        schedulers = " or ".join(name for name, each in SCHEDULERS.by_name.items() if not each.takes_population)
        fix = f"write searcher: {choosing} with scheduler: {schedulers}, or joint: false"
        yield Problem("search.joint", "a joint search needs a searcher that chooses heads", _names(study), fix)


def _objectives(study: Study) -> Iterable[Problem]:
    search = study.search
    different = list(dict.fromkeys(search.objectives))
    if len(different) < len(search.objectives):
        fix = f"write [{', '.join(different)}]"
        yield Problem("search.objectives", "each objective is named once", str(search.objectives), fix)
    elif len(different) > 1 and not (search.scheduler.leaves_alone() and search.sampler.learns_fronts):
        rule = "a front of two objectives needs trials that run to their end and a searcher that learns both"
        learning = one_with(SAMPLERS, lambda each: each.learns_fronts)
        patient = one_with(SCHEDULERS, lambda each: each.leaves_alone())
        yield Problem("search.objectives", rule, _names(study), f"write searcher: {learning}, scheduler: {patient}")


def _start_points(study: Study) -> Iterable[Problem]:
    """Where the first trials start must name heads of the study, their settings, and values that make sense."""
    sampler = study.search.sampler
    if study.search.start_at and not sampler.takes_starts:
        rule = f"a {sampler.searcher} goes through all its points and starts nowhere"
        fix = f"write searcher: {one_with(SAMPLERS, lambda each: each.takes_starts)}, or remove start_at"
        yield Problem("search.start_at", rule, sampler.searcher, fix)
    for head, params in study.search.start_at.items():
        place = f"search.start_at.{head}"
        if head not in study.heads:
            yield Problem(place, "a search starts at heads of its own", head, did_you_mean(head, study.heads))
            continue
        settings = settings_of(head)
        for name, value in params.items():
            if name not in settings:
                rule = f"{head} has no such setting"
                yield Problem(f"{place}.{name}", rule, name, did_you_mean(name, settings))
            elif said := settings[name].refusal(value):
                yield Problem(f"{place}.{name}", said[0], shown(value), said[1])


def _concurrent_trials(study: Study) -> Iterable[Problem]:
    if study.search.concurrent_trials == 0:
        yield Problem("search.concurrent_trials", "at least one trial runs at a time", "0", "write 1, or auto")
