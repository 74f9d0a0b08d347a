"""Reports without their drawings, for tests of what a page says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.figures.style import Picture
from orchestrator.reporting.pictures import head_pictures
from orchestrator.reporting.report import content
from orchestrator.reporting.report.content import Shown
from orchestrator.selection.results import Results


@pytest.fixture(scope="module")
def undrawn() -> Iterator[None]:
    """Pictures keep their words, but are not rendered, and nothing is animated."""

    def shown(results: Results, picture: Picture) -> Shown:
        return Shown(picture.name, picture.title, picture.caption, picture.alt, "data:image/png;base64,", 10, 10)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(content, "_shown", shown)
        patch.setattr(head_pictures, "unfolding", lambda best: None)
        yield
