"""The verbs: parses, prints, sets the exit code, nothing else.

Exit codes: 0 done, 1 failed, 2 wrong usage or study, 3 finished but some trials failed, 4 cannot run here,
130 interrupted (and resumable). Data goes to stdout, progress and errors to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from orchestrator.results import Results
    from orchestrator.study import Study

DONE, FAILED, WRONG, SOME_FAILED, CANNOT, INTERRUPTED = 0, 1, 2, 3, 4, 130

app = typer.Typer(
    help="Searches for the best embedding head: softmax, triplet, ArcFace, CosFace, SphereFace, hybrid.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

StudySource = Annotated[
    str,
    typer.Argument(metavar="STUDY", help="A study's YAML file, or a shipped one: quick, mnist_3d, mnist_2d."),
]
Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="A study's folder, such as results/quick.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Override a key of the study: --set training.epochs=3"),
]
ResultsFolder = Annotated[Path, typer.Option("--results", help="Where studies' folders are made.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
StartFrom = Annotated[
    Path | None,
    typer.Option("--start-from", help="A finished study's folder, whose best each head's first trial takes over."),
]
NextName = Annotated[bool, typer.Option("--next-name", help="If the name is taken, take name-2, name-3, …")]


class Part(StrEnum):
    """The parts of a dataset."""

    train = "train"
    test = "test"


def main() -> None:
    """The console script."""
    app()


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


@app.command()
def plan(
    study: StudySource,
    set: Overrides = None,
    results: ResultsFolder = Path("results"),
    next_name: NextName = False,
    start_from: StartFrom = None,
    json: AsJson = False,
) -> None:
    """Print what a study will search and cost, and whether it can run here. Starts nothing."""
    with _errors():
        from orchestrator import plan as planning

        planned = planning.make(_loaded(study, set or [], results, next_name, start_from), results)
        if json:
            _print_json(planned.as_dict())
        else:
            from orchestrator import tables

            _print(*tables.plan(planned))


@app.command()
def launch(
    study: StudySource,
    set: Overrides = None,
    results: ResultsFolder = Path("results"),
    next_name: NextName = False,
    start_from: StartFrom = None,
    online: Annotated[
        bool, typer.Option("--online", help="Send runs to Weights & Biases while the search runs.")
    ] = False,
    no_tracking: Annotated[bool, typer.Option("--no-tracking", help="Keep no Weights & Biases runs.")] = False,
    json: AsJson = False,
) -> None:
    """Plan a study, search, and confirm the best of each head on fresh seeds; every epoch is recorded."""
    with _errors():
        if online and no_tracking:
            raise typer.BadParameter("--online and --no-tracking exclude each other")
        from orchestrator.progress import for_this_terminal
        from orchestrator.search import launch as run

        mode = ["tracking.mode=online"] if online else ["tracking.mode=off"] if no_tracking else []
        loaded = _loaded(study, [*(set or ()), *mode], results, next_name, start_from)
        _ended(run(loaded, results, for_this_terminal()), json)


@app.command()
def resume(folder: Folder, json: AsJson = False) -> None:
    """Go on with an interrupted study, to exactly the planned number of trials."""
    with _errors():
        from orchestrator.progress import for_this_terminal
        from orchestrator.search import resume as run

        _ended(run(folder, for_this_terminal()), json)


@app.command()
def confirm(
    folder: Folder,
    top: Annotated[int | None, typer.Option("--top", min=1, help="How many configurations of each head.")] = None,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="How many fresh seeds of each.")] = None,
    racing: Annotated[
        bool | None, typer.Option("--racing/--no-racing", help="Stop configurations that are clearly behind.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Train the best configurations of a finished search on more fresh seeds, or more configurations on them."""
    with _errors():
        from orchestrator.progress import for_this_terminal
        from orchestrator.search import confirm as run

        _ended(run(folder, top, seeds, racing, for_this_terminal()), json)


@app.command("test")
def unseal(
    folder: Folder,
    seeds: Annotated[int | None, typer.Option("--seeds", min=1, help="How many final models of each head.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Open it once more; every output will say so.")] = False,
    json: AsJson = False,
) -> None:
    """Open the sealed test set, once: trains each head's best on train and validation images, and measures it."""
    with _errors():
        from orchestrator.progress import for_this_terminal
        from orchestrator.verdict import opening

        ended = opening.open_test(folder, seeds, again, for_this_terminal())
        _ended(ended, json, interrupted=not ended.test.heads)


@app.command()
def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A kept model: results/quick/models/arcface.")],
    out: Annotated[Path, typer.Option("--out", help="The folder that is made.")] = Path("exported"),
    json: AsJson = False,
) -> None:
    """Write a model to take away: safetensors with its configuration, and ONNX, checked against each other."""
    with _errors():
        from orchestrator.export import export as run

        made = run(model, out)
        if json:
            _print_json(made.as_dict())
        else:
            print(made)


@app.command()
def status(folder: Folder, json: AsJson = False) -> None:
    """Print how far a study is; works from another terminal while it runs."""
    with _errors():
        from orchestrator import tables
        from orchestrator.results import Results

        known = Results(folder)
        if json:
            _print_json(known.as_dict())
        else:
            _print(*tables.status(known))


