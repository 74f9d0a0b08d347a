"""One Ray, for all tests of trials that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.orchestrator.alone import one_ray


@pytest.fixture(scope="package")
def shared_ray() -> Iterator[None]:
    with one_ray(cores=2):
        yield
