"""The report: one self-contained page made from a study's folder, at any time: what is known so far.

It opens from disk without a network; everything in it, the plotting library included, is inlined once.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.selection.results import Results


def write(results: Results) -> Path:
    """Draws the study's pictures, writes `report.html` beside them, and returns its path."""
    from orchestrator.files.atomic import write_atomic
    from orchestrator.reporting.report import content, page

    results.write_best()  # which the page says how to launch
    write_atomic(results.folder.report_file, page.render(content.collect(results)))
    return results.folder.report_file
