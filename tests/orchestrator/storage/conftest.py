"""What a bucket holds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from orchestrator.storage.bucket import Bucket


@pytest.fixture
def names(runs: str) -> Callable[[], set[str]]:
    """names(): what the bucket holds of the study."""
    return lambda: set(Bucket(f"{runs}/study").objects())
