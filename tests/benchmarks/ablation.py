"""`python -m tests.benchmarks.ablation`: the recipe, and what each of its choices is worth, on validation images.

One choice is changed at a time. Every run is a trial as a search trains it, on seeds of its own; two cores take three
quarters of an hour. Writes results/ablation.jsonl, a line a run (runs that are there are not repeated), and
results/ablation.md, the table. Its seconds are those of a core: other work on the machine changes them by a tenth.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator import Study
from search_spaces.configurations import starting_point

RECORD, TABLE = Path("results/ablation.jsonl"), Path("results/ablation.md")
DIMENSIONS, CLASSES = (2, 3), 10


@dataclass(frozen=True)
class Variant:
    """The first configuration of a head's search, but for what is overridden; on so many seeds."""

    name: str
    overrides: tuple[str, ...] = ()
    head: str = "arcface"
    seeds: int = 2


VARIANTS = (
    Variant("the recipe: ArcFace", seeds=6),
    Variant("all of the margin from the first step", ("heads.arcface.margin_warmup_epochs=0",), seeds=6),
    Variant("a fixed scale of 12", ("heads.arcface.scale=12",)),
    Variant("no hidden layers", ("body.hidden=0",)),
    Variant("width 8", ("body.width=8",)),
    Variant("width 24", ("body.width=24",)),
    Variant("batches of 64", ("training.batch_size=64",)),
    Variant("batches of 256", ("training.batch_size=256",)),
    Variant("images not moved", ("training.shift_px=0",)),
    Variant("images moved by 2 px", ("training.shift_px=2",)),
    Variant("4 epochs", ("training.epochs=4",)),
    Variant("softmax", head="softmax"),
    Variant("softmax without label smoothing", ("heads.softmax.label_smoothing=0",), "softmax"),
    Variant("triplet", head="triplet"),
    Variant("triplet on the unit sphere", ("heads.triplet.normalise=true",), "triplet"),
)


def recipe(variant: Variant, dimensions: int) -> tuple[Study, dict[str, Any]]:
    """The study, and the configuration of its head that a search would begin with."""
    only = ("name=ablation", f"heads={{{variant.head}: {{}}}}")
    study = Study.load(f"mnist_{dimensions}d", (*only, *variant.overrides))
    return study, starting_point(study.spaces(CLASSES)[variant.head])


def run(variant: Variant, dimensions: int, seed: int) -> dict[str, Any]:
    """One trial, in this process: both cluster accuracies after its last epoch, and a core's seconds."""
    from lightning_modules.data import splits
    from lightning_modules.data.sources import mnist
    from lightning_modules.heads import head_class
    from orchestrator.trials import trial

    head_class(variant.head)  # imports what a trial needs, before the clock starts
    study, params = recipe(variant, dimensions)
    data = splits.split(mnist.load("train"), study.data.validation_images, study.data.split_seed)
    task = trial.Task.of(study, np.empty(0, np.intp))
    given = {"name": "ablation", "head": variant.head, "params": params, "seed": seed}
    rows: list[dict[str, Any]] = []
    began_s = time.process_time()
    trial.fit(given, data, task, time.perf_counter(), lambda row, folder: rows.append(row["metrics"]), None)
    return {
        "variant": asdict(variant),
        "params": params,
        "dimensions": dimensions,
        "seed": seed,
        "by_angle": rows[-1]["val/cluster_accuracy_spherical"],
        "by_distance": rows[-1]["val/cluster_accuracy_euclidean"],
        "own": rows[-1]["val/cluster_accuracy"],
        "core_s": time.process_time() - began_s,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: each variant's mean over its n seeds so far, and its worst seed, in each dimension."""
    names = ("own geometry", "worst seed", "by distance", "s of a core")
    header = ["variant", "n", *(f"{dimensions}-D: {name}" for dimensions in DIMENSIONS for name in names)]
    lines = [header, ["---"] * len(header)]
    for variant in VARIANTS:
        own = [row for row in rows if row["variant"]["name"] == variant.name]
        by_dimensions = [[row for row in own if row["dimensions"] == dimensions] for dimensions in DIMENSIONS]
        cells = [variant.name, str(min(map(len, by_dimensions)))]
        for runs in by_dimensions:
            reached, distance, core_s = ([row[key] for row in runs] for key in ("own", "by_distance", "core_s"))
            cells += [f"{np.mean(reached):.4f}", f"{min(reached):.4f}", f"{np.mean(distance):.4f}"]
            cells += [f"{np.mean(core_s):.0f}"]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    rows = [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []
    done = [(row["variant"]["name"], row["dimensions"], row["seed"]) for row in rows]
    seeds = range(max(each.seeds for each in VARIANTS))  # the first seed of all variants is a table already
    jobs = [(each, at, seed) for seed in seeds for each in VARIANTS for at in DIMENSIONS if seed < each.seeds]
    todo = [job for job in jobs if (job[0].name, *job[1:]) not in done]
    with ProcessPoolExecutor(os.cpu_count()) as pool, RECORD.open("a") as record:
        for row in pool.map(run, *zip(*todo, strict=True)) if todo else ():
            record.write(json.dumps(row) + "\n")
            record.flush()
            rows.append(row)
            said = f"{row['variant']['name']}, {row['dimensions']}-D, seed {row['seed']}: {row['own']:.4f}"
            print(f"{len(rows)} of {len(jobs)}: {said}", flush=True)
            if len(rows) >= len(VARIANTS) * len(DIMENSIONS):  # each has one
                TABLE.write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
