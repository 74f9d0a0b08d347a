"""Variables of this process, and of those that it starts, that are given back as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager


@contextmanager
def given(values: Mapping[str, str]) -> Iterator[None]:
    """Sets variables, as long as it lasts."""
    with kept(*values):
        os.environ.update(values)
        yield


@contextmanager
def kept(*names: str) -> Iterator[None]:
    """Whatever becomes of variables meanwhile, at last they are what they were."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
