"""The verbs of kept models: export, embed."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.options import AsJson, errors, print_json


class Part(StrEnum):
    """The parts of a dataset."""

    train = "train"
    test = "test"


def export(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A kept model: results/quick/models/arcface.")],
    out: Annotated[Path, typer.Option("--out", help="The folder that is made.")] = Path("exported"),
    json: AsJson = False,
) -> None:
    """Write a model to take away: safetensors with its configuration, and ONNX, checked against each other."""
    with errors():
        from orchestrator.inference.export import export as run

        made = run(model, out)
        if json:
            print_json(made.as_dict())
        else:
            print(made)


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
    with errors():
        from orchestrator.inference import embed_dataset

        made = embed_dataset.embed(model, data, part.value, out, open_test)
        if part is Part.test:
            print("these are test images: what is tuned after a look at them is no longer honest", file=sys.stderr)
        files = {"vectors": str(made.path), "labels": str(made.labels_path) if made.labels_path else None}
        if json:
            print_json({**files, "images": made.images, "dimensions": made.dimensions})
        else:
            print(f"{made.path}: {made.images:,} vectors of {made.dimensions} dimensions, float32")
            if made.labels_path:
                print(f"{made.labels_path}: their classes")
