"""Trains what is still to come of a study: its search, then the confirmation on fresh seeds."""

from __future__ import annotations

from orchestrator.search.allocation import Contest, planned_trials
from orchestrator.search.schedulers.none import NoScheduler
from orchestrator.selection import confirmation
from orchestrator.selection.replicates import ReplicationPlan
from orchestrator.selection.statistics import Difference
from orchestrator.stages.driver import Driver
from orchestrator.stages.report_refresh import Refresher
from orchestrator.storage.record_writer import Writer
from orchestrator.study.schema import Study
from orchestrator.system.commands import ours
from orchestrator.trials.tuner import Session, Stage


def train(driver: Driver) -> None:
    """Trains until the study has all that it asks for, or an end is asked for."""
    for warning in driver.planned.warnings:
        driver.progress.say(f"warning: {warning}")
    _end_stopped(driver.writer)
    with Refresher(driver.folder.root), driver.session() as session:
        if not session.stopped and not driver.results.searched:
            _search(driver, session)
        if not session.stopped and driver.results.searched and not driver.results.finished:
            _confirm(driver, session)
    if driver.terms.used_up and not driver.results.finished:
        driver.progress.say(f"the time budget is used up; {ours('resume', driver.folder)} goes on, here or elsewhere")


def _end_stopped(writer: Writer) -> None:
    """Ends the trials that a scheduler had stopped when the driver died: decided is decided, with or without a line."""
    for trial in writer.trials.values():
        if trial.stopping:
            reason = trial.stopped_because
            writer.append({"event": "end", "trial": trial.name, "status": "stopped", "reason": reason})


def _search(driver: Driver, session: Session) -> None:
    planned, study = driver.planned, driver.planned.study
    contest = Contest(study, planned.spaces, driver.writer.trials.values())
    session.train(Stage(study.name, planned_trials(study), contest, study, planned.data), driver.writer)


def _confirm(driver: Driver, session: Session) -> None:
    planned, study = driver.planned, driver.planned.study
    with driver.writer.beside(driver.writer.state.confirmation) as record:
        if driver.results.confirmation is None:
            ask(driver, record, confirmation.ask_by_default(study, driver.results.trials.values()))
        known = driver.results.confirmation
        assert known
        driver.progress.say(f"confirming {said(known.asked)}")

        def dropped(each: Difference) -> None:
            event = {"event": "dropped", "configuration": each.second, "seeds": each.estimate.n, "behind": each.first}
            record.append(event)
            gap = f"{each.gap} behind {each.first}"
            after = f"after {each.estimate.n} seeds, {gap} (p = {each.p:.2g})"
            driver.progress.say(f"{each.second} is out of the race {after}")

        title, repeats = f"{study.name}, confirmation", known.repeats(dropped)
        stage = Stage(title, known.planned, repeats, without_early_stopping(study), planned.data)
        session.train(stage, record)


def ask(driver: Driver, record: Writer, asked: ReplicationPlan) -> None:
    """Writes down what is to be confirmed, and how often someone had looked at the test images by then."""
    record.append({**asked.event(), "looks": len(driver.results.test.openings)})


def said(asked: ReplicationPlan) -> str:
    """What is confirmed, in words."""
    racing = ", racing" if asked.racing else ""
    return f"{len(asked.configurations)} configurations on {len(asked.seeds)} fresh seeds each{racing}"


def without_early_stopping(study: Study) -> Study:
    """The study, with every run trained to its end."""
    return study.model_copy(update={"search": study.search.model_copy(update={"scheduler": NoScheduler()})})
