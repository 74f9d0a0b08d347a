"""Vectors of images: a kept model, a dataset, and a file that any tool reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightning_modules.data.images import DataError, Metadata
from lightning_modules.data.sources.base import FolderSource, Source
from lightning_modules.data.sources.idx import Idx
from lightning_modules.data.sources.mnist import Mnist
from lightning_modules.formats import npy
from lightning_modules.models import model_config
from lightning_modules.models.model_config import Blueprint, ModelError
from orchestrator.errors import CannotRun, Problem
from orchestrator.files.atomic import write_atomic, write_npy
from orchestrator.files.paths import local
from orchestrator.selection.results import Results
from orchestrator.stages import sealed_test
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.system.commands import ours

if TYPE_CHECKING:
    from lightning_modules.heads.base import EmbeddingModule

FORMATS = (".npy", ".parquet")
PARTS = {"train": "train", "test": "t10k"}  # as people say, as the files of MNIST are called


@dataclass(frozen=True)
class Embedded:
    """What was written, and where."""

    path: Path
    labels_path: Path | None
    images: int
    dimensions: int


def embed(model: Path, data: str, part: str, out: Path, open_test: bool = False) -> Embedded:
    """Writes the embeddings (N, D) float32 of a dataset to `out`, .npy or .parquet, in the dataset's order.

    data: "mnist", a folder of IDX files, or a .npy file of uint8 images (N, H, W[, channels]). part: "train" or
    "test", which a .npy file does not have. The test images of the model's own study are sealed: they are embedded
    only if `open_test` says so, which is written down, or by a final model once its test has been opened. Labels go
    to `<out>.labels.npy`, or into the parquet file. Raises CannotRun for what is missing, unreadable, or does not fit
    the model.
    """
    model, out = local(model, "MODEL"), local(out, "--out")
    if data != "mnist":
        data = str(local(data, "--data"))
    if out.suffix not in FORMATS:
        raise _refused("--out", f"vectors are written as {' or '.join(FORMATS)}", str(out), "name it vectors.npy")
    if Path(data).resolve() == out.resolve():
        raise _refused("--out", "the images are not written over", str(out), "name another file")
    try:
        design, module = model_config.load(model)
        if part == "test" and (study := _study_of(model, data)):
            _check_shape(design, _described(data, PARTS[part]).image_shape)
            _unseal(study, model, open_test)
        images, labels = _load(data, PARTS[part])
    except DataError as error:
        raise _refused("--data", "the images must be readable", str(error), "mnist, a folder, or images.npy") from error
    except ModelError as error:
        fix = "name a model's folder, such as results/quick/models/arcface"
        raise _refused("MODEL", "a model's folder holds config.json and model.safetensors", str(error), fix) from error
    _check_shape(design, images.shape[1:])
    vectors = _on_best_device(module, images)
    try:
        labels_path = _write(out, vectors, labels)
    except OSError as error:
        raise _refused("--out", "the vectors' folder must be one to write in", str(error), "name another") from error
    return Embedded(out, labels_path, *vectors.shape)


def _unseal(study: Results, model: Path, open_test: bool) -> None:
    """Writes down a look at a study's test images, which must be meant; final models have had theirs."""
    if study.test.heads and model.resolve().parent == study.folder.final_models.resolve():
        return
    if not open_test:
        rule, fix = "these are the sealed test images of the model's own study", "--open-test looks at them, on record"
        raise _refused("--part test", rule, study.test.said(), f"{ours('test', study.folder)}, or {fix}")
    sealed_test.look(study, "embed")


def _study_of(model: Path, data: str) -> Results | None:
    """The study whose folder a model lies in, if these are its images."""
    root = model.resolve().parent.parent
    if not StudyFolder(root).exists():
        return None
    known = Results(root)
    own = known.study.data
    same = own.folder == Path(data).resolve() if isinstance(own, FolderSource) else own.source == data
    return known if same else None


def _write(out: Path, vectors: NDArray[np.float32], labels: NDArray[np.int64] | None) -> Path | None:
    """Writes vectors and labels; returns the labels' own file, where they have one."""
    if out.suffix == ".parquet":
        write_atomic(out, _parquet(vectors, labels))
        return None
    labels_path = out.with_suffix(".labels.npy")
    labels_path.unlink(missing_ok=True)  # of other images that were embedded to the same place
    write_npy(out, vectors)
    if labels is None:
        return None
    write_npy(labels_path, labels)
    return labels_path


def _source(data: str) -> Source:
    try:
        return Mnist() if data == "mnist" else Idx(path=data)
    except ValueError as error:
        raise DataError(f"{data!r} is no folder's name") from error


def _described(data: str, part: str) -> Metadata:
    """What is known of the images of a source, none of which is read. Raises DataError."""
    return _source(data).metadata(part)


def _load(data: str, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64] | None]:
    path = Path(data)
    if path.suffix != ".npy":
        known = _source(data).load(part)
        if not len(known):
            raise DataError(f"{path} holds no image")
        return known.images, known.labels
    try:
        images = npy.read(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: {error}") from error
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or not len(images):
        raise DataError(f"{path} has {images.dtype} of shape {images.shape}, not uint8 images (N, H, W[, channels])")
    return images, None


def _check_shape(design: Blueprint, found: tuple[int, ...]) -> None:
    """found: rows and columns of an image, with or without channels."""
    rows, columns, channels = design.image_shape
    found = found if len(found) == 3 else (*found, 1)
    if found != (rows, columns, channels):
        fix = "resize the images, or embed with a model that was trained on such"
        shapes = f"{rows} × {columns} × {channels}", " × ".join(map(str, found))
        raise _refused("--data", f"this model takes images of {shapes[0]}", shapes[1], fix)


def _on_best_device(module: EmbeddingModule, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    import torch

    module.to("cuda" if torch.cuda.is_available() else "cpu")
    vectors: NDArray[np.float32] = model_config.embed(module, images).cpu().numpy()
    return vectors


def _parquet(vectors: NDArray[np.float32], labels: NDArray[np.int64] | None) -> bytes:
    """Columns `index`, `label` where there are labels, and `embedding`, a list of as many floats as dimensions."""
    import pyarrow as pa
    from pyarrow import parquet

    columns = {"index": pa.array(np.arange(len(vectors)))}
    if labels is not None:
        columns["label"] = pa.array(labels)
    columns["embedding"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
    sink = pa.BufferOutputStream()
    parquet.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


def _refused(place: str, rule: str, value: str, fix: str) -> CannotRun:
    return CannotRun([Problem(place, rule, value, fix)])
