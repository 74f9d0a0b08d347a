"""The table of all cells: kept in a file, line by line as they are known, and printed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from tests.ends.chain import Outcome
from tests.ends.ways import ENDS, STAGES, applies


class Table:
    """What came of each cell, last of all."""

    def __init__(self, kept: Path) -> None:
        self.kept, self.cells = kept, dict[tuple[str, str], Outcome]()
        for line in kept.read_text().splitlines() if kept.exists() else ():
            outcome = Outcome(**json.loads(line))
            self.cells[outcome.end, outcome.stage] = outcome

    def add(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            self.cells[outcome.end, outcome.stage] = outcome
            print(f"{outcome.end} × {outcome.stage}: {outcome} {'; '.join(outcome.wrong)}", flush=True)
            with self.kept.open("a") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")

    def right(self, end: str, stage: str) -> bool:
        return (end, stage) in self.cells and not self.cells[end, stage].wrong

    def __str__(self) -> str:
        """A row for each end: its exit code, seconds until the sentence, and until the end."""
        lines = [f"| | {' | '.join(STAGES)} |", "|---" * (len(STAGES) + 1) + "|"]
        lines += [f"| {end} | {' | '.join(self._cell(end, stage) for stage in STAGES)} |" for end in ENDS]
        wrong = [cell for cell in self.cells.values() if cell.wrong]
        lines += ["", f"{len(self.cells)} cells, {len(wrong)} of them wrong"]
        lines += [f"- {cell.end} × {cell.stage}: {'; '.join(cell.wrong)}" for cell in wrong]
        return "\n".join(lines)

    def _cell(self, end: str, stage: str) -> str:
        if not applies(end, stage):
            return "no Ray"
        return str(self.cells.get((end, stage), "not run"))
