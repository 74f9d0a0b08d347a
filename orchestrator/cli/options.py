"""What the verbs share: arguments, exit codes, how refusals and results are said."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from orchestrator.selection.results import Results

DONE, FAILED, WRONG, SOME_FAILED, CANNOT, INTERRUPTED = 0, 1, 2, 3, 4, 130

Folder = Annotated[
    str, typer.Argument(metavar="FOLDER", help="A study's folder, such as results/quick or s3://bucket/runs/quick.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@contextmanager
def errors() -> Iterator[None]:
    """Turns refusals into a message and an exit code."""
    from orchestrator.errors import Interrupted, Refused, StudyError
    from orchestrator.system import interruptions

    try:
        yield
    except Refused as error:
        print(error, file=sys.stderr)
        raise typer.Exit(WRONG if isinstance(error, StudyError) else CANNOT) from error
    except Interrupted as error:
        print(error, file=sys.stderr)
        raise typer.Exit(FAILED) from error
    except (OSError, MemoryError) as error:
        cause = interruptions.of(error)
        if cause is None or (cause.kind == "other" and not isinstance(error, PermissionError)):
            raise
        print(f"{cause.said}\nnothing on record is lost; give the command again once that is mended", file=sys.stderr)
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        print(error if str(error) else "ended at once; nothing on record is lost", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def printing(where_again: str, failed: int = FAILED) -> Iterator[None]:
    """Prints what a verb has found after long work: that nobody reads it any more does not change what it has found.

    where_again: a command that prints it again, for the case that stdout's disk is full; failed: the code for that.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        hung_up = error.errno == errno.EIO and stat.S_ISCHR(os.fstat(1).st_mode)  # the terminal is gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left in the buffer would fail once more, at the exit
        if hung_up or isinstance(error, BrokenPipeError):
            return
        print(f"everything is on disk, but could not be printed: {error}; see {where_again}", file=sys.stderr)
        raise typer.Exit(failed) from error


def duration(written: str | float) -> float:
    """Seconds, from an option like 12h or 1h30m."""
    from orchestrator.cluster.run_options import seconds

    try:
        return seconds(str(written))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def show(*things: Any) -> None:
    """Prints tables and lines, for people; of several empty lines in a row one."""
    from orchestrator.reporting.tables import console_on

    console, before = console_on(sys.stdout), None
    for thing in things:
        if not thing and before == thing:
            continue
        before = thing
        console.print(thing, soft_wrap=isinstance(thing, str))


def print_json(content: Any) -> None:
    """Prints what `--json` asks for."""
    print(json.dumps(content, indent=2))


def say_damage(*studies: Results) -> None:
    """Says, last, what of a study's files could not be read, and fails: what was shown rests on the rest of them."""
    from orchestrator.errors import CannotRun

    damaged = [known.damage for known in studies if known.damage]
    for problems in damaged:
        print(CannotRun(problems), file=sys.stderr)
    if damaged:
        raise typer.Exit(FAILED)
