"""What is known of images without reading one: from the header of their file and from the labels."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lightning_modules.data import splits
from lightning_modules.data.images import DataError, LabelledImages
from lightning_modules.data.sources import idx, mnist

Encode = Callable[[np.ndarray], bytes]
IMAGES = {"train": "train-images-idx3-ubyte.gz", "t10k": "t10k-images-idx3-ubyte"}


@pytest.mark.parametrize(("part", "number"), [("train", 12), ("t10k", 6)])
def test_a_part_is_described_as_it_is_read(dataset: Path, part: str, number: int) -> None:
    found, images = idx.metadata(dataset, part), idx.load(dataset, part)
    assert found.images == len(images) == number
    assert found.image_shape == images.image_shape == (4, 5, 1)
    assert found.counts == {label: number // 3 for label in range(3)}


def test_the_digits_in_the_package_are_described() -> None:
    found = mnist.Mnist().metadata("t10k")
    assert (found.images, found.image_shape, sum(found.counts.values())) == (10_000, (28, 28, 1), 10_000)
    assert [*found.counts] == [*range(10)]


@pytest.mark.parametrize("compressed", [False, True])
def test_of_an_image_file_its_header_alone_is_read(
    compressed: bool, tmp_path: Path, idx_bytes: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = idx_bytes(np.random.default_rng(0).integers(256, size=(500, 28, 28), dtype=np.uint8))
    path, read = tmp_path / ("file.gz" if compressed else "file"), list[int]()
    path.write_bytes(gzip.compress(content) if compressed else content)

    class Counted(io.FileIO):
        def read(self, size: int | None = -1) -> bytes:
            read.append(len(found := super().read(size)))
            return found

    def opened(path: Path, mode: str, buffering: int) -> Counted:
        assert buffering == 0
        return Counted(path, mode)

    monkeypatch.setattr(idx, "open", opened, raising=False)
    assert idx.shape_of(path) == (500, 28, 28)
    assert sum(read) <= (4 * idx.SIP_BYTES if compressed else 16)


@pytest.mark.parametrize("name", ["file", "file.gz"])
def test_an_image_file_that_was_cut_short_is_found_without_reading_it(
    name: str, tmp_path: Path, idx_bytes: Encode
) -> None:
    values = np.random.default_rng(0).integers(256, size=(3, 4, 5), dtype=np.uint8)
    content = idx_bytes(values)
    whole = gzip.compress(content) if name.endswith(".gz") else content
    path = tmp_path / name
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=str(path)):
            idx.shape_of(path)
    path.write_bytes(whole)
    assert idx.shape_of(path) == (3, 4, 5)


def test_labels_that_do_not_fit_the_images_are_found(dataset: Path, idx_bytes: Encode) -> None:
    (dataset / "t10k-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(5, np.uint8)))
    with pytest.raises(DataError, match=r"\(5,\) labels for 6 images"):
        idx.metadata(dataset, "t10k")


def test_a_missing_file_is_named(dataset: Path) -> None:
    (dataset / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(DataError, match="holds no t10k-images"):
        idx.metadata(dataset, "t10k")


def images(labels: list[int], shape: tuple[int, ...] = (2, 2)) -> LabelledImages:
    pixels = np.arange(len(labels) * int(np.prod(shape))).reshape(len(labels), *shape).astype(np.uint8)
    return LabelledImages(pixels, np.array(labels))


def test_test_images_have_the_numbers_of_the_training_images_also_where_they_lack_a_class() -> None:
    """Left-out classes close the gap in both; a class that the test lacks must not."""
    train, test = images([0, 1, 2, 3, 4, 5]), images([5, 3, 0, 5])
    kept = splits.without(train, [3])
    assert kept.labels.tolist() == [0, 1, 2, 3, 4]
    found = splits.numbered(test, [0, 1, 2, 4, 5])
    assert found.labels.tolist() == [4, 0, 4]
    np.testing.assert_array_equal(found.images, test.images[[0, 2, 3]])


def test_a_digest_tells_of_every_pixel_label_and_shape() -> None:
    one = images([0, 1, 2])
    digests = {one.digest(), images([0, 1, 1]).digest(), images([0, 1, 2], (1, 4)).digest()}
    changed = one.images.copy()
    changed[2, 1, 1] ^= 1
    digests.add(LabelledImages(changed, one.labels).digest())
    assert len(digests) == 4
    assert images([0, 1, 2]).digest() == one.digest()
    strided = LabelledImages(np.repeat(one.images, 2, axis=0)[::2], one.labels.astype(np.int32))
    assert strided.digest() == one.digest()
