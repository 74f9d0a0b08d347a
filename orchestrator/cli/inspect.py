"""The verbs that look: doctor, status, best, report, compare, inspect, dashboard, fetch, sync."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import CANNOT, FAILED, AsJson, Folder, errors, print_json, say_damage, show


def doctor(
    cluster: Annotated[
        Path | None, typer.Option("--cluster", help="Look at a cluster's YAML, not at this machine.")
    ] = None,
    study: Annotated[
        list[str] | None, typer.Option("--study", help="Whether trials of this study fit on the cluster's nodes.")
    ] = None,
    results: Annotated[Path, typer.Option("--results", help="Where studies' folders would be made.")] = Path("results"),
    json: AsJson = False,
) -> None:
    """Say whether this machine, or a cluster that a file describes, is fit for a search."""
    with errors():
        from orchestrator.cluster import doctor as examining
        from orchestrator.study.schema import Study

        if study and not cluster:
            raise typer.BadParameter("--study is for --cluster; on this machine orchestrator plan says more")
        studies = [Study.load(source) for source in study or ()]
        found = list(examining.of_cluster(cluster, studies) if cluster else examining.of_machine(results))
        if json:
            print_json([finding.as_dict() for finding in found])
        else:
            from orchestrator.reporting import tables

            show(
                tables.findings(found),
                *(line for finding in found if finding.problem for line in str(finding.problem).splitlines()),
            )
        if any(finding.problem for finding in found):
            raise typer.Exit(CANNOT)


def status(folder: Folder, json: AsJson = False) -> None:
    """Print how far a study is; works from another terminal while it runs."""
    with errors():
        from orchestrator.reporting import tables
        from orchestrator.selection.results import Results

        known = Results(folder, damaged=True)
        if json:
            print_json(known.as_dict())
        else:
            show(*tables.status(known))
        say_damage(known)


def best(folder: Folder, json: AsJson = False) -> None:
    """Print the best configuration of each head, and write each as best/<head>.yaml, ready to launch again."""
    with errors():
        from orchestrator.files.disk import Spot
        from orchestrator.reporting import leaderboards
        from orchestrator.selection.results import Results
        from orchestrator.system.commands import ours

        known = Results(folder, damaged=True)
        obstacle = Spot.of(known.folder.best).obstacle  # of someone else's study, perhaps
        written = [] if obstacle else known.write_best()
        known.folder.publish()
        if not known.best and not known.damage:
            print(f"no trial of {known.study.name} has ended with a result yet", file=sys.stderr)
            raise typer.Exit(FAILED)
        if json:
            print_json({"best": known.as_dict()["leaderboard"], "files": [str(path) for path in written]})
        else:
            lines = leaderboards.leaderboard_of(known), leaderboards.verdicts(known)
            show(*(each for several in lines for each in several), *(ours("launch", path) for path in written))
        say_damage(known)
        if obstacle:
            print(f"no best/<head>.yaml is written: {obstacle}", file=sys.stderr)


def report(folder: Folder, json: AsJson = False) -> None:
    """Write report.html into a study's folder, one page with everything; works while it runs."""
    with errors():
        from orchestrator.reporting import report as reporting
        from orchestrator.selection.results import Results

        known = Results(folder, damaged=True)
        path = reporting.write(known)
        known.folder.publish()
        if json:
            print_json({"report": str(path), "bytes": path.stat().st_size})
        else:
            print(path)
        say_damage(known)


def compare(
    folders: Annotated[list[str], typer.Argument(metavar="FOLDER", help="Studies' folders, such as results/quick.")],
    figure: Annotated[Path, typer.Option("--figure", help="Where the figure is written, .png or .svg.")] = Path(
        "compare.png"
    ),
    json: AsJson = False,
) -> None:
    """Put studies side by side: the best of each head as a table and a figure, and what differs between them."""
    with errors():
        from orchestrator.reporting.comparison import Comparison
        from orchestrator.selection.results import Results

        compared = Comparison([Results(folder, damaged=True) for folder in folders])
        compared.draw(figure)
        if json:
            print_json({**compared.as_dict(), "figure": str(figure)})
        else:
            show(*compared.table(), f"figure    {figure}")
        say_damage(*compared.studies)


def dashboard(
    folder: Folder,
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="The port on this machine; 0 takes a free one.")
    ] = 8080,
) -> None:
    """Show a study's trials in Optuna's dashboard, a web page that follows a running search, until Ctrl-C."""
    with errors():
        from orchestrator.reporting.dashboard import HOST, server

        with server(folder, port) as page, suppress(KeyboardInterrupt):
            print(f"http://{HOST}:{page.server_port}/dashboard shows {folder}, to this machine only; Ctrl-C ends it")
            sys.stdout.flush()
            page.serve_forever()


def inspect(
    source: Annotated[
        str, typer.Argument(metavar="STUDY", help="A study's folder, or its sweep at W&B: entity/project/sweep.")
    ],
    json: AsJson = False,
) -> None:
    """Look at a study whole, from its folder or its sweep at W&B: progress, best, what settings matter, failures."""
    with errors():
        from orchestrator.reporting.inspection import inspected

        with inspected(source) as known:
            if json:
                print_json(known.as_dict())
            else:
                show(*known.lines())
            say_damage(known.results)


def fetch(
    folder: Folder,
    into: Annotated[Path, typer.Option("--into", help="The folder that gets the study's folder.")] = Path("results"),
    json: AsJson = False,
) -> None:
    """Copy a study out of a bucket into a folder of this machine; models and report included, checkpoints not."""
    with errors():
        from orchestrator.storage.bucket_sync import fetch as copy

        path = copy(folder, into)
        if json:
            print_json({"folder": str(path)})
        else:
            print(path)


def sync(folder: Folder, json: AsJson = False) -> None:
    """Send to Weights & Biases what it does not have of a study yet, from the study's records."""
    with errors():
        from functools import partial

        from orchestrator.tracking.sync import sync as run

        synced = run(folder, partial(print, file=sys.stderr))
        if json:
            print_json(synced.as_dict())
        else:
            print(synced)
