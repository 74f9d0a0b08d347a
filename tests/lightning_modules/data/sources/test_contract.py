"""What every source must give: found by its file, metadata without pixels, then images by their numbers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lightning_modules.data.sources import SOURCES
from lightning_modules.data.sources.base import PARTS, FolderSource, Source
from lightning_modules.registry import RegistryError


@pytest.fixture(params=SOURCES.by_name)
def source(request: pytest.FixtureRequest, dataset: Path) -> Source:
    """Each source; one that lies in a folder is given that of the tests."""
    folder = issubclass(SOURCES.by_name[request.param], FolderSource)
    return SOURCES.make(request.param, **({"path": str(dataset)} if folder else {}))


@pytest.mark.parametrize("part", PARTS)
def test_metadata_are_those_of_the_images(source: Source, part: str) -> None:
    known, images = source.metadata(part), source.images(part)
    assert len(images) == known.images == sum(known.counts.values()) == len(known.labels)
    assert known.labels.dtype == np.int64
    numbers = np.array([known.images - 1, 0, 1, 0])
    some = images[numbers]
    assert (some.shape[0], str(some.dtype)) == (4, known.dtype)
    assert (*some.shape[1:], 1)[:3] == known.image_shape
    assert known.image_bytes == some[0].nbytes
    some[:] = 0  # a copy
    assert images[numbers].any()
    whole = source.load(part)
    assert whole.image_shape == known.image_shape
    np.testing.assert_array_equal(whole.labels, known.labels)
    np.testing.assert_array_equal(whole.images[numbers], images[numbers])


def test_a_hash_that_is_known_beforehand_tells_parts_apart(source: Source) -> None:
    train, test = (source.metadata(part).digest for part in PARTS)
    assert train is None or train != test
    assert source.metadata("train").digest == train


def test_a_source_is_made_again_from_its_options(source: Source) -> None:
    options = source.model_dump(exclude={"source"})
    assert SOURCES.make(source.source, **options) == source
    assert all(field.default is not None for field in type(source).model_fields.values())
    assert type(source).__doc__


def test_an_unknown_source_or_option_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(RegistryError, match=r"source must be one of mnist, idx, but got 'cifar'$"):
        SOURCES.make("cifar")
    with pytest.raises(RegistryError, match="did you mean mnist"):
        SOURCES.make("mnst")
    with pytest.raises(RegistryError, match="source idx has wrong options: path: Field required"):
        SOURCES.make("idx")


def test_sources_are_found_without_a_framework() -> None:
    code = (
        "import sys; from lightning_modules.data.sources import SOURCES; assert len(SOURCES.by_name) > 1\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
