"""One Ray for all tests of a file that need one; it is gone before another file is tested in the same process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.orchestrator.alone import one_ray


@pytest.fixture(scope="module")
def shared_ray() -> Iterator[None]:
    with one_ray(cores=2):
        yield
