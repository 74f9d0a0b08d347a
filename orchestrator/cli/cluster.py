"""The verbs that send a study to a cluster from afar, and follow it: submit, follow."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.options import AsJson, errors, print_json
from orchestrator.cli.run import ClusterFile, Overrides

if TYPE_CHECKING:
    from orchestrator.cluster.jobs import Job

Server = Annotated[
    str, typer.Option("--address", metavar="URL", help="The cluster's job server, such as http://127.0.0.1:8265.")
]


def submit(
    study: Annotated[
        str, typer.Argument(metavar="STUDY", help="A study; or a study's folder in a bucket, which then goes on.")
    ],
    address: Server,
    results: Annotated[
        str, typer.Option("--results", metavar="PLACE", help="A bucket, or a folder that all nodes of the cluster see.")
    ] = "",
    set: Overrides = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env", metavar="NAME", help="Pass this variable on; who may see the cluster's jobs can read its value."
        ),
    ] = None,
    cluster: ClusterFile = None,
    time_budget: Annotated[
        str | None,
        typer.Option("--time-budget", metavar="12h", help="End gracefully within that time; submit it again to go on."),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not follow it.")] = False,
    json: AsJson = False,
) -> None:
    """Send a study to a Ray cluster and follow what it says there; Ctrl-C ends the following, not the study."""
    with errors():
        from orchestrator.cluster import jobs

        sent = jobs.submit(study, address, results, set or (), env or (), cluster, time_budget)
        if json:
            print_json({"job": sent.name, "address": sent.address, "place": sent.place})
        else:
            print("\n".join([f"job       {sent.name}", *sent.ways_on()]))
        if not detach:
            _follow(sent)


def follow(
    job: Annotated[str, typer.Argument(metavar="JOB", help="The job's name, as submit printed it.")],
    address: Server,
) -> None:
    """Print what a submitted study says, from its beginning, until it ends; the exit code is the study's."""
    with errors():
        from orchestrator.cluster import jobs

        _follow(jobs.job(job, address))


def _follow(sent: Job) -> None:
    from orchestrator.cluster import jobs

    try:
        code = jobs.follow(sent, lambda text: print(text, end="", file=sys.stderr, flush=True))
    except KeyboardInterrupt:
        print("\n".join(["", "the study goes on without you", *sent.ways_on()]), file=sys.stderr)
        raise typer.Exit from None
    raise typer.Exit(code)
