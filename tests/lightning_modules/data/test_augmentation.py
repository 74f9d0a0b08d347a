"""Training images move by whole pixels, each its own way, the same way again for the same seed and epoch."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lightning_modules.data.augmentation import shifted
from lightning_modules.data.batches import ImageBatches
from lightning_modules.data.images import LabelledImages
from lightning_modules.data.splits import TrialData


def by_hand(image: np.ndarray, down: int, right: int) -> np.ndarray:
    """Pixel (r, c) is the old (r + down, c + right), or the nearest there is."""
    rows, columns = image.shape[:2]
    moved = np.empty_like(image)
    for row in range(rows):
        for column in range(columns):
            moved[row, column] = image[np.clip(row + down, 0, rows - 1), np.clip(column + right, 0, columns - 1)]
    return moved


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 3), (1, 1)])
@pytest.mark.parametrize("most_px", [1, 3])
def test_each_image_is_moved_by_its_own_offset(shape: tuple[int, ...], most_px: int) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, *shape)).astype(np.uint8)
    offsets = rng.integers(-most_px, most_px + 1, (20, 2))
    moved = shifted(images, offsets, most_px)

    assert moved.dtype == np.uint8
    for image, (down, right), found in zip(images, offsets, moved, strict=True):
        np.testing.assert_array_equal(found, by_hand(image, down, right))


def test_an_image_that_is_not_moved_is_a_copy_of_itself() -> None:
    images = np.arange(36, dtype=np.uint8).reshape(1, 6, 6)
    moved = shifted(images, np.zeros((1, 2), int), 2)
    np.testing.assert_array_equal(moved, images)
    assert not np.shares_memory(moved, images)


@pytest.fixture
def spots() -> TrialData:
    """Dark images (9, 9) with one bright pixel in the middle."""
    images = np.zeros((40, 9, 9), np.uint8)
    images[:, 4, 4] = 255
    part = LabelledImages(images, np.arange(40) % 4)
    return TrialData(part, part, 4, 0.0, 1.0)


def where(batches: ImageBatches, epoch: int) -> list[tuple[int, int]]:
    """Where the bright pixels of an epoch's training images are, from the middle."""
    batches.trainer = SimpleNamespace(current_epoch=epoch)  # type: ignore[assignment]
    found = []
    for images, _ in batches.train_dataloader():
        for image in images:
            row, column = divmod(int(image.argmax()), 9)
            found.append((row - 4, column - 4))
    return found


@pytest.mark.parametrize("balance", [None, 2])
def test_training_images_take_every_offset_up_to_the_largest(spots: TrialData, balance: int | None) -> None:
    batches = ImageBatches(spots, 8, seed=3, balance=balance, shift_px=2)
    seen = {offset for epoch in range(10) for offset in where(batches, epoch)}
    assert seen == {(down, right) for down in range(-2, 3) for right in range(-2, 3)}


def test_offsets_are_those_of_the_seed_and_the_epoch(spots: TrialData) -> None:
    first, second = where(ImageBatches(spots, 8, seed=3, shift_px=2), 0), where(ImageBatches(spots, 8, 3, None, 2), 0)
    assert first == second
    assert where(ImageBatches(spots, 8, seed=3, shift_px=2), 1) != first
    assert where(ImageBatches(spots, 8, seed=4, shift_px=2), 0) != first


def test_the_order_of_the_images_does_not_depend_on_the_offsets(spots: TrialData) -> None:
    plain, moved = (ImageBatches(spots, 8, seed=3, shift_px=most).train_dataloader() for most in (0, 2))
    assert [labels.tolist() for _, labels in plain] == [labels.tolist() for _, labels in moved]


def test_workers_see_together_what_one_would_see(spots: TrialData, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = [images for images, _ in ImageBatches(spots, 8, seed=3, shift_px=2).train_dataloader()]
    monkeypatch.setattr("lightning_modules.distributed.gather.workers", lambda: 2)
    parts = []
    for rank in (0, 1):
        monkeypatch.setattr("lightning_modules.distributed.gather.rank", lambda rank=rank: rank)
        parts.append([images for images, _ in ImageBatches(spots, 8, seed=3, shift_px=2).train_dataloader()])
    for images, even, odd in zip(whole, *parts, strict=True):
        assert torch.equal(images[0::2], even)
        assert torch.equal(images[1::2], odd)


def test_without_shifts_and_in_validation_nothing_moves(spots: TrialData) -> None:
    assert set(where(ImageBatches(spots, 8, seed=3), 0)) == {(0, 0)}
    validation = ImageBatches(spots, 8, seed=3, shift_px=2).val_dataloader()
    assert all(bool((images[:, 4, 4] == 255).all()) for images, _ in validation)
