"""What a study shows as a whole: a run of its own with the leaderboard, its report, and the confirmed best models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lightning_modules.models import model_config
from orchestrator.selection.ranking import Standing
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import read_events
from orchestrator.storage.events import Event
from orchestrator.tracking.remote_state import STUDY_RUN, Held
from orchestrator.tracking.run import About, close_run, open_run

UPLOAD_S = 60.0  # a report has about 8 MB
COLUMNS = ("head", "objective", "runs", "interval_low", "interval_high", "trial", "test")


def publish(about: About, results: Results, held: Held | None, path: str) -> str:
    """Sends what W&B does not have of it; returns the run's address, "" where it has all. Raises what wandb raises."""
    import wandb

    state = fingerprint(results)
    if held and held.summary.get("published") == state and held.state == "finished":
        return ""
    study = about.study
    notes = f"{study.description or study.name}: leaderboard, report and best models."
    record = {"confirmation": _untold(results, "confirmation"), "test": _untold(results, "final")}
    run = open_run(about, STUDY_RUN, STUDY_RUN, path, [STUDY_RUN], notes, {}, patience_s=UPLOAD_S)
    run.config.update({"record": record}, allow_val_change=True)
    lines = [_line(results, row) for row in results.leaderboard]
    run.log({"leaderboard": wandb.Table(columns=list(COLUMNS), data=lines)})
    if results.folder.report_file.exists():
        report = wandb.Artifact(f"{study.name}-report", type="report", description=f"The report of {study.name}.")
        report.add_file(str(results.folder.report_file))
        run.log_artifact(report)
    for row, folder in winners(results):
        run.log_artifact(_model(about, results, row, folder), aliases=["best"])
    best = {row.head: row.objective for row in results.leaderboard if row.best}
    run.summary.update({"published": state, "finished": results.finished, "best": best})
    close_run(run, exit_code=0)
    return str(run.url)


def winners(results: Results) -> list[tuple[Standing, Path]]:
    """Each head's best that fresh seeds have confirmed, with the folder of its model."""
    found = []
    for row in results.leaderboard:
        folder = results.folder.models / row.head
        if row.confirmed and row.best and model_config.about(folder).get("trial") == row.best.name:
            found.append((row, folder))
    return found


def fingerprint(results: Results) -> str:
    """Of all that is published: equal while nothing has changed."""
    told = {key: value for key, value in results.as_dict().items() if key not in ("folder", "running")}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode())
    files = [results.folder.report_file, *(path for _, folder in winners(results) for path in sorted(folder.iterdir()))]
    for path in files:
        digest.update(path.name.encode() + (path.read_bytes() if path.exists() else b""))
    return digest.hexdigest()


def _untold(results: Results, part: str) -> list[Event]:
    """What a record says that belongs to no trial: what was asked for, dropped, opened and measured."""
    events = read_events(results.folder.records()[part], objective=results.study.objective)
    return [event for event in events if "trial" not in event]


def _line(results: Results, row: Standing) -> list[Any]:
    interval = row.interval(results.support)
    tested = results.test.heads.get(row.head)
    return [
        row.head,
        row.objective if row.best else None,
        row.runs,
        interval[0] if interval else None,
        interval[1] if interval else None,
        row.best.name if row.best else "",
        tested.estimate.mean if tested else None,
    ]


def _model(about: About, results: Results, row: Standing, folder: Path) -> Any:
    import wandb

    assert row.best
    assert row.confirmed
    estimate = row.confirmed.estimate
    metadata = {
        "study": about.study.name,
        "study_id": about.study_id,
        "head": row.head,
        "trial": row.best.name,
        "seed": row.best.seed,
        "params": row.best.params,
        "objective": estimate.mean,
        "objective_is": f"mean over {estimate.n} fresh seeds, on validation images",
        "interval_95": list(estimate.interval) if estimate.interval else None,
    }
    artifact = wandb.Artifact(
        f"{about.study.name}-{row.head}", type="model", description=f"The best {row.head}.", metadata=metadata
    )
    artifact.add_dir(str(folder))
    best = results.folder.best / f"{row.head}.yaml"
    if best.exists():
        artifact.add_file(str(best), name="study.yaml")
    return artifact
