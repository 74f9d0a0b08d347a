"""Identities enrolled and found again: templates, who is said to be on an image, strangers, and their file."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lightning_modules.metrics.verification import CalibrationError
from lightning_modules.models.embedder import Embedder, ImageError
from lightning_modules.models.gallery import Gallery, GalleryError, Match
from lightning_modules.models.model_config import Blueprint

PARAMS: dict[str, dict[str, Any]] = {"arcface": {"margin_rad": 0.3, "scale": 15.0}, "softmax": {}}
HEADS = pytest.mark.parametrize("head", PARAMS)
NAMES = ("Ada", "Émile", "王", "no one")


def embedder(head: str = "arcface", seed: int = 0, calibrated: bool = True) -> Embedder:
    torch.manual_seed(seed)
    made = Blueprint(head, PARAMS[head], "strided", {"width": 4}, 8, 3, (9, 7, 1), 100.0, 50.0)
    ready = Embedder(made, made.build())
    if calibrated:
        ready.calibrate(*shots(60, seed=5))
    return ready


def shots(number: int, seed: int = 0) -> tuple[Any, Any]:
    """Images of four identities, each a pattern under noise, and which of them they show."""
    labels = np.arange(number) % len(NAMES)
    patterns = np.random.default_rng(99).integers(0, 200, (len(NAMES), 9, 7))
    noise = np.random.default_rng(seed).integers(0, 25, (number, 9, 7))
    return (patterns[labels] + noise).astype(np.uint8), labels


def filled(ready: Embedder, number: int = 20) -> Gallery:
    gallery, (images, labels) = Gallery(ready), shots(number)
    for label, name in enumerate(NAMES):
        gallery.enroll(name, images[labels == label])
    return gallery


def template(vectors: Any, spherical: bool) -> Any:
    vectors = vectors.astype(np.float64)
    if not spherical:
        return vectors.mean(0)
    mean = np.mean([vector / np.sqrt(vector @ vector) for vector in vectors], axis=0)
    return mean / np.sqrt(mean @ mean)


@HEADS
def test_a_template_is_the_mean_on_its_own_geometry(head: str) -> None:
    ready, (images, labels) = embedder(head), shots(20)
    found = filled(ready).templates()
    for label in range(len(NAMES)):
        expected = template(ready.embed(images[labels == label]), head == "arcface")
        np.testing.assert_allclose(found[label], expected, atol=1e-6)


@HEADS
def test_everyone_is_found_again_with_the_runner_up(head: str) -> None:
    ready, (images, labels) = embedder(head), shots(40, seed=8)
    gallery, vectors = filled(ready), ready.embed(images)
    matches, templates = gallery.identify(images), gallery.templates()
    assert [match.name for match in matches] == [NAMES[label] for label in labels]
    for vector, match in zip(vectors.astype(np.float64), matches, strict=True):
        if head == "arcface":
            scores = templates @ vector / np.linalg.norm(vector)
        else:
            scores = -np.linalg.norm(templates - vector, axis=1)
        second, first = np.argsort(scores)[-2:]
        assert (match.nearest, match.runner_up, match.threshold) == (NAMES[first], NAMES[second], None)
        assert match.similarity == pytest.approx(scores[first], abs=1e-6)
        assert match.runner_up_similarity == pytest.approx(scores[second], abs=1e-6)
    again = gallery.identify_vectors(vectors)
    assert [(match.name, match.runner_up) for match in again] == [(match.name, match.runner_up) for match in matches]
    assert [match.similarity for match in again] == pytest.approx([match.similarity for match in matches], abs=1e-6)
    (alone,) = gallery.identify(images[0])
    assert (alone.name, alone.similarity) == (matches[0].name, pytest.approx(matches[0].similarity, abs=1e-6))


@HEADS
def test_enrolling_never_changes_the_model_and_more_images_join_the_mean(head: str) -> None:
    ready, (images, labels) = embedder(head), shots(20)
    before, vectors = ready.fingerprint, ready.embed(images)
    whole, bit_by_bit = filled(ready), Gallery(ready)
    for image, label in zip(images, labels, strict=True):
        bit_by_bit.enroll(NAMES[label], image)
    assert bit_by_bit.names == whole.names == [*NAMES]
    np.testing.assert_allclose(bit_by_bit.templates(), whole.templates(), atol=1e-5)
    assert [whole.images_of(name) for name in NAMES] == [5] * 4
    assert ready.fingerprint == before
    assert (ready.embed(images) == vectors).all()


def test_who_is_removed_is_found_no_more() -> None:
    gallery, (images, labels) = filled(embedder()), shots(40, seed=8)
    gallery.remove("Émile")
    assert (len(gallery), gallery.names) == (3, ["Ada", "王", "no one"])
    for match, label in zip(gallery.identify(images), labels, strict=True):
        assert "Émile" not in (match.name, match.nearest, match.runner_up)
        assert label == 1 or match.name == NAMES[label]
    for call in (gallery.remove, gallery.images_of):
        with pytest.raises(GalleryError, match="nobody called Émile is enrolled; there are Ada, 王, no one"):
            call("Émile")


@HEADS
def test_the_rate_of_a_search_is_shared_among_the_enrolled(head: str) -> None:
    ready, (images, _) = embedder(head), shots(40, seed=8)
    gallery, calibration = filled(ready), ready.calibration
    assert calibration is not None
    for rate in (0.4, 0.05):
        threshold = calibration.at(rate / 4).threshold
        vectors = ready.embed(images)
        opened, all_known = gallery.identify_vectors(vectors, rate), gallery.identify_vectors(vectors)
        for match, closed in zip(opened, all_known, strict=True):
            assert match.threshold == threshold
            assert match.name == (closed.name if match.similarity >= threshold else None)
            assert (match.nearest, match.similarity) == (closed.nearest, closed.similarity)
    alone = Gallery(ready)
    alone.enroll("Ada", images[0])
    (match,) = alone.identify(images[0], 0.05)
    assert match == Match("Ada", "Ada", match.similarity, None, None, calibration.at(0.05).threshold)
    assert match.similarity == pytest.approx(1 if head == "arcface" else 0, abs=1e-5)


def test_a_stranger_is_unknown() -> None:
    ready, (images, labels) = embedder(), shots(40, seed=8)
    gallery = Gallery(ready)
    gallery.enroll("Ada", images[labels == 0][:5])
    matches = gallery.identify(images, 0.02)
    strangers = [match for match, label in zip(matches, labels, strict=True) if label != 0]
    assert sum(match.name is None for match in strangers) >= 28
    assert {match.nearest for match in strangers} == {"Ada"}


def test_a_search_that_no_calibration_supports_is_refused() -> None:
    (images, _) = shots(4)
    with pytest.raises(CalibrationError, match=r"0.001 over 4 identities: .*0.00025 needs 40,000 pairs"):
        filled(embedder()).identify(images, 0.001)
    without = filled(embedder(calibrated=False))
    assert without.identify(images)[0].name == "Ada"
    with pytest.raises(CalibrationError, match="without a calibration"):
        without.identify(images, 0.1)


def test_nobody_and_nothing_are_refused() -> None:
    gallery, (images, _) = Gallery(embedder()), shots(4)
    with pytest.raises(GalleryError, match="nobody is enrolled yet"):
        gallery.identify(images)
    with pytest.raises(GalleryError, match="from no image"):
        gallery.enroll("Ada", images[:0])
    with pytest.raises(ImageError):
        gallery.enroll("Ada", images.astype(float))
    assert gallery.names == []
    assert gallery.templates().shape == (0, 8)


@HEADS
def test_a_gallery_comes_back_from_its_file(tmp_path: Path, head: str) -> None:
    ready, vectors = embedder(head), embedder(head).embed(shots(40, seed=8)[0])
    gallery, path = filled(ready), tmp_path / "team" / "known.npz"
    gallery.save(path)
    gallery.save(path)
    again = Gallery.load(path, ready)
    assert again.names == gallery.names
    assert again.identify_vectors(vectors, 0.05) == gallery.identify_vectors(vectors, 0.05)
    again.enroll("Ada", shots(1)[0])
    assert again.images_of("Ada") == 6
    assert [file.name for file in path.parent.iterdir()] == ["known.npz"]
    Gallery(ready).save(path)
    assert len(Gallery.load(path, ready)) == 0


def test_a_gallery_of_another_model_is_refused(tmp_path: Path) -> None:
    filled(embedder()).save(tmp_path / "known.npz")
    with pytest.raises(GalleryError, match="another model, whose vectors mean other things: enroll again"):
        Gallery.load(tmp_path / "known.npz", embedder(seed=1))
    assert len(Gallery.load(tmp_path / "known.npz", embedder(calibrated=False))) == 4


class Trap:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def test_loading_never_unpickles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ready, trap = embedder(), np.array([Trap(tmp_path / "trapped")], object)
    np.savez(tmp_path / "trap.npz", about=trap, sums=trap, counts=trap)
    (tmp_path / "trap.pkl").write_bytes(pickle.dumps(Trap(tmp_path / "trapped")))
    filled(ready).save(tmp_path / "known.npz")

    def refuse(*given: Any, **named: Any) -> None:
        raise AssertionError("a pickle")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    assert len(Gallery.load(tmp_path / "known.npz", ready)) == 4
    for name in ("trap.npz", "trap.pkl"):
        with pytest.raises(GalleryError, match="holds no gallery"):
            Gallery.load(tmp_path / name, ready)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"{}", None])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "known.npz"
    filled(embedder()).save(path)
    path.write_bytes(path.read_bytes()[:-300] if content is None else content)
    with pytest.raises(GalleryError, match=r"known.npz holds no gallery that can be read"):
        Gallery.load(path, embedder())


def test_a_crash_while_saving_leaves_the_gallery_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, gallery = tmp_path / "known.npz", filled(embedder())
    gallery.save(path)
    gallery.remove("Ada")

    def crash(source: Path, target: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(KeyboardInterrupt):
        gallery.save(path)
    assert Gallery.load(path, gallery.embedder).names == [*NAMES]
