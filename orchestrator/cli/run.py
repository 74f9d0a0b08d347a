"""The verbs that run a study: plan, launch, resume, confirm, test, stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import (
    DONE,
    FAILED,
    INTERRUPTED,
    SOME_FAILED,
    AsJson,
    Folder,
    duration,
    errors,
    print_json,
    printing,
    show,
)

if TYPE_CHECKING:
    from orchestrator.cluster.run_options import RunOptions
    from orchestrator.cost.estimate import CostEstimate
    from orchestrator.planning.plan import Plan
    from orchestrator.selection.results import Results
    from orchestrator.study.schema import Study

StudySource = Annotated[
    str,
    typer.Argument(metavar="STUDY", help="A study's YAML file, or a shipped one: quick, mnist_3d, mnist_2d."),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a key of the study: --set training.epochs=3"),
]
ResultsFolder = Annotated[
    str,
    typer.Option(
        "--results", metavar="PLACE", help="Where studies' folders are made, such as results or s3://bucket/runs."
    ),
]
StartFrom = Annotated[
    str | None,
    typer.Option(
        "--start-from",
        metavar="FOLDER",
        help="A finished study's folder, whose best each head's first trial takes over.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="HOST:PORT", help="Train on that Ray cluster, or on the one here: auto."),
]
ClusterFile = Annotated[
    Path | None,
    typer.Option("--cluster", help="The cluster's YAML: its autoscaler may start the nodes in it."),
]
TimeBudget = Annotated[
    float | None,
    typer.Option(
        "--time-budget", metavar="12h", parser=duration, help="End gracefully within that time; resume goes on."
    ),
]
OtherCode = Annotated[
    bool, typer.Option("--other-code", help="Go on though other code trained before; every output will say so.")
]
NextName = Annotated[bool, typer.Option("--next-name", help="If the name is taken, take name-2, name-3, …")]


def plan(
    study: StudySource,
    set: Overrides = None,
    results: ResultsFolder = "results",
    next_name: NextName = False,
    start_from: StartFrom = None,
    address: Address = None,
    cluster: ClusterFile = None,
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Train each head for some seconds here, and tell time, hours and cost.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Print what a study will search and cost, and whether it can run here. Starts no search, and keeps nothing."""
    with errors():
        from orchestrator.cluster.run_options import RunOptions
        from orchestrator.planning import plan as planning

        loaded = _loaded(study, set or [], results, next_name, start_from)
        planned = planning.make(loaded, results, fleet=RunOptions(address, cluster).fleet())
        estimated = _estimated(planned) if calibrate else None
        if json:
            print_json(planned.as_dict() | ({"estimate": estimated.as_dict()} if estimated else {}))
        else:
            from orchestrator.reporting import tables

            show(*tables.plan(planned, estimated))


def launch(
    study: StudySource,
    set: Overrides = None,
    results: ResultsFolder = "results",
    next_name: NextName = False,
    start_from: StartFrom = None,
    online: Annotated[
        bool, typer.Option("--online", help="Send runs to Weights & Biases while the search runs.")
    ] = False,
    no_tracking: Annotated[bool, typer.Option("--no-tracking", help="Keep no Weights & Biases runs.")] = False,
    address: Address = None,
    cluster: ClusterFile = None,
    time_budget: TimeBudget = None,
    json: AsJson = False,
) -> None:
    """Plan a study, search, and confirm the best of each head on fresh seeds; every epoch is recorded."""
    with errors():
        if online and no_tracking:
            raise typer.BadParameter("--online and --no-tracking exclude each other")
        from orchestrator.cluster.run_options import RunOptions
        from orchestrator.reporting.progress_view import for_this_terminal
        from orchestrator.stages.launch import launch as run

        terms = RunOptions(address, cluster, time_budget)
        mode = ["tracking.mode=online"] if online else ["tracking.mode=off"] if no_tracking else []
        loaded = _loaded(study, [*(set or ()), *mode], results, next_name, start_from)
        _ended(run(loaded, results, for_this_terminal(), terms), json, terms=terms)


