"""The verbs: parses, prints, sets the exit code, nothing else.

Exit codes: 0 done, 1 failed or broken off by the machine, 2 wrong usage or study, 3 finished but some trials failed,
4 cannot run here, 130 interrupted; `resume` goes on after 130, and where the machine broke it off. Data goes to stdout,
progress and errors to stderr.
"""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from orchestrator.cli import cluster, inspect, models, run
from orchestrator.cli.options import FAILED, INTERRUPTED
from orchestrator.system import caches, ray_thread, signals, streams

app = typer.Typer(
    help="Searches for the best embedding head: softmax, triplet, ArcFace, CosFace, SphereFace, hybrid.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
VERBS: dict[str, Callable[..., None]] = {  # in the order in which --help lists them
    "doctor": inspect.doctor,
    "plan": run.plan,
    "launch": run.launch,
    "submit": cluster.submit,
    "follow": cluster.follow,
    "resume": run.resume,
    "confirm": run.confirm,
    "test": run.unseal,
    "export": models.export,
    "status": inspect.status,
    "stop": run.stop,
    "best": inspect.best,
    "report": inspect.report,
    "compare": inspect.compare,
    "inspect": inspect.inspect,
    "dashboard": inspect.dashboard,
    "fetch": inspect.fetch,
    "sync": inspect.sync,
    "embed": models.embed,
}


def main() -> None:
    """The console script."""
    atexit.register(gc.freeze)  # last of all: nothing is searched for garbage, which takes a second or two after torch
    streams.mend()
    caches.furnish()
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            signals.ignore()  # one more must not change the code; the end takes a moment
        ray_thread.leave(end.code if isinstance(end.code, int) else FAILED)
        raise
    finally:
        streams.steadfast(sys.stderr).finish()


def version(asked: bool) -> None:
    """Prints the version and ends."""
    if asked:
        from orchestrator import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the verb."""


for name, verb in VERBS.items():
    app.command(name)(verb)
