"""`make ends`: every way to end, at every stage. `python -m tests.ends "raylet killed" search` runs what is named."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

from lightning_modules.data.sources import mnist
from tests.conftest import TEST, TRAIN, write_idx
from tests.ends import chain
from tests.ends.program import STUDY, start, wait_until
from tests.ends.table import Table
from tests.ends.ways import ENDS, STAGES, applies


def main() -> None:
    """Says what came of each cell as it is known, then prints the table; exits with 1 where a cell is wrong."""
    asked = options()
    ends = [each for each in ENDS if each in asked.words] or list(ENDS)
    stages = [each for each in STAGES if each in asked.words] or list(STAGES)
    with nullcontext(asked.keep) if asked.keep else tempfile.TemporaryDirectory(prefix="e") as place:
        base, table = chain.Base(Path(place).resolve(), asked.patience), Table(Path(place) / "cells.jsonl")
        undisturbed(base)
        chains = []
        for verb in ("launch", "test"):
            of_verb = [stage for stage in stages if STAGES[stage].verb == verb]
            for end in ends:
                if left := [each for each in of_verb if applies(end, each) and not table.right(end, each)]:
                    chains.append((end, left))

        def one(number: int) -> None:
            room = base.root / f"c{number}"  # short, as Ray's sockets lie below it
            table.add(chain.run(*chains[number], base, room))
            shutil.rmtree(room)

        with ThreadPoolExecutor(asked.at_once) as pool:
            list(pool.map(one, range(len(chains))))
        print(f"\n{table}")
    sys.exit(any(outcome.wrong for outcome in table.cells.values()))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="*", help="ends and stages; all unless named")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--patience", type=float, default=10.0, help="seconds until the sentence and the end")
    keep = "a folder for what is right already, which is not run again; remove it once the program has changed"
    parser.add_argument("--keep", type=Path, help=keep)
    return parser.parse_args()


def undisturbed(base: chain.Base) -> None:
    """The study, launched and tested without an end."""
    if base.undisturbed("test").report_file.exists():
        return
    data = base.root / "data"
    data.mkdir(parents=True, exist_ok=True)
    for left in ("launched", "testing"):  # by a run that was broken off
        shutil.rmtree(base.root / left, ignore_errors=True)
    for part, number in (("train", TRAIN), ("t10k", TEST)):
        images = mnist.load(part)
        write_idx(data / f"{part}-images-idx3-ubyte.gz", images.images[:number])
        write_idx(data / f"{part}-labels-idx1-ubyte.gz", images.labels[:number].astype("uint8"))
    (base.root / "small.yaml").write_text(STUDY.format(data=data))
    launched, tested = base.undisturbed("launch").root.parent, base.undisturbed("test").root.parent
    _to_its_end(["launch", base.root / "small.yaml", "--results", launched], launched)
    shutil.copytree(launched, base.root / "testing", ignore=shutil.ignore_patterns("t", "log"))
    _to_its_end(["test", base.root / "testing" / "small"], base.root / "testing")
    (base.root / "testing").rename(tested)  # whole, or not there


def _to_its_end(words: list[object], place: Path) -> None:
    program = start(words, place)
    wait_until(lambda: program.process.poll() is not None, program, chain.REACHED_S)
    program.end()
    assert program.process.returncode == 0, program.said()


main()
