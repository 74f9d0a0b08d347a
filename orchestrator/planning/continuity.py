"""Whether a study that goes on is the one that was launched: the same settings, images and training code.

Its provenance keeps them. What no trial's numbers depend on may change: where and how fast it runs, how it is tracked,
how many fresh seeds it is confirmed and tested with. Anything else is refused, key by key. So is `trials_per_head`: a
searcher plans its first draws by it, so that a longer search is another one, and not the same with more at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from orchestrator.cluster.resources import Fleet
from orchestrator.errors import CannotRun, Problem, shown
from orchestrator.planning import plan
from orchestrator.planning.plan import Plan
from orchestrator.selection.results import Results
from orchestrator.study.schema import Study
from orchestrator.system import code_history, fingerprint
from orchestrator.system.commands import ours

MAY_CHANGE = (
    "description",
    "data.path",  # the images count, not where they lie
    "search.concurrent_trials",
    "search.process_failures",
    "search.stalled_after_s",
    "search.most_failures",
    "confirmation",
    "test",
    "resources",
    "tracking",
)
SEEDS = {"search": "search.seed", "training": "training.seed", "split": "data.split_seed"}
MOST_NAMED = 8  # differences; a study with more is simply another one
OTHER_CODE = "--other-code"
ABSENT = object()


def kept(planned: Plan) -> dict[str, Any]:
    """What provenance keeps of a study, to know it again: its normal form, and a hash of images and labels."""
    return {"study": normal_form(planned.study), "images": planned.data.digest()}


def kept_anew(before: Mapping[str, Any], planned: Plan) -> dict[str, Any]:
    """What provenance keeps of a study that goes on: of `kept`, what is not as it kept it before."""
    then = {**before, "study": _read_again(before.get("study", {}))}
    return {key: value for key, value in kept(planned).items() if then.get(key) != value}


def normal_form(study: Study) -> dict[str, Any]:
    """Every key of a study with its value, given or not."""
    return study.model_dump(mode="json")


def take_up(known: Results, fleet: Fleet | None, say: Callable[[str], None], other_code: bool = False) -> Plan:
    """The plan of a study that goes on and whose settings are as they were (`refuse_changed`).

    Raises CannotRun where it cannot go on here, or its images are others. other_code: accepts another version of the
    code that trains.
    """
    planned = plan.again(known, fleet)
    problems = [*_other_images(known, planned)]
    if not (other_code or code_history.is_accepted(known.provenance)):
        problems.append(_other_code(known))
    if problems:
        raise CannotRun(problems)
    for said in _remarks(known):
        say(said)
    return planned


def refuse_changed(known: Results) -> None:
    """Raises CannotRun where a study's file does not say what it said at the launch."""
    problems = [*_changed(known), *_lost_heads(known)]
    if len(problems) > MOST_NAMED:
        more = f"and {len(problems) - MOST_NAMED} other keys"
        problems = [*problems[:MOST_NAMED], Problem(more, problems[0].rule, fix=problems[0].fix)]
    if problems:
        raise CannotRun(problems)


def differences(
    then: Mapping[str, Any], now: Mapping[str, Any], place: tuple[str, ...] = ()
) -> Iterator[tuple[str, Any, Any]]:
    """The keys of two studies in normal form whose values differ, with both; ABSENT is where there is none.

    Heads take their turns in order, so their order counts.
    """
    if place == ("heads",) and {*then} == {*now} and [*then] != [*now]:
        yield "heads", ", ".join(then), ", ".join(now)
    for key in {**then, **now}:
        before, after, path = then.get(key, ABSENT), now.get(key, ABSENT), (*place, key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from differences(before, after, path)
        elif before != after:
            yield ".".join(path), before, after


def _changed(known: Results) -> Iterator[Problem]:
    then, now = _first(known.provenance, "study"), normal_form(known.study)
    if then is None:
        seeds = known.provenance.get("seeds", {})
        both = [(place, seeds[name], _at(now, place)) for name, place in SEEDS.items() if name in seeds]
        found = [each for each in both if each[1] != each[2]]
    else:
        found = [*differences(_read_again(then), now)]
    for place, before, after in found:
        if not any(place == free or place.startswith(f"{free}.") for free in MAY_CHANGE):
            value = f"it was {_shown(before)} at the launch, and is {_shown(after)} now"
            yield Problem(place, "a study that has begun stays what it was", value, _fix(known))


def _read_again(then: Mapping[str, Any]) -> Mapping[str, Any]:
    """The normal form of a study that an earlier version kept, as this version has it.

    So a key that came later has its default, and one that was null and said nothing is gone. What this version cannot
    read stays as it is, and differs.
    """
    try:
        return normal_form(Study.model_validate(then))
    except ValidationError:
        return then


def _lost_heads(known: Results) -> Iterator[Problem]:
    """Of a study whose settings nobody kept, too."""
    lost = {trial.head for trial in known.trials.values()} - {*known.study.heads}
    if lost and _first(known.provenance, "study") is None:
        value = f"{', '.join(sorted(lost))} is in the record, and not in the study"
        yield Problem("heads", "a study that has begun stays what it was", value, _fix(known))


def _other_images(known: Results, planned: Plan) -> Iterator[Problem]:
    rule, fix = "a study that has begun keeps its images and labels", "put back those that it was launched with"
    then, split = known.provenance, planned.split
    sizes = {"classes": split.num_classes, "train_images": len(split.train)}
    told = [f"{name} was {then[name]}, and is {now}" for name, now in sizes.items() if then.get(name, now) != now]
    digest = _first(then, "images")
    if not told and digest not in (None, planned.data.digest()):
        told = [f"they hash to {planned.data.digest()}, and at the launch to {digest}"]
    if told:
        yield Problem("data", rule, "; ".join(told), f"{fix}, or {_begin_another(known)}")


def _other_code(known: Results) -> Problem:
    then = code_history.accepted(known.provenance)[-1]
    rule = "all models of a study are trained by the same code"
    value = f"{code_history.said(then)} trained before; now it is another ({fingerprint.of_code()})"
    fix = f"install that version again, or add {OTHER_CODE} to go on with this one: every output will say so"
    return Problem(str(known.folder), rule, value, fix)


def _remarks(known: Results) -> Iterator[str]:
    """What cannot be compared, as nobody wrote it down, and what differs and is not refused."""
    names = {"study": "its settings", "images": "a hash of its images", "trains": "which code trained"}
    missing = [name for key, name in names.items() if _first(known.provenance, key) is None]
    if not known.provenance:
        yield f"{known.folder.provenance_file} is gone: what this study was launched with is not known any more"
    elif missing:
        lost = f"did not keep {_listed(missing)}: that is not compared now, and kept from now on"
        yield f"this study was launched by {code_history.said(known.provenance)}, which {lost}"
    if others := code_history.other_packages(known.provenance):
        yield f"warning: {', '.join(others)} since it last trained: the last digits of what is trained now may differ"


def _first(provenance: Mapping[str, Any], key: str) -> Any:
    """What the oldest entry says that says it at all."""
    return next((each[key] for each in code_history.entries(provenance) if key in each), None)


def _at(study: Mapping[str, Any], place: str) -> Any:
    found: Any = study
    for key in place.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _fix(known: Results) -> str:
    return f"write it back into {known.folder}/{known.folder.study_file.name}, or {_begin_another(known)}"


def _begin_another(known: Results) -> str:
    return f"begin another study: {ours('launch', known.folder.study_file, '--next-name')}"


def _shown(value: Any) -> str:
    return "not there" if value is ABSENT else shown(value)


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last
