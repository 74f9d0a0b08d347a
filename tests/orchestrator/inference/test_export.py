"""Exported models: the graph gives torch's vectors for any number of images, and what is not whole is never there."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from lightning_modules.data.sources import mnist
from lightning_modules.metrics import verification
from lightning_modules.models import model_config
from lightning_modules.models.embedder import Embedder
from lightning_modules.models.model_config import Blueprint
from orchestrator.errors import CannotRun, Problem
from orchestrator.inference import export as exporting
from orchestrator.inference.export import Exported, export

BODIES: dict[str, dict[str, int]] = {"strided": {"width": 2}, "reference": {"depth": 1}}


def kept(folder: Path, body: str = "strided", channels: int = 1, calibrated: bool = False) -> Path:
    """A model of 28 × 28 images whose running statistics are not those of a fresh one."""
    torch.manual_seed(0)
    params = {"margin_rad": 0.3, "scale": 15.0}
    design = Blueprint("arcface", params, body, BODIES[body], 5, 4, (28, 28, channels), 33.3, 78.6)
    module = design.build()
    with torch.no_grad():
        module(torch.randint(0, 256, (50, 28, 28, channels), dtype=torch.uint8))
    calibration = None
    if calibrated:
        calibration = verification.calibrate(torch.randn(60, 5), torch.arange(60) % 3, spherical=True)
    model_config.save(folder, design, module.state_dict(), {"trial": "arcface-001"}, calibration)
    return folder


def refused(model: Path, out: Path) -> Problem:
    with pytest.raises(CannotRun) as caught:
        export(model, out)
    (problem,) = caught.value.problems
    assert not list(out.parent.glob(f".{out.name}.*"))
    return problem


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("body", BODIES)
def test_the_graph_gives_the_vectors_of_torch_for_any_number(tmp_path: Path, body: str, channels: int) -> None:
    """An exported model embeds as the trained one does, for one image as for many."""
    model, out = kept(tmp_path / "model", body, channels), tmp_path / "deep" / "out"
    done = export(model, out)
    files = ("config.json", "model.onnx", "model.safetensors")
    assert done == Exported(out, files, 5, done.largest_difference, done.relative_difference, False)
    assert json.loads(json.dumps(done.as_dict()))["files"] == [*files]
    assert sorted(path.name for path in out.iterdir()) == [*files]
    assert [path.name for path in out.parent.iterdir()] == ["out"]

    onnx.checker.check_model(onnx.load(out / "model.onnx"), full_check=True)
    session = onnxruntime.InferenceSession(out / "model.onnx", providers=["CPUExecutionProvider"])
    (given,), (gives,) = session.get_inputs(), session.get_outputs()
    layout = [28, 28] if channels == 1 else [28, 28, channels]
    assert (given.name, given.type, given.shape) == ("images", "tensor(uint8)", ["N", *layout])
    assert (gives.name, gives.type, gives.shape) == ("embeddings", "tensor(float)", ["N", 5])
    module = model_config.load(model)[1]
    for number in (1, 2, 7, 33):
        images = np.random.default_rng(number).integers(0, 256, (number, *layout), np.uint8)
        if channels == 1:
            images[: number // 2] = mnist.load("train").images[: number // 2]
        found = session.run(None, {"images": images})[0]
        pixels = torch.from_numpy(images.reshape(number, 28, 28, channels)).permute(0, 3, 1, 2)
        with torch.inference_mode():
            expected = module.body((pixels.float() - 33.3) / 78.6).numpy()
        assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert 0 <= done.largest_difference < 1e-3
    assert done.relative_difference < exporting.MOST_DIFFERENCE == 1e-4


def test_an_export_is_a_model_again_with_its_thresholds(tmp_path: Path) -> None:
    """What is exported keeps all that a verdict needs."""
    model = kept(tmp_path / "model", calibrated=True)
    done = export(model, tmp_path / "out")
    assert done.calibrated
    assert str(done).startswith(f"{tmp_path / 'out'}: config.json, model.onnx, model.safetensors\n")
    assert str(done).endswith("; with thresholds")
    for name in ("config.json", "model.safetensors"):
        assert (tmp_path / "out" / name).read_bytes() == (model / name).read_bytes()
    one, other = Embedder.load(model), Embedder.load(tmp_path / "out")
    assert one.calibration == other.calibration is not None
    assert one.fingerprint == other.fingerprint
    assert json.loads((tmp_path / "out" / "config.json").read_text())["verification"]["points"]


@pytest.mark.parametrize("name", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_said_with_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    honest = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda asked: None if asked == name else honest(asked))
    problem = refused(kept(tmp_path / "model"), tmp_path / "out")
    assert (problem.value, problem.fix) == (f"missing: {name}", "pip install 'embedding-head-orchestrator[onnx]'")
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_written_over(tmp_path: Path) -> None:
    model, out = kept(tmp_path / "model"), tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    assert refused(model, out).place == "--out"
    assert refused(model, model).rule == "an export is not written over what is there"
    assert refused(model, out / "mine.txt").place == "--out"
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    (out / "mine.txt").unlink()
    assert export(model, out).folder == out


def test_no_model_and_no_place_are_refused(tmp_path: Path) -> None:
    problem = refused(tmp_path / "nowhere", tmp_path / "out")
    assert (problem.place, "No such file" in problem.value) == ("MODEL", True)
    (tmp_path / "file").touch()
    problem = refused(kept(tmp_path / "model"), tmp_path / "file" / "out")
    assert (problem.place, problem.rule) == ("--out", "the folder must be one to write in")


@pytest.mark.parametrize("wrong", ["shifted", "nan", "one image alone"])
def test_a_graph_that_differs_from_torch_is_refused_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    honest = model_config.embed

    def other(module: Any, images: Any) -> torch.Tensor:
        found = honest(module, images)
        if wrong == "shifted":
            return found + 2e-4 * float(found.abs().max())
        return found * torch.nan if wrong == "nan" else found[:1]

    model, out = kept(tmp_path / "model"), tmp_path / "out"
    monkeypatch.setattr(model_config, "embed", other)
    problem = refused(model, out)
    assert (problem.place, "differ from torch's by 0.0001" in problem.rule) == ("export", True)
    assert not out.exists()


def test_a_crash_before_the_end_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(source: Path, target: Path) -> None:
        assert sorted(path.name for path in Path(source).iterdir()) == [
            "config.json",
            "model.onnx",
            "model.safetensors",
        ]
        raise KeyboardInterrupt

    model = kept(tmp_path / "model")
    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        export(model, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
