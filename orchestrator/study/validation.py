"""What a study must mean, beyond the types of its keys: known heads and settings, units, what excludes what.

Pure: a Study in, problems out. Used for studies from files and for those built in Python.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from orchestrator.errors import Problem, did_you_mean, first, shown
from orchestrator.search.schedulers import SCHEDULERS
from orchestrator.study import search_rules
from orchestrator.study.field_types import AUTO, LARGEST_BATCH, MOST_SEARCHED
from search_spaces import distributions, pml
from search_spaces.configurations import with_implied_settings
from search_spaces.heads import HEADS, is_head, known_heads, settings_of
from search_spaces.settings import TRAINING, Setting

if TYPE_CHECKING:
    from orchestrator.study.schema import Study


def problems(study: Study) -> list[Problem]:
    """What is wrong with a study whose types are right; empty if nothing is."""
    together = (_unread, _combinations, search_rules.of, _workers, _dimensions)
    return first(alone(study.model_dump())) or first(found for rule in together for found in rule(study))


def alone(written: Mapping[str, Any]) -> Iterable[Problem]:
    """What is wrong with each head and each setting by itself, also where types are wrong elsewhere in the study."""
    heads, training = _mapping(written.get("heads")), _mapping(written.get("training"))
    for head, block in heads.items():
        if not is_head(head):
            yield _unknown_head(head)
            continue
        settings = settings_of(head)
        for name, given in _mapping(block).items():
            if name in settings:
                yield from _values(f"heads.{head}.{name}", settings[name], given)
            else:
                rule, fix = f"{head} has no such setting", did_you_mean(name, settings)
                yield Problem(f"heads.{head}.{name}", rule, name, fix)
    for head in _mapping(_mapping(written.get("resources")).get("heads")):
        if heads and head not in heads:
            rule, fix = "resources are for heads of the study", did_you_mean(head, heads)
            yield Problem(f"resources.heads.{head}", rule, head, fix)
    for name, setting in TRAINING.items():
        yield from _values(f"training.{name}", setting, training.get(name, AUTO))


def _mapping(written: Any) -> Mapping[str, Any]:
    return written if isinstance(written, dict) else {}


def _unknown_head(head: str) -> Problem:
    known = known_heads() if "pml" in head or "loss" in head.lower() else HEADS
    rule, fix = pml.refusal(head) or ("there is no such head", did_you_mean(head, known))
    return Problem(f"heads.{head}", rule, head, fix)


def _values(place: str, setting: Setting, written: Any) -> list[Problem]:
    """Whether all values that a space can give make sense for the setting."""
    if written == AUTO:
        return []
    try:
        parameter = distributions.parse(written)
    except distributions.SpaceError:  # which is told where types are
        return []
    if isinstance(parameter, distributions.Range) and parameter.integer and "distribution" not in written:
        rule = "min and max without a point mean whole numbers only, as in W&B"
        fix = f"write min: {parameter.low:.1f}, max: {parameter.high:.1f}, or add distribution: int_uniform"
        return [Problem(place, rule, shown(written), fix)]
    values = (parameter.low, parameter.high) if isinstance(parameter, distributions.Range) else parameter.values
    refused = ((value, setting.refusal(value)) for value in values)
    return [Problem(place, said[0], shown(value), said[1]) for value, said in refused if said][:1]


def _unread(study: Study) -> Iterable[Problem]:
    """A setting that a study gives is read: what it depends on may have the value that it needs."""
    for head, block in study.heads.items():
        for name, written in block.items():
            when = settings_of(head)[name].when
            given = with_implied_settings(head, block).get(when[0], AUTO) if when else AUTO
            if when and AUTO not in (written, given) and not distributions.parse(given).contains(when[1]):
                rule, fix = f"{name} is read where {when[0]} is {when[1]}", f"remove it, or write {when[0]}: {when[1]}"
                yield Problem(f"heads.{head}.{name}", rule, f"{when[0]}: {shown(given)}", fix)


def _dimensions(study: Study) -> list[Problem]:
    """A search over too many parameters at once cannot be an equal contest."""
    problems = []
    for head, searched in study.searched().items():
        names = list(searched)
        if len(names) > MOST_SEARCHED and not study.search.allow_unequal:
            rule = f"a head searches at most {MOST_SEARCHED} parameters"
            spare = ", ".join(f"{name}: {distributions.short(searched[name].start)}" for name in names[MOST_SEARCHED:])
            fix = f"make {len(names) - MOST_SEARCHED} of them constant, such as {spare}, or search.allow_unequal: true"
            problems.append(Problem(f"heads.{head}", rule, ", ".join(names), fix))
    return problems


def _workers(study: Study) -> Iterable[Problem]:
    """Several workers share each batch equally, on cores or on whole GPUs, under a scheduler that leaves them alone."""
    size = study.training.batch_size
    together = math.lcm(*(study.resources.of(head).workers for head in study.heads))
    for head in study.heads:
        profile, own = study.resources.of(head), study.resources.heads.get(head)
        if profile.workers == 1:
            continue
        place = f"resources.heads.{head}.workers" if own and own.workers else "resources.workers"
        value, problem = str(profile.workers), None
        if size % profile.workers:
            fits = max(number for number in range(1, profile.workers) if size % number == 0)
            rule = f"the workers of a trial share each batch equally, and training.batch_size is {size}"
            shared = -(-size // together) * together
            larger = f", or training.batch_size: {shared}" if shared <= LARGEST_BATCH else ""
            problem = Problem(place, rule, value, f"write workers: {fits}{larger}")
        elif profile.tpu:
            rule, fix = "several workers train on cores or on GPUs", "write workers: 1, or tpu: 0"
            problem = Problem(place, rule, f"{value} with tpu: {profile.tpu}", fix)
        elif 0 < profile.gpu < 1:
            rule, fix = "each of several workers needs a GPU of its own", "write gpu: 1, or workers: 1"
            problem = Problem(place, rule, f"{value} with gpu: {profile.gpu:g}", fix)
        elif not (scheduler := study.search.scheduler).several_workers:
            rule = f"{scheduler.scheduler} changes trials of one worker only"
            other = search_rules.one_with(SCHEDULERS, lambda each: each.several_workers)
            said = f"{value} with scheduler: {scheduler.scheduler}"
            problem = Problem(place, rule, said, f"write scheduler: {other}, or workers: 1")
        if problem:
            yield problem
            if place == "resources.workers":
                return


def _combinations(study: Study) -> Iterable[Problem]:
    if study.resources.prices.model_dump(exclude_defaults=True) and not study.resources.prices.given():
        rule, fix = "prices are of an hour of a core, a GPU or a TPU chip", "add cpu_hour, gpu_hour or tpu_hour"
        yield Problem("resources.prices", rule, f"a currency alone, {study.resources.prices.currency}", fix)
