"""The order of a batch's images: random by (seed, epoch) alone, no image twice, and balanced where asked."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_modules.data.batches import ImageBatches, IndexedBatches, balanced, shuffled
from lightning_modules.data.images import LabelledImages
from lightning_modules.data.splits import TrialData

counts_of_classes = st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any)


def labels_of(counts: list[int]) -> Any:
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


def trial_data(train: int = 60, validation: int = 20) -> TrialData:
    """Images whose first pixel is their number; read-only, as memory that processes share is."""

    def numbered(number: int) -> LabelledImages:
        images = (np.arange(number) % 256).astype(np.uint8).repeat(4).reshape(number, 2, 2)
        labels = np.arange(number) % 3
        images.flags.writeable = labels.flags.writeable = False
        return LabelledImages(images, labels)

    return TrialData(numbered(train), numbered(validation), num_classes=3, pixel_mean=0.0, pixel_std=1.0)


@given(st.integers(0, 100), st.integers(1, 30))
@settings(deadline=None, max_examples=50)
def test_shuffled_is_a_permutation_cut_into_whole_batches(number: int, batch_size: int) -> None:
    order = shuffled(np.zeros(number, np.int64), batch_size, np.random.default_rng(0))

    assert order.shape == (number // batch_size, batch_size)
    assert len(set(order.flat)) == order.size
    assert set(order.flat) <= set(range(number))


def test_shuffled_leaves_other_images_out_each_time() -> None:
    rng = np.random.default_rng(0)
    rest = [set(range(10)) - set(shuffled(np.zeros(10, np.int64), 4, rng).flat) for _ in range(50)]
    assert set.union(*rest) == set(range(10))


@given(counts_of_classes, st.integers(2, 5), st.integers(2, 9), st.integers(0, 1000))
@settings(deadline=None, max_examples=100)
def test_all_classes_of_a_balanced_batch_have_equally_many_images_and_none_comes_twice(
    counts: list[int], images_per_class: int, groups: int, seed: int
) -> None:
    labels, batch_size = labels_of(counts), groups * images_per_class
    order = balanced(labels, batch_size, images_per_class, np.random.default_rng(seed))

    assert len(set(order.flat)) == order.size
    assert order.shape[1] <= batch_size
    for row in order:
        shares = Counter(labels[row].tolist())
        assert len(set(shares.values())) == 1
        assert len(shares) == min(batch_size // shares[int(labels[row][0])], np.count_nonzero(counts))


@given(st.integers(2, 12), st.integers(2, 8), st.integers(0, 1000))
@settings(deadline=None, max_examples=60)
def test_a_balanced_batch_with_room_for_it_holds_every_class(classes: int, images_per_class: int, seed: int) -> None:
    labels = labels_of([200 + 10 * label for label in range(classes)])
    order = balanced(labels, 100, images_per_class, np.random.default_rng(seed))

    assert len(order) == 200 // (100 // classes)
    for row in order:
        assert np.bincount(labels[row]).tolist() == [100 // classes] * classes


def test_balanced_batches_of_many_classes_hold_as_many_as_fit() -> None:
    labels = labels_of([9] * 50)
    order = balanced(labels, 32, 4, np.random.default_rng(0))
    assert order.shape == (2 * (50 // 8), 32)


def test_a_small_class_makes_the_groups_smaller() -> None:
    labels = labels_of([40, 40, 3])
    for row in balanced(labels, 30, 8, np.random.default_rng(0)):
        assert np.bincount(labels[row]).tolist() == [3, 3, 3]


def test_balanced_rounds_the_batch_down_to_whole_groups() -> None:
    labels = labels_of([40] * 9)
    assert balanced(labels, 14, 4, np.random.default_rng(0)).shape[1] == 12


def test_balanced_uses_every_image_sooner_or_later() -> None:
    labels, rng = labels_of([10, 7, 9]), np.random.default_rng(0)
    used = [set(balanced(labels, 8, 2, rng).flat) for _ in range(100)]
    assert set.union(*used) == set(range(26))


def order_of(seed: int, epoch: int, balance: int | None) -> list[list[int]]:
    batches = ImageBatches(trial_data(), batch_size=12, seed=seed, balance=balance)
    batches.trainer = SimpleNamespace(current_epoch=epoch)  # type: ignore[assignment]
    return [images[:, 0, 0].tolist() for images, _ in batches.train_dataloader()]


@pytest.mark.parametrize("balance", [None, 4])
def test_the_order_depends_on_seed_and_epoch_alone(balance: int | None) -> None:
    orders = {(seed, epoch): order_of(seed, epoch, balance) for seed in (0, 1) for epoch in (0, 1)}
    np.random.seed(0)
    torch.manual_seed(0)

    assert all(order_of(seed, epoch, balance) == order for (seed, epoch), order in orders.items())
    assert len({str(order) for order in orders.values()}) == 4


def test_without_a_trainer_it_is_the_first_epoch() -> None:
    batches = ImageBatches(trial_data(), batch_size=12, seed=5)
    assert [images[:, 0, 0].tolist() for images, _ in batches.train_dataloader()] == order_of(5, 0, None)


@pytest.mark.parametrize("balance", [None, 4])
def test_batches_pair_each_image_with_its_label(balance: int | None) -> None:
    batches = ImageBatches(trial_data(), batch_size=12, seed=0, balance=balance).train_dataloader()
    assert len(batches) == 5
    for images, labels in batches:
        assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
        assert images.shape == (12, 2, 2)
        assert torch.equal(images[:, 0, 0] % 3, labels)


def test_balance_is_what_makes_batches_balanced() -> None:
    for _, labels in ImageBatches(trial_data(), batch_size=12, seed=0, balance=4).train_dataloader():
        assert labels.bincount().tolist() == [4, 4, 4]


@pytest.mark.parametrize(("number", "sizes"), [(1, [1]), (999, [999]), (1000, [1000]), (2500, [834, 833, 833])])
def test_validation_is_every_image_once_in_order(number: int, sizes: list[int]) -> None:
    data = trial_data(validation=number)
    batches = list(ImageBatches(data, batch_size=12, seed=0).val_dataloader())

    assert [len(labels) for _, labels in batches] == sizes
    np.testing.assert_array_equal(torch.cat([images for images, _ in batches]), data.validation.images)
    np.testing.assert_array_equal(torch.cat([labels for _, labels in batches]), data.validation.labels)


def test_a_batch_is_a_copy_so_that_shared_images_stay_as_they_are() -> None:
    data = trial_data().train
    ((images, labels),) = IndexedBatches(data, np.arange(60)[None])
    images += 1
    labels += 1

    assert data.images[3, 0, 0] == 3
    assert data.labels[3] == 0
