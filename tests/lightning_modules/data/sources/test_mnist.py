"""MNIST as it comes with the package, and the refusal of any other content under its name."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from lightning_modules.data.images import DataError
from lightning_modules.data.sources import idx, mnist


@pytest.mark.parametrize(("part", "number"), [("train", 60_000), ("t10k", 10_000)])
def test_parts_have_their_known_sizes_and_ten_classes(part: str, number: int) -> None:
    data = mnist.load(part)
    assert data.images.shape == (number, 28, 28)
    assert data.labels.shape == (number,)
    assert set(np.unique(data.labels)) == set(range(10))
    assert data.image_shape == (28, 28, 1)


def test_pixel_statistics_of_the_training_images_are_the_known_ones() -> None:
    mean, std = mnist.load("train").pixel_statistics()
    assert (mean / 255, std / 255) == (pytest.approx(0.1307, abs=5e-5), pytest.approx(0.3081, abs=5e-5))


@pytest.mark.parametrize("kind", ["images", "labels"])
@pytest.mark.parametrize("part", ["train", "t10k"])
def test_one_altered_byte_is_refused(part: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in mnist.FOLDER.glob(f"{part}-*.gz"):
        shutil.copy(path, tmp_path)
    path = idx.find(tmp_path, part, kind)
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.write_bytes(gzip.compress(bytes(content), compresslevel=0))
    monkeypatch.setattr(mnist, "FOLDER", tmp_path)

    with pytest.raises(DataError, match=f"{path} is not the file it should be"):
        mnist.load(part)


def test_a_copy_that_is_compressed_anew_is_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in mnist.FOLDER.glob("t10k-*.gz"):
        (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    monkeypatch.setattr(mnist, "FOLDER", tmp_path)
    assert len(mnist.load("t10k")) == 10_000


def test_the_part_of_the_other_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in mnist.FOLDER.glob("t10k-*.gz"):
        shutil.copy(path, tmp_path / path.name.replace("t10k", "train"))
    monkeypatch.setattr(mnist, "FOLDER", tmp_path)
    with pytest.raises(DataError, match="is not the file it should be"):
        mnist.load("train")