def resume(
    folder: Folder,
    address: Address = None,
    cluster: ClusterFile = None,
    time_budget: TimeBudget = None,
    other_code: OtherCode = False,
    json: AsJson = False,
) -> None:
    """Go on with an interrupted study, to exactly the planned number of trials."""
    with errors():
        from orchestrator.cluster.run_options import RunOptions
        from orchestrator.reporting.progress_view import for_this_terminal
        from orchestrator.stages.launch import resume as run

        terms = RunOptions(address, cluster, time_budget)
        _ended(run(folder, for_this_terminal(), terms, other_code), json, terms=terms)


def confirm(
    folder: Folder,
    top: Annotated[int | None, typer.Option("--top", min=1, help="How many configurations of each head.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="How many fresh seeds of each.")] = None,
    racing: Annotated[
        bool | None, typer.Option("--racing/--no-racing", help="Stop configurations that are clearly behind.")
    ] = None,
    address: Address = None,
    other_code: OtherCode = False,
    json: AsJson = False,
) -> None:
    """Train the best configurations of a finished search on more fresh seeds, or more configurations on them."""
    with errors():
        from orchestrator.cluster.run_options import RunOptions
        from orchestrator.reporting.progress_view import for_this_terminal
        from orchestrator.stages.launch import confirm as run

        _ended(run(folder, top, seeds, racing, for_this_terminal(), RunOptions(address), other_code), json)


def unseal(
    folder: Folder,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="How many final models of each head.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Open it once more; every output will say so.")] = False,
    address: Address = None,
    other_code: OtherCode = False,
    json: AsJson = False,
) -> None:
    """Open the sealed test set, once: trains each head's best on train and validation images, and measures it."""
    with errors():
        from orchestrator.cluster.run_options import RunOptions
        from orchestrator.reporting.progress_view import for_this_terminal
        from orchestrator.stages import sealed_test

        ended = sealed_test.open_test(folder, seeds, again, for_this_terminal(), RunOptions(address), other_code)
        _ended(ended, json, interrupted=not ended.test.heads)


def stop(folder: Folder) -> None:
    """End a running study gracefully; `resume` goes on with it later."""
    with errors():
        from orchestrator.storage.bucket_sync import here
        from orchestrator.storage.study_folder import StudyFolder, request_stop

        print(request_stop(StudyFolder(here(folder))))


def _loaded(source: str, overrides: list[str], results: str, next_name: bool, start_from: str | None) -> Study:
    """The study that a command line names."""
    from orchestrator.planning import plan as planning
    from orchestrator.study.schema import Study

    study = Study.load(source, overrides)
    if start_from:
        from orchestrator.selection.warm_start import start_from as carry

        study = carry(study, start_from, planning.classes_of(study))
    return planning.free_name(study, results) if next_name else study


def _estimated(planned: Plan) -> CostEstimate:
    """What a plan will take, by a calibration on this machine."""
    from orchestrator.cost import estimate
    from orchestrator.cost.benchmark import calibrate
    from orchestrator.reporting.progress_view import for_this_terminal

    return estimate.of(planned, calibrate(planned, for_this_terminal().say))


def _ended(results: Results, json: bool, interrupted: bool = False, terms: RunOptions | None = None) -> None:
    """Says what a search found, and exits with what became of it. To end when time is up is no interruption."""
    from orchestrator.reporting import leaderboards
    from orchestrator.system.commands import ours

    code = _code(results, interrupted or not results.finished, terms)
    with printing(ours("best", results.folder), code or FAILED):
        if json:
            print_json(results.as_dict())
        else:
            show(*leaderboards.ending(results))
    raise typer.Exit(code)


def _code(results: Results, interrupted: bool, terms: RunOptions | None) -> int:
    if interrupted:
        return DONE if terms and terms.used_up else INTERRUPTED
    if not results.concluded:
        return FAILED
    return SOME_FAILED if any(run.lost for _, run in results.runs) else DONE
