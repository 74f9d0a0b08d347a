"""Runs a study: the search, then its confirmation on fresh seeds; then keeps, measures and reports what was found."""

from __future__ import annotations

from pathlib import Path

from orchestrator.cluster.run_options import RunOptions
from orchestrator.errors import CannotRun, Interrupted, Problem
from orchestrator.files.atomic import write_atomic
from orchestrator.planning import continuity, plan, provenance
from orchestrator.planning.plan import Plan
from orchestrator.reporting import report
from orchestrator.reporting.progress_view import Silent
from orchestrator.search.allocation import Contest, planned_trials
from orchestrator.selection import boundary_optima, confirmation
from orchestrator.selection.confirmation import Confirmation
from orchestrator.selection.replicates import ReplicationPlan
from orchestrator.selection.results import Results
from orchestrator.selection.statistics import Difference
from orchestrator.stages import best_models
from orchestrator.stages.report_refresh import Refresher
from orchestrator.storage.broken_off import safe
from orchestrator.storage.event_log import Writer
from orchestrator.study.schema import Study
from orchestrator.system import interruptions
from orchestrator.system.commands import ours
from orchestrator.system.signals import StopSignals
from orchestrator.tracking.follower import following
from orchestrator.trials import tuner
from orchestrator.trials.progress import Progress
from orchestrator.trials.tuner import Session, Stage


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
    planned = plan.make(study, results, fleet=terms.fleet())
    with _signals(planned) as signals, planned.folder.writer(progress.say) as writer:
        plan.refuse_taken(planned.folder)  # by someone who was quicker than this plan
        write_atomic(planned.folder.provenance_file, provenance.text(provenance.first(planned)))
        write_atomic(planned.folder.study_file, study.to_yaml("The study as it was launched, overrides included."))
        return _run(planned, writer, progress, terms, signals)


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
    with _signals(planned) as signals, planned.folder.writer(progress.say) as writer:
        provenance.go_on(planned, other_code)
        return _run(planned, writer, progress, terms, signals)


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
    known = Results(folder)
    continuity.refuse_changed(known)
    if not known.searched or not known.best:
        value, fix = "it has no result", ""
        if not known.searched:
            value, fix = "it is not finished", f"{ours('resume', folder)} ends the search first"
        raise CannotRun([Problem(str(folder), "a finished search is confirmed, one with a result", value, fix)])
    terms, progress = terms or RunOptions(), progress or Silent()
    planned = continuity.take_up(known, terms.fleet(), progress.say, other_code)
    with _signals(planned) as signals, planned.folder.writer(progress.say) as writer:
        provenance.go_on(planned, other_code)
        known = Results(planned.folder.root)  # as it stays from here on: nobody else writes
        before, asked = known.confirmation, _more(known, top, seeds, racing)
        if looks := known.test.openings:
            progress.say(f"warning: {known.test.said()}; what is chosen now is chosen after a look at them")
        if before and asked == before.asked:
            progress.say(f"no more is asked than was: {_said(asked)}")
        else:
            with writer.beside(planned.folder.confirmation_file) as record:
                record.append({**asked.event(), "looks": len(looks)})
        return _run(planned, writer, progress, terms, signals)


def _more(known: Results, top: int | None, seeds: int | None, racing: bool | None) -> ReplicationPlan:
    """What a study is confirmed with that was confirmed before, or would be by itself: at least that."""
    study, before = known.study, known.confirmation
    had = (before.top, len(before.asked.seeds)) if before else confirmation.size(study)
    more = max(had[0], top or 0) or 1, max(had[1], seeds or 0) or confirmation.FEWEST_SEEDS
    race = racing if racing is not None else before.asked.racing if before else study.confirmation.racing
    return confirmation.ask(study, known.trials.values(), *more, race)


def _signals(planned: Plan) -> StopSignals:
    """Those that this process gets while it runs the study."""
    return StopSignals(lambda: safe(planned.folder, "resume"))


