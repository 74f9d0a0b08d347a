"""Opens the sealed test set of a study, once: final models first, then one look, recorded before it is taken.

Final models are trained like any trial, on train and validation images; no trial ever receives a test image. Only when
all of them have ended does this process read the test images, and only after it has written down that it does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lightning_modules import objectives
from lightning_modules.data.images import LabelledImages
from lightning_modules.data.splits import TrialData
from lightning_modules.models import model_config
from lightning_modules.objectives.base import EmbeddedImages
from orchestrator import __version__
from orchestrator.cluster.run_options import RunOptions
from orchestrator.errors import CannotRun, Problem
from orchestrator.planning import continuity, provenance
from orchestrator.planning.plan import Plan
from orchestrator.reporting.progress_view import Silent
from orchestrator.selection.replicates import ReplicationPlan, configuration_of, fresh_seeds
from orchestrator.selection.results import Results
from orchestrator.stages import test_images
from orchestrator.stages.conclusion import draw_report, not_concluded
from orchestrator.stages.driver import Driver, driving
from orchestrator.stages.training import without_early_stopping
from orchestrator.storage.broken_off import safe
from orchestrator.storage.event_log import Trial
from orchestrator.storage.record_writer import Writer
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.system.commands import ours
from orchestrator.tracking.follower import following
from orchestrator.trials import checkpoints, trial
from orchestrator.trials.progress import Progress
from orchestrator.trials.tuner import Stage


def open_test(
    folder: str | Path,
    seeds: int | None = None,
    again: bool = False,
    progress: Progress | None = None,
    terms: RunOptions | None = None,
    other_code: bool = False,
) -> Results:
    """Trains the best of each head on train and validation images on fresh seeds, and measures it on the test images.

    Raises CannotRun where the study is not finished, or was opened before and `again` does not force it. Interrupted
    before the test is opened, it goes on where it was. Returns the results; `Results.test` has the numbers.
    """
    known, terms, progress = Results(folder), terms or RunOptions(), progress or Silent()
    continuity.refuse_changed(known)
    refuse_unfinished(known)
    if not known.test.half_open:
        refuse_opened(known, again)
    planned = continuity.take_up(known, terms.fleet(), progress.say, other_code)
    _foresee(planned, progress)
    with (
        driving(planned, progress, terms, known.state, goes_on="test") as driver,
        driver.writer.beside(driver.writer.state.test) as record,
    ):
        provenance.go_on(planned, other_code)
        with following(planned.study, planned.folder, progress.say):
            if _train(driver, record, seeds or planned.study.test.seeds):
                driver.signals.end_if_asked()
                _look(driver, record, again)
                driver.signals.safe = lambda: safe(planned.folder, "resume")  # draws the report; `test` looks again
                _report(driver.results, progress)
    return driver.results


def _foresee(planned: Plan, progress: Progress) -> None:
    """Raises CannotRun where the test images are none that the study's models can be measured on."""
    test = test_images.check(planned.study, planned.split)
    if absent := test_images.absent(planned.study, test):
        few = planned.study.objective.few_classes
        progress.say(f"warning: no test image is of class {', '.join(map(str, absent))}" + (f"; {few}" if few else ""))


def refuse_unfinished(known: Results) -> None:
    """Raises CannotRun where a study has not yet chosen what would be tested."""
    if not known.finished or not known.best:
        value = "no trial has a result" if known.finished else "it is not finished"
        fix = "" if known.finished else f"{ours('resume', known.folder)} ends it first"
        raise CannotRun([Problem(str(known.folder), "the test set is opened after the selection", value, fix)])


def refuse_opened(known: Results, again: bool) -> None:
    """Raises CannotRun where a study has opened its test set before, unless that is forced."""
    if known.test.openings and not again:
        rule = "a study opens its test set once: whatever is chosen after a look at it is chosen on it"
        fix = f"{ours('test', known.folder, '--again')} looks once more, and every output will say so"
        raise CannotRun([Problem(str(known.folder), rule, known.test.said(), fix)])


def opened(known: Results, by: str, forced: bool) -> dict[str, Any]:
    """The event that says that the test images are looked at, now."""
    number = len(known.test.openings) + 1
    code = {"git": provenance.git(), "orchestrator": __version__}
    return {"event": "opened", "number": number, "by": by, "forced": forced, **code}


def look(known: Results, by: str) -> None:
    """Writes down that someone looks at the test images of a study in another way, and means it."""
    with known.folder.writer(state=known.state) as writer, writer.beside(writer.state.test) as record:
        record.append(opened(known, by, forced=True))


def merged(data: TrialData) -> TrialData:
    """Train and validation images as one, to train on; the validation images, now among them, still give the curve."""
    images = np.concatenate([data.train.images, data.validation.images])
    both = LabelledImages(images, np.concatenate([data.train.labels, data.validation.labels]))
    return TrialData(both, data.validation, data.num_classes, *both.pixel_statistics())


