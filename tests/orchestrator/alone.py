"""A search alone: it keeps no models and draws no report, which have tests of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from orchestrator import report, winners

PROGRAM = "from orchestrator.cli import main; main()"  # as `python -c` takes it
SEARCH_ALONE = """
from orchestrator.cli import main
from tests.orchestrator.alone import alone
with alone():
    main()
"""  # the same, in the project's folder


@contextmanager
def alone() -> Iterator[None]:
    """As long as it lasts nothing follows the trials that this process launches."""
    with patch.object(report, "write"), patch.object(winners, "examine"):
        yield
