"""A search alone: it keeps no models and draws no report, which have tests of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

from orchestrator.cluster import ray_session, run_options
from orchestrator.reporting import report
from orchestrator.stages import best_models

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
    with patch.object(report, "write"), patch.object(best_models, "examine"):
        yield


@contextmanager
def one_ray(cores: int = 2) -> Iterator[None]:
    """As long as it lasts all searches that this process launches share a Ray, in place of one each."""
    short = TemporaryDirectory(prefix="heads-", ignore_cleanup_errors=True)  # sockets lie below it
    with (
        short as scratch,
        ray_session.local_ray(cores, 0, 30_000_000, Path(scratch)) as ray,
        patch.object(ray_session, "local_ray", lambda *given: nullcontext(ray)),
        patch.object(run_options, "refuse_connected"),
    ):
        yield