def _run(planned: Plan, writer: Writer, progress: Progress, terms: RunOptions, signals: StopSignals) -> Results:
    folder = planned.folder
    folder.publish()  # so that it can go on elsewhere from now on
    with following(planned.study, folder, progress.say):
        if not Results(folder.root).finished:
            _train(planned, writer, progress, terms, signals)
        results = Results(folder.root)
        results.write_best()
        if results.finished:
            signals.end_if_asked()
            _conclude(planned, results, progress)
    return results


def _train(planned: Plan, writer: Writer, progress: Progress, terms: RunOptions, signals: StopSignals) -> None:
    root = planned.folder.root
    for warning in planned.warnings:
        progress.say(f"warning: {warning}")
    _end_stopped(planned, writer)
    with Refresher(root), tuner.session(planned, writer, progress, signals, terms.left_s) as session:
        if not session.stopped and not Results(root).searched:
            _search(planned, session, writer)
        if not session.stopped and Results(root).searched:
            _confirm(planned, session, writer, progress)
    if terms.used_up and not Results(root).finished:
        progress.say(f"the time budget is used up; {ours('resume', planned.folder)} goes on, here or elsewhere")


def _end_stopped(planned: Plan, writer: Writer) -> None:
    """Ends the trials that a scheduler had stopped when the driver died: decided is decided, with or without a line."""
    for trial in planned.folder.trials().values():
        if trial.stopping:
            reason = trial.stopped_because
            writer.append({"event": "end", "trial": trial.name, "status": "stopped", "reason": reason})


def _search(planned: Plan, session: Session, writer: Writer) -> None:
    study, trials = planned.study, planned.folder.trials()
    contest = Contest(study, planned.spaces, trials.values())
    stage = Stage(study.name, planned_trials(study), contest, study, planned.data)
    session.train(stage, writer, trials)


def _confirm(planned: Plan, session: Session, writer: Writer, progress: Progress) -> None:
    results = Results(planned.folder.root)
    if results.finished:
        return
    with writer.beside(planned.folder.confirmation_file) as record:
        known = results.confirmation
        if known is None:
            asked = confirmation.ask_by_default(planned.study, results.trials.values())
            record.append({**asked.event(), "looks": len(results.test.openings)})
            known = Confirmation(asked, {}, results.trials)
        progress.say(f"confirming {_said(known.asked)}")

        def dropped(each: Difference) -> None:
            event = {"event": "dropped", "configuration": each.second, "seeds": each.estimate.n, "behind": each.first}
            record.append(event)
            gap = f"{each.estimate.mean:.4f} behind {each.first}"
            progress.say(f"{each.second} is out of the race after {each.estimate.n} seeds, {gap} (p = {each.p:.2g})")

        title, runs = f"{planned.study.name}, confirmation", dict(known.runs)
        study, repeats = without_early_stopping(planned.study), known.repeats(dropped)
        stage = Stage(title, known.planned, repeats, study, planned.data)
        session.train(stage, record, runs)


def _said(asked: ReplicationPlan) -> str:
    racing = ", racing" if asked.racing else ""
    return f"{len(asked.configurations)} configurations on {len(asked.seeds)} fresh seeds each{racing}"


def without_early_stopping(study: Study) -> Study:
    """The study, with every run trained to its end."""
    return study.model_copy(update={"search": study.search.model_copy(update={"scheduler": "none"})})


def _conclude(planned: Plan, results: Results, progress: Progress) -> None:
    """Keeps and measures the best models, and writes the report. The search is recorded: no failure here costs it."""
    try:
        boundary_optima.write_wider(results)
        best_models.examine(planned, results, progress.say)
        progress.say("drawing the report")
        report.write(results)
    except Exception as error:
        if (cause := interruptions.of(error)) and cause.kind == "disk":
            raise Interrupted(cause.said) from error
        not_concluded(results, error, progress)


def not_concluded(results: Results, error: Exception, progress: Progress) -> None:
    """Says that models or the report could not be made of what is recorded, and marks the results so."""
    results.concluded = False
    again = f"everything recorded is safe; {ours('resume', results.folder)} tries again"
    progress.say(f"the models or the report could not be made: {type(error).__name__}: {error}; {again}")
