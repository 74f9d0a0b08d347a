"""A kept model as a folder that runs anywhere: weights, configuration with its thresholds, and an ONNX graph.

The graph takes uint8 pixels and scales them itself. It is checked against torch before it is put into place.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightning_modules.models import model_config
from lightning_modules.models.model_config import CONFIG, WEIGHTS, Blueprint, ModelError
from orchestrator.errors import CannotRun, Problem
from orchestrator.files.paths import local

if TYPE_CHECKING:
    from lightning_modules.heads.base import EmbeddingModule

GRAPH = "model.onnx"
NEEDED = ("onnx", "onnxruntime", "onnxscript")
MOST_DIFFERENCE = 1e-4  # between onnxruntime and torch, relative to the largest value
CHECKED = (1, 7)  # images at a time


@dataclass(frozen=True)
class Exported:
    """What was written and how well the graph agrees with torch. difference: the largest, absolute and relative."""

    folder: Path
    files: tuple[str, ...]
    dimensions: int
    largest_difference: float
    relative_difference: float
    calibrated: bool

    def __str__(self) -> str:
        checked = f"onnxruntime and torch differ by {self.largest_difference:.1e} at most (relative: "
        thresholds = "with thresholds" if self.calibrated else "without thresholds: calibrate it on own images"
        return f"{self.folder}: {', '.join(self.files)}\n{checked}{self.relative_difference:.1e}); {thresholds}"

    def as_dict(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {**asdict(self), "folder": str(self.folder), "files": list(self.files)}


def export(model: Path, out: Path) -> Exported:
    """Writes config.json, model.safetensors and model.onnx of the model in a folder to the new folder `out`.

    The graph maps "images" uint8 (N, H, W), or (N, H, W, channels) where there are several, to "embeddings" float32
    (N, D), for any N from 1. Raises CannotRun where a package is missing, the model cannot be read, `out` is there
    already or cannot be written, or the graph's embeddings differ from torch's; `out` is then not there.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        fix = "pip install 'embedding-head-orchestrator[onnx]'"
        raise _refused("export", f"it needs {', '.join(NEEDED)}", f"missing: {', '.join(missing)}", fix)
    model, out = local(model, "MODEL"), local(out, "--out")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise _refused("--out", "an export is not written over what is there", str(out), "name another folder")
    try:
        design, module = model_config.load(model)
        calibrated = model_config.calibration(model) is not None
    except ModelError as error:
        fix = "name a model's folder, such as results/quick/models/arcface"
        raise _refused("MODEL", "a model's folder holds config.json and model.safetensors", str(error), fix) from error
    beside = out.absolute().with_name(f".{out.absolute().name}.{os.getpid()}")
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(model / name, beside / name)
        _write_graph(design, module, beside / GRAPH)
        absolute, relative = _difference(design, module, beside / GRAPH)
        if not relative <= MOST_DIFFERENCE:
            rule = f"the graph's embeddings may differ from torch's by {MOST_DIFFERENCE:g} of the largest"
            fix = "try other versions of torch and onnxscript; requirements.lock has those that are tested"
            raise _refused("export", rule, f"{relative:.2g}", fix)
        files = tuple(sorted(path.name for path in beside.iterdir()))
        for name in files:
            _flush(beside / name)
        os.replace(beside, out)
        _flush(out.absolute().parent)
    except OSError as error:
        raise _refused("--out", "the folder must be one to write in", str(error), "name another") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Exported(out, files, design.embedding_dim, absolute, relative, calibrated)


def _write_graph(design: Blueprint, module: EmbeddingModule, path: Path) -> None:
    import torch
    from torch import Tensor, nn

    class Graph(nn.Module):
        """What of a module belongs to the graph: from pixels to embeddings, without Lightning around it."""

        def __init__(self) -> None:
            super().__init__()
            self.body = module.body
            self.mean, self.std = nn.Buffer(module.pixel_mean), nn.Buffer(module.pixel_std)

        def forward(self, images: Tensor) -> Tensor:
            pixels = images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)
            embeddings: Tensor = self.body((pixels.float() - self.mean) / self.std)
            return embeddings.float()

    with _quiet():
        torch.onnx.export(
            Graph().eval(),
            (torch.from_numpy(_images(design, 2)),),
            path,
            input_names=["images"],
            output_names=["embeddings"],
            dynamic_shapes={"images": {0: torch.export.Dim("N")}},
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _difference(design: Blueprint, module: EmbeddingModule, path: Path) -> tuple[float, float]:
    """The largest difference between onnxruntime and torch, absolute and over the largest embedding value."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    pairs = []
    for number in CHECKED:
        images = _images(design, number)
        pairs.append((session.run(["embeddings"], {"images": images})[0], model_config.embed(module, images).numpy()))
        if pairs[-1][0].shape != pairs[-1][1].shape:
            return float("inf"), float("inf")
    absolute = max(float(np.abs(found - expected).max()) for found, expected in pairs)
    largest = max(float(np.abs(expected).max()) for _, expected in pairs)
    return absolute, absolute / max(largest, 1e-30)


def _images(design: Blueprint, number: int) -> NDArray[np.uint8]:
    """Random images in the model's layout."""
    rows, columns, channels = design.image_shape
    shape = (number, rows, columns) if channels == 1 else (number, rows, columns, channels)
    return np.random.default_rng(number).integers(0, 256, shape, np.uint8)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on itself: renamed classes in torch, operators of packages that are not here."""
    log = logging.getLogger("torch.onnx")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        log.setLevel(before)


def _flush(path: Path) -> None:
    """Makes sure that a file, or a folder's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refused(place: str, rule: str, value: str, fix: str) -> CannotRun:
    return CannotRun([Problem(place, rule, value, fix)])
