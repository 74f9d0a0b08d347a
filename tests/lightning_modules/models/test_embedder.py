"""A model taken away: what it takes and gives, its verdicts, its thresholds, and that nothing is ever unpickled."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_modules.metrics import verification
from lightning_modules.metrics.verification import CalibrationError
from lightning_modules.models import model_config
from lightning_modules.models.embedder import Embedder, ImageError
from lightning_modules.models.model_config import CONFIG, WEIGHTS, Blueprint, ModelError

PARAMS: dict[str, dict[str, Any]] = {"arcface": {"margin_rad": 0.3, "scale": 15.0}, "softmax": {}}
HEADS = pytest.mark.parametrize("head", PARAMS)
ROWS, COLUMNS, IDENTITIES = 9, 7, 6


def design(head: str = "arcface", channels: int = 1) -> Blueprint:
    return Blueprint(head, PARAMS[head], "strided", {"width": 2}, 4, 3, (ROWS, COLUMNS, channels), 100.0, 50.0)


def shots(number: int = 60, channels: int | None = None, seed: int = 0) -> tuple[Any, Any]:
    """Images of identities, each a pattern under noise, and who they show."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % IDENTITIES
    shape = (ROWS, COLUMNS) if channels is None else (ROWS, COLUMNS, channels)
    patterns = np.random.default_rng(99).integers(0, 150, (IDENTITIES, *shape))
    return (patterns[labels] + rng.integers(0, 100, (number, *shape))).astype(np.uint8), labels


def kept(folder: Path, head: str = "arcface", channels: int = 1, calibrated: bool = True) -> Path:
    torch.manual_seed(0)
    planned = design(head, channels)
    module = planned.build()
    calibration = None
    if calibrated:
        images, labels = shots(channels=channels)
        points = model_config.embed(module, images)
        calibration = verification.calibrate(points, torch.from_numpy(labels), spherical=module.spherical)
    model_config.save(folder, planned, module.state_dict(), {"trial": "x-000"}, calibration)
    return folder


def score(one: Any, other: Any, spherical: bool) -> float:
    one, other = one.astype(np.float64), other.astype(np.float64)
    if spherical:
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
    return -float(np.sqrt(((one - other) ** 2).sum()))


@HEADS
def test_vectors_are_those_of_the_module(tmp_path: Path, head: str) -> None:
    embedder, (images, _) = Embedder.load(kept(tmp_path, head)), shots()
    vectors = embedder.embed(images)
    assert (vectors.shape, vectors.dtype, embedder.dimensions) == ((60, 4), np.float32, 4)
    pixels = (torch.from_numpy(images)[:, None].float() - 100) / 50
    module = model_config.load(tmp_path)[1]
    with torch.inference_mode():
        np.testing.assert_allclose(vectors, module.body(pixels).numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(embedder.embed(images[5]), vectors[5:6], rtol=1e-5, atol=1e-6)
    assert (embedder.embed(images[..., None]) == vectors).all()
    assert embedder.embed(images[3][..., None]).shape == (1, 4)
    assert embedder.embed(images[:0]).shape == (0, 4)
    assert embedder.spherical == (head == "arcface")
    assert embedder.about == {"trial": "x-000"}


def test_images_with_channels_are_taken_one_or_many(tmp_path: Path) -> None:
    embedder, (images, _) = Embedder.load(kept(tmp_path, channels=3)), shots(channels=3)
    np.testing.assert_allclose(embedder.embed(images[4]), embedder.embed(images)[4:5], rtol=1e-5, atol=1e-6)
    with pytest.raises(ImageError, match="9 × 7 × 3"):
        embedder.embed(images[..., 0])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((2, ROWS, COLUMNS), np.float32), "uint8 images of 9 × 7 × 1.* but got float32: give pixels 0 … 255"),
        (np.zeros((ROWS, COLUMNS), np.int64), "but got int64"),
        (np.zeros((2, COLUMNS, ROWS), np.uint8), r"but got shape \(2, 7, 9\): resize"),
        (np.zeros((2, ROWS, COLUMNS, 3), np.uint8), r"but got shape \(2, 9, 7, 3\)"),
        (np.zeros(ROWS, np.uint8), r"but got shape \(9,\)"),
        (np.array(3, np.uint8), r"but got shape \(\)"),
        ([[1, 2]], "numpy array, but got list"),
        (torch.zeros(2, ROWS, COLUMNS, dtype=torch.uint8), "but got Tensor: use numpy.asarray"),
    ],
)
def test_what_are_no_such_images_is_refused(tmp_path: Path, given: Any, said: str) -> None:
    embedder = Embedder.load(kept(tmp_path))
    for call in (embedder.embed, lambda image: embedder.similarity(image, image)):
        with pytest.raises(ImageError, match=said):
            call(given)


@HEADS
def test_similarity_is_the_cosine_or_the_negative_distance(tmp_path: Path, head: str) -> None:
    embedder, (images, _) = Embedder.load(kept(tmp_path, head)), shots()
    vectors = embedder.embed(images)
    for one, other in ((0, 1), (0, 6), (5, 5)):
        expected = score(vectors[one], vectors[other], head == "arcface")
        assert embedder.similarity(images[one], images[other]) == pytest.approx(expected, abs=1e-5)
        assert embedder.similarities(vectors, vectors)[one, other] == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ImageError, match="but 2 and 1 came"):
        embedder.similarity(images[:2], images[2])


