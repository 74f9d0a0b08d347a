"""Reports without their drawings, for tests of what a page says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.gallery import of_heads
from orchestrator.plots.style import Picture
from orchestrator.report import content
from orchestrator.report.content import Shown
from orchestrator.results import Results


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Pictures keep their words, but are not rendered, and nothing is animated."""

    def shown(results: Results, picture: Picture) -> Shown:
        return Shown(picture.name, picture.title, picture.caption, picture.alt, "data:image/png;base64,", 10, 10)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "_shown", shown)
        patch.setattr(of_heads, "unfolding", lambda best: None)
        yield
