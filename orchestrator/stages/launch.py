"""Runs a study: the search, then its confirmation on fresh seeds; then keeps, measures and reports what was found."""

from __future__ import annotations

from pathlib import Path

from orchestrator.cluster.run_options import RunOptions
from orchestrator.errors import CannotRun, Problem
from orchestrator.planning import continuity, plan, preflight, provenance
from orchestrator.reporting.progress_view import Silent
from orchestrator.selection import confirmation
from orchestrator.selection.replicates import ReplicationPlan
from orchestrator.selection.results import Results
from orchestrator.stages.conclusion import conclude
from orchestrator.stages.driver import Driver, driving
from orchestrator.stages.training import ask, said, train
from orchestrator.study.schema import Study
from orchestrator.system.commands import ours
from orchestrator.tracking.follower import following
from orchestrator.trials.progress import Progress


def launch(
    study: Study,
    results: str | Path = "results",
    progress: Progress | None = None,
    terms: RunOptions | None = None,
) -> Results:
    """Runs a study to its end and returns its results, which lie in `results`/<name>.

    terms: where and for how long; here and to its end unless given. Raises CannotRun before anything starts. Ctrl-C
    or SIGTERM ends it gracefully: the results then say that they are not finished, and `resume` goes on. Raises
    Interrupted where the machine breaks it off, as by a full disk: `resume` goes on after that too.
    """
    terms, progress = terms or RunOptions(), progress or Silent()
    planned = plan.make(study, results, fleet=terms.fleet()).with_images()
    with driving(planned, progress, terms) as driver:
        preflight.refuse_taken(planned.folder)  # by someone who was quicker than this plan
        provenance.begin(planned)
        return _to_the_end(driver)


def resume(
    folder: str | Path,
    progress: Progress | None = None,
    terms: RunOptions | None = None,
    other_code: bool = False,
) -> Results:
    """Goes on with an interrupted study to exactly the planned number of trials, there or elsewhere.

    other_code: with another version of the code that trains than it began with; every output will say so. Raises
    CannotRun without that, and where the study or its images are not what they were.
    """
    known, terms, progress = Results(folder), terms or RunOptions(), progress or Silent()
    continuity.refuse_changed(known)
    planned = continuity.take_up(known, terms.fleet(), progress.say, other_code or known.finished)
    with driving(planned, progress, terms, known.state) as driver:
        provenance.go_on(planned, other_code)
        return _to_the_end(driver)


def confirm(
    folder: str | Path,
    top: int | None = None,
    seeds: int | None = None,
    racing: bool | None = None,
    progress: Progress | None = None,
    terms: RunOptions | None = None,
    other_code: bool = False,
) -> Results:
    """Confirms a finished search with more configurations or more seeds than it was; never with fewer.

    other_code: as for `resume`.

    Whoever adds seeds until a difference appears will find one by chance at last: decide on the number before looking.
    """
    known, terms, progress = Results(folder), terms or RunOptions(), progress or Silent()
    continuity.refuse_changed(known)
    _refuse_unsearched(known)
    planned = continuity.take_up(known, terms.fleet(), progress.say, other_code)
    with driving(planned, progress, terms, known.state) as driver:
        provenance.go_on(planned, other_code)
        _ask_for_more(driver, _more(driver.results, top, seeds, racing))
        return _to_the_end(driver)


def _to_the_end(driver: Driver) -> Results:
    """The way of a study, from where it stands: its search, its confirmation, its best models, its report."""
    results = driver.results
    driver.folder.publish()  # so that it can go on elsewhere from now on
    with following(driver.planned.study, driver.folder, driver.progress.say):
        if not results.finished:
            train(driver)
        results.write_best()
        if results.finished:
            driver.signals.end_if_asked()
            conclude(driver.planned, results, driver.progress)
    return results


def _refuse_unsearched(known: Results) -> None:
    """Raises CannotRun where a study has no result that could be confirmed."""
    if known.searched and known.best:
        return
    value, fix = "it has no result", ""
    if not known.searched:
        value, fix = "it is not finished", f"{ours('resume', known.folder)} ends the search first"
    raise CannotRun([Problem(str(known.folder), "a finished search is confirmed, one with a result", value, fix)])


def _more(known: Results, top: int | None, seeds: int | None, racing: bool | None) -> ReplicationPlan:
    """What a study is confirmed with that was confirmed before, or would be by itself: at least that."""
    study, before = known.study, known.confirmation
    had = (before.top, len(before.asked.seeds)) if before else confirmation.size(study)
    more = max(had[0], top or 0) or 1, max(had[1], seeds or 0) or confirmation.FEWEST_SEEDS
    race = racing if racing is not None else before.asked.racing if before else study.confirmation.racing
    return confirmation.ask(study, known.trials.values(), *more, race)


def _ask_for_more(driver: Driver, asked: ReplicationPlan) -> None:
    """Writes down what is to be confirmed, unless that was asked for before."""
    known, say = driver.results, driver.progress.say
    if known.test.openings:
        say(f"warning: {known.test.said()}; what is chosen now is chosen after a look at them")
    if known.confirmation and asked == known.confirmation.asked:
        say(f"no more is asked than was: {said(asked)}")
        return
    with driver.writer.beside(driver.writer.state.confirmation) as record:
        ask(driver, record, asked)