@HEADS
def test_a_verdict_uses_the_threshold_that_was_kept(tmp_path: Path, head: str) -> None:
    embedder, (images, labels) = Embedder.load(kept(tmp_path, head)), shots()
    calibration, vectors = embedder.calibration, embedder.embed(images)
    assert calibration is not None
    assert calibration == model_config.calibration(tmp_path)
    for rate in (0.1, 0.01):
        threshold, wrong, impostors = calibration.at(rate).threshold, 0, 0
        for one in range(0, 60, 7):
            for other in range(one + 1, 60):
                verdict = embedder.verify(images[one], images[other], rate)
                value = score(vectors[one], vectors[other], head == "arcface")
                assert verdict.similarity == pytest.approx(value, abs=1e-5)
                assert (verdict.threshold, verdict.same) == (threshold, verdict.similarity >= threshold)
                wrong += verdict.same and labels[one] != labels[other]
                impostors += labels[one] != labels[other]
        assert wrong <= 3 * rate * impostors + 2
    assert embedder.verify(images[0], images[0], 0.1).same


def test_without_a_calibration_no_verdict_is_given(tmp_path: Path) -> None:
    embedder, (images, labels) = Embedder.load(kept(tmp_path, calibrated=False)), shots()
    assert embedder.calibration is None
    assert model_config.calibration(tmp_path) is None
    with pytest.raises(CalibrationError, match=r"without a calibration.*call calibrate\(images, labels\)"):
        embedder.verify(images[0], images[1])
    embedder.calibrate(images, labels)
    assert isinstance(embedder.verify(images[0], images[1], 0.01).same, bool)


def test_a_rate_that_is_too_fine_is_refused(tmp_path: Path) -> None:
    embedder, (images, _) = Embedder.load(kept(tmp_path)), shots()
    with pytest.raises(CalibrationError, match=r"1e-09 needs .* calibrate on more images"):
        embedder.verify(images[0], images[1], 1e-9)


@HEADS
def test_own_images_calibrate_anew_with_labels_of_any_kind(tmp_path: Path, head: str) -> None:
    embedder, (images, labels) = Embedder.load(kept(tmp_path / "a", head)), shots(90, seed=3)
    before = embedder.calibration
    found = embedder.calibrate(images, [f"person {label}" for label in labels])
    assert found is embedder.calibration
    assert found != before
    assert (found.images, found.identities) == (90, IDENTITIES)
    vectors = embedder.embed(images)
    scores = np.array([[score(one, other, head == "arcface") for other in vectors] for one in vectors])
    once = np.triu(np.ones((90, 90), bool), 1)
    impostors = scores[once & (labels[:, None] != labels)]
    for point in found.points:
        assert (impostors >= point.threshold).sum() == point.false_accepts
    embedder.save(tmp_path / "b")
    again = Embedder.load(tmp_path / "b")
    assert (again.calibration, again.about, again.fingerprint) == (found, embedder.about, embedder.fingerprint)
    assert (again.embed(images) == vectors).all()


def test_labels_that_do_not_fit_the_images_are_refused(tmp_path: Path) -> None:
    embedder, (images, labels) = Embedder.load(kept(tmp_path)), shots()
    for wrong in (labels[:-1], labels[None], 3):
        with pytest.raises(ValueError, match="one for each of 60 images"):
            embedder.calibrate(images, wrong)
    with pytest.raises(CalibrationError, match="several images of several identities"):
        embedder.calibrate(images, np.zeros(60))


def test_the_fingerprint_is_that_of_what_makes_the_vectors(tmp_path: Path) -> None:
    embedder = Embedder.load(kept(tmp_path / "a"))
    assert Embedder.load(kept(tmp_path / "b", calibrated=False)).fingerprint == embedder.fingerprint
    module = design().build()
    weights = model_config.load(tmp_path / "a")[1].state_dict()
    model_config.save(tmp_path / "c", design(), weights | {"centres": module.state_dict()["centres"]}, {})
    assert Embedder.load(tmp_path / "c").fingerprint == embedder.fingerprint
    model_config.save(tmp_path / "d", design(), module.state_dict(), {})
    assert Embedder.load(tmp_path / "d").fingerprint != embedder.fingerprint


def test_the_calibration_stands_in_the_configuration(tmp_path: Path) -> None:
    kept(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {CONFIG, WEIGHTS}
    content = json.loads((tmp_path / CONFIG).read_text())
    assert content["verification"]["impostor_pairs"] == 60 * 50 // 2
    assert model_config.about(tmp_path) == {"trial": "x-000"}
    (tmp_path / CONFIG).write_text(json.dumps({**content, "verification": {"points": "many"}}))
    with pytest.raises(ModelError, match="no calibration that can be read"):
        Embedder.load(tmp_path)
    with pytest.raises(ModelError, match="no model that can be loaded"):
        Embedder.load(tmp_path / "nowhere")


def test_loading_never_unpickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, (images, _) = kept(tmp_path), shots()
    expected = Embedder.load(folder).embed(images)

    def refuse(*given: Any, **named: Any) -> None:
        raise AssertionError("a pickle")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    embedder = Embedder.load(folder)
    assert (embedder.embed(images) == expected).all()
    assert embedder.verify(images[0], images[1], 0.1).threshold
    (folder / WEIGHTS).write_bytes(b"\x80\x04K\x01.")
    with pytest.raises(ModelError):
        Embedder.load(folder)