def _train(driver: Driver, record: Writer, seeds: int) -> bool:
    """Trains the final models that are still to come; returns whether all have ended."""
    known, planned = driver.results, driver.planned
    if known.test.half_open:
        return True
    asked = ReplicationPlan(
        tuple(best.name for best in known.best.values()), tuple(fresh_seeds(known.study, "final", seeds))
    )
    if asked != known.test.asked:
        record.append(asked.event())
    repeats = known.test.repeats(asked)
    if not repeats.remaining:
        return True
    heads = dict.fromkeys(known.best, seeds)
    title = f"{known.study.name}, final models: {known.study.objective.column} on images that they train on"
    stage = Stage(title, heads, repeats, without_early_stopping(known.study), merged(planned.data))
    with driver.session() as session:
        if not session.stopped:
            session.train(stage, record)
    return not known.test.repeats(asked).remaining


def _look(driver: Driver, record: Writer, again: bool) -> None:
    """Opens the test set and measures the final models on it; those that are measured already stay."""
    known, planned = driver.results, driver.planned
    models = _models(known)
    test_images.check(planned.study, planned.split)  # once more: training took its time
    if not known.test.half_open:
        record.append(opened(known, "test", again))
    test, data = _same(known, test_images.read(planned.study), record), merged(planned.data)
    for run in known.test.wanted():
        if run.name in known.test.measured():
            continue
        measures = _measure(planned.study, planned.folder, data, run, models[run.name], test)
        event = {"event": "measured", "opening": known.test.number, "run": run.name, "images": len(test)}
        record.append({**event, "measures": measures})
        reached = known.study.objective.write(measures[known.study.objective.key])
        driver.progress.say(f"{run.name}: {reached} on {len(test):,} test images")


def _report(results: Results, progress: Progress) -> None:
    """Writes what was found. All is measured: whatever fails, `test` is not what goes on."""
    try:
        results.write_best()
        draw_report(results, progress)
    except Exception as error:
        not_concluded(results, error, progress)


def _same(known: Results, test: LabelledImages, record: Writer) -> LabelledImages:
    """The test images. Raises CannotRun where others were measured before; writes down what they are."""
    found, before = test.digest(), known.test.digest
    if before not in (None, found):
        rule = "all models of a study are measured on the same test images"
        value = f"they hash to {found}, and those that were opened before to {before}"
        fix = "put back the files that were there, and do the same again: that is no second opening"
        raise CannotRun([Problem(str(known.folder), rule, value, fix)])
    if before is None:
        record.append({"event": "read", "opening": known.test.number, "images": len(test), "digest": found})
    return test


def _models(known: Results) -> dict[str, Path]:
    """The checkpoint of each final run. Raises CannotRun, before anything is opened, where there is none to measure."""
    place, wanted = str(known.folder), known.test.wanted()
    if not wanted:
        reasons = "; ".join(f"{run.name} {run.status}: {run.reason}" for run in known.test.runs.values())
        raise CannotRun([Problem(place, "a test needs a final model that was trained to its end", reasons)])
    found = checkpoints.newest(known.folder, wanted)
    for run in wanted:
        if run.name not in found or checkpoints.finished_epochs(found[run.name]) != run.last_epoch:
            rule, fix = "a final model is measured from its last checkpoint", f"put {known.folder.ray} back"
            raise CannotRun([Problem(place, rule, f"{run.name} has none of epoch {run.last_epoch}", fix)])
    return found


def _measure(
    study: Study, folder: StudyFolder, data: TrialData, run: Trial, checkpoint: Path, test: LabelledImages
) -> dict[str, float]:
    """Every measure of an epoch, on the test images; keeps the model of each head's first seed in `final/<head>`."""
    import torch

    from lightning_modules.metrics import measures

    design = trial.blueprint(run.head, run.params, data, trial.Task.of(study, np.empty(0, np.intp)))
    module = design.build()
    module.load_state_dict(checkpoints.load(checkpoint)["state_dict"])
    points_ND = model_config.embed(module, test.images)
    images = EmbeddedImages(points_ND, torch.from_numpy(test.labels), data.num_classes, module.spherical)
    health = measures.every_epoch(*images.points, spherical=module.spherical)
    found = objectives.measured(images, study.search.objectives, health)
    if run.index == 1:
        about: dict[str, Any] = {"study": study.name, "trial": run.name, "epoch": run.last_epoch, "seed": run.seed}
        about |= {"configuration": configuration_of(run.name, "final"), "trained_on": "train and validation images"}
        model_config.save(folder.final_models / run.head, design, module.state_dict(), about)
    return {name: float(f"{value:.7g}") for name, value in found.items()}
