"""`make ends`: every way to end, at every stage. `python -m tests.ends "raylet killed" search` runs what is named."""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lightning_modules.data.sources import mnist
from tests.conftest import TEST, TRAIN, write_idx
from tests.ends import cell
from tests.ends.program import STUDY, start, wait_until


def main() -> None:
    """Prints the table, a line for each cell as it is known; exits with 1 where one is wrong."""
    options = argparse.ArgumentParser()
    options.add_argument("words", nargs="*", help="ends and stages; all unless named")
    options.add_argument("--at-once", type=int, default=1)
    options.add_argument("--patience", type=float, default=10.0, help="seconds until the sentence and the end")
    asked = options.parse_args()
    ends = [each for each in cell.ENDS if each in asked.words] or list(cell.ENDS)
    stages = [each for each in cell.STAGES if each in asked.words] or list(cell.STAGES)
    place = Path(tempfile.mkdtemp(prefix="e"))
    try:
        undisturbed(place)
        print("| end | stage | code | sentence after | ended after | |\n|---|---|---|---|---|---|", flush=True)
        with ThreadPoolExecutor(asked.at_once) as pool:
            cells = [cell for cell in sorted(itertools.product(ends, stages), key=turn) if applies(*cell)]

            def one(number: int) -> cell.Outcome:
                return cell.run(*cells[number], place, place / str(number), asked.patience)

            outcomes = []
            for outcome in pool.map(one, range(len(cells))):
                print(outcome, flush=True)
                outcomes.append(outcome)
        wrong = sum(bool(outcome.wrong) for outcome in outcomes)
        print(f"\n{len(outcomes)} cells, {wrong} of them wrong")
        sys.exit(bool(wrong))
    finally:
        shutil.rmtree(place, ignore_errors=True)


def turn(of: tuple[str, str]) -> int:
    """Each end is seen in the search first, then all stages are, each with some of the ends."""
    ends, stages = list(cell.ENDS), list(cell.STAGES)
    return 0 if of[1] == "search" else 1 + (ends.index(of[0]) + stages.index(of[1])) % len(stages)


def applies(end: str, stage: str) -> bool:
    """Ray dies only where it is; a stream that is broken from the start is so in all stages of its verb."""
    how, where = cell.ENDS[end], cell.STAGES[stage]
    return where.ray if how.ray else how.code is not None or stage in ("search", "look")


def undisturbed(place: Path) -> None:
    """The study, launched and tested without an end."""
    data = place / "data"
    data.mkdir()
    for part, number in (("train", TRAIN), ("t10k", TEST)):
        images = mnist.load(part)
        write_idx(data / f"{part}-images-idx3-ubyte.gz", images.images[:number])
        write_idx(data / f"{part}-labels-idx1-ubyte.gz", images.labels[:number].astype("uint8"))
    (place / "small.yaml").write_text(STUDY.format(data=data))
    for words, parent in (
        (["launch", place / "small.yaml", "--results", place / "launched"], "launched"),
        (["test", place / "tested" / "small"], "tested"),
    ):
        if parent == "tested":
            shutil.copytree(place / "launched", place / "tested", ignore=shutil.ignore_patterns("t", "log"))
        program = start(list(words), place / parent)
        wait_until(lambda program=program: program.process.poll() is not None, program, 200)
        assert program.process.returncode == 0, program.said()
        program.end()


main()