@app.command()
def stop(folder: Folder) -> None:
    """End a running study gracefully; `resume` goes on with it later."""
    with _errors():
        from orchestrator.records import StudyFolder, request_stop

        print(request_stop(StudyFolder(folder)))


@app.command()
def best(folder: Folder, json: AsJson = False) -> None:
    """Print the best configuration of each head, and write each as best/<head>.yaml, ready to launch again."""
    with _errors():
        from orchestrator import leaderboards
        from orchestrator.results import Results

        known = Results(folder)
        written = known.write_best()
        if not written:
            print(f"no trial of {known.study.name} has ended with a result yet", file=sys.stderr)
            raise typer.Exit(FAILED)
        if json:
            _print_json({"best": known.as_dict()["leaderboard"], "files": [str(path) for path in written]})
        else:
            lines = leaderboards.leaderboard_of(known), leaderboards.verdicts(known)
            _print(
                *(each for several in lines for each in several), *(f"orchestrator launch {path}" for path in written)
            )


@app.command()
def report(folder: Folder, json: AsJson = False) -> None:
    """Write report.html into a study's folder, one page with everything; works while it runs."""
    with _errors():
        from orchestrator import report as reporting
        from orchestrator.results import Results

        path = reporting.write(Results(folder))
        if json:
            _print_json({"report": str(path), "bytes": path.stat().st_size})
        else:
            print(path)


@app.command()
def compare(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER", help="Studies' folders, such as results/quick.")],
    figure: Annotated[Path, typer.Option("--figure", help="Where the figure is written, .png or .svg.")] = Path(
        "compare.png"
    ),
    json: AsJson = False,
) -> None:
    """Put studies side by side: the best of each head as a table and a figure, and what differs between them."""
    with _errors():
        from orchestrator.comparison import Comparison
        from orchestrator.results import Results

        compared = Comparison([Results(folder) for folder in folders])
        compared.draw(figure)
        if json:
            _print_json({**compared.as_dict(), "figure": str(figure)})
        else:
            _print(*compared.table(), f"figure    {figure}")


@app.command()
def embed(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A kept model: results/quick/models/arcface.")],
    data: Annotated[str, typer.Option("--data", help="mnist, a folder of IDX files, or images.npy (uint8).")],
    part: Annotated[Part, typer.Option("--part", help="Which part of a dataset.")] = Part.train,
    out: Annotated[Path, typer.Option("--out", help="Where the vectors go, .npy or .parquet.")] = Path("vectors.npy"),
    open_test: Annotated[
        bool, typer.Option("--open-test", help="Look at the sealed test images of the model's study, on record.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Write the vectors of images, as a model of a finished study embeds them."""
    with _errors():
        from orchestrator import vectors

        made = vectors.embed(model, data, part.value, out, open_test)
        if part is Part.test:
            print("these are test images: what is tuned after a look at them is no longer honest", file=sys.stderr)
        files = {"vectors": str(made.path), "labels": str(made.labels_path) if made.labels_path else None}
        if json:
            _print_json({**files, "images": made.images, "dimensions": made.dimensions})
        else:
            print(f"{made.path}: {made.images:,} vectors of {made.dimensions} dimensions, float32")
            if made.labels_path:
                print(f"{made.labels_path}: their classes")


def _loaded(source: str, overrides: list[str], results: Path, next_name: bool, start_from: Path | None) -> Study:
    """The study that a command line names."""
    from orchestrator import plan as planning
    from orchestrator.study import Study

    study = Study.load(source, overrides)
    if start_from:
        from orchestrator.verdict.starts import start_from as carry

        study = carry(study, start_from, planning.classes_of(study))
    return planning.free_name(study, results) if next_name else study


def _ended(results: Results, json: bool, interrupted: bool = False) -> None:
    """Says what a search found, and exits with what became of it."""
    from orchestrator import leaderboards

    if json:
        _print_json(results.as_dict())
    else:
        _print(*leaderboards.ending(results))
    if interrupted or not results.finished:
        raise typer.Exit(INTERRUPTED)
    runs = results.confirmation.runs if results.confirmation else {}
    statuses = {trial.status for trial in (*results.trials.values(), *runs.values(), *results.test.runs.values())}
    raise typer.Exit(SOME_FAILED if statuses & {"failed", "diverged"} else DONE)


@contextmanager
def _errors() -> Iterator[None]:
    """Turns refusals into a message and an exit code."""
    from orchestrator.errors import Refused, StudyError

    try:
        yield
    except Refused as error:
        print(error, file=sys.stderr)
        raise typer.Exit(WRONG if isinstance(error, StudyError) else CANNOT) from error
    except KeyboardInterrupt:
        print("ended at once; a study that was running goes on with orchestrator resume", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None


def _print(*things: Any) -> None:
    from rich.console import Console

    console = Console()
    for thing in things:
        console.print(thing, highlight=False, markup=False, soft_wrap=isinstance(thing, str))


def _print_json(content: Any) -> None:
    print(json.dumps(content, indent=2))
