"""`python -m tests.benchmarks.ablation`: the recipe, and what each of its choices is worth, on validation images.

One choice is changed at a time. Every run is a trial as a search trains it, on two seeds; two cores take half an hour.
Writes results/ablation.jsonl, a line a run (runs that are there are not repeated), and results/ablation.md, the table.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

RECORD, TABLE = Path("results/ablation.jsonl"), Path("results/ablation.md")
DIMENSIONS, SEEDS = (2, 3), (0, 1)
MARGINS = {2: 0.2, 3: 0.3}  # rad


@dataclass(frozen=True)
class Variant:
    """A recipe: what differs from the default, in words, and the settings."""

    name: str
    head: str = "arcface"
    params: dict[str, Any] = field(default_factory=dict)
    body: dict[str, int] = field(default_factory=dict)
    training: dict[str, int] = field(default_factory=dict)


VARIANTS = (
    Variant("the recipe"),
    Variant("no hidden layers", body={"hidden": 0}),
    Variant("hidden layers of 64", body={"hidden": 64}),
    Variant("width 8", body={"width": 8}),
    Variant("width 24", body={"width": 24}),
    Variant("batches of 64", training={"batch_size": 64}),
    Variant("batches of 256", training={"batch_size": 256}),
    Variant("images not moved", training={"shift_px": 0}),
    Variant("images moved by 2 px", training={"shift_px": 2}),
    Variant("4 epochs", training={"epochs": 4}),
    Variant("16 epochs", training={"epochs": 16}),
    Variant("lr 0.003", params={"lr": 0.003}),
    Variant("lr 0.03", params={"lr": 0.03}),
    Variant("head_lr 0.01", params={"head_lr": 0.01}),
    Variant("weight decay 0.1", params={"weight_decay": 0.1}),
    Variant("a fixed scale of 12", params={"magnitude": "fixed", "scale": 12.0}),
    Variant("softmax", "softmax", params={"label_smoothing": 0.1}),
    Variant("softmax without label smoothing", "softmax", params={"label_smoothing": 0.0}),
    Variant("triplet", "triplet", params={"margin_dist": 0.3}),
    Variant("triplet on the unit sphere", "triplet", params={"margin_dist": 0.3, "normalise": True}),
)
OWN: dict[str, dict[str, Any]] = {"arcface": {"magnitude": "feature"}, "softmax": {}, "triplet": {}}


def run(variant: Variant, dimensions: int, seed: int) -> dict[str, Any]:
    """One trial, in this process: both cluster accuracies after its last epoch, and the seconds that training took."""
    from lightning_modules.data import mnist, splits
    from orchestrator import trial
    from orchestrator.study import Profile

    data = splits.split(mnist.load("train"), 10_000, seed=0)
    training = {"epochs": 8, "batch_size": 128, "shift_px": 1, **variant.training}
    task = trial.Task(
        **training,
        embedding_dim=dimensions,
        body="strided",
        body_options=variant.body,
        sample=np.empty(0, np.intp),
        profiles={variant.head: Profile()},
    )
    margin = {"margin_rad": MARGINS[dimensions]} if variant.head == "arcface" else {}
    head_lr = {} if variant.head == "triplet" else {"head_lr": 0.05}
    params = {"lr": 0.01, **head_lr, **margin, **OWN[variant.head], **variant.params}
    given = {"name": "ablation", "head": variant.head, "params": params, "seed": seed}
    rows: list[dict[str, Any]] = []
    trial.fit(given, data, task, time.perf_counter(), lambda row, folder: rows.append(row["metrics"]), None)
    return {
        "variant": asdict(variant),
        "dimensions": dimensions,
        "seed": seed,
        "by_angle": rows[-1]["val/cluster_accuracy_spherical"],
        "by_distance": rows[-1]["val/cluster_accuracy_euclidean"],
        "own": rows[-1]["val/cluster_accuracy"],
        "training_s": sum(row["time/train_s"] for row in rows),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown: each variant's mean over the seeds, in each dimension."""
    names = ("own geometry", "by distance", "s")
    header = ["variant", *(f"{dimensions}-D: {name}" for dimensions in DIMENSIONS for name in names)]
    lines = [header, ["---"] * len(header)]
    for variant in VARIANTS:
        cells = [variant.name]
        for dimensions in DIMENSIONS:
            own = [row for row in rows if row["variant"] == asdict(variant) and row["dimensions"] == dimensions]
            means = [
                np.mean([row[key] for row in own]) if own else np.nan for key in ("own", "by_distance", "training_s")
            ]
            cells += [f"{means[0]:.4f}", f"{means[1]:.4f}", f"{means[2]:.0f}"]
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def main() -> None:
    rows = [json.loads(line) for line in RECORD.read_text().splitlines()] if RECORD.exists() else []
    done = [(row["variant"], row["dimensions"], row["seed"]) for row in rows]
    jobs = [(each, dimensions, seed) for seed in SEEDS for each in VARIANTS for dimensions in DIMENSIONS]
    todo = [job for job in jobs if (asdict(job[0]), *job[1:]) not in done]
    with ProcessPoolExecutor(os.cpu_count()) as pool, RECORD.open("a") as record:
        for row in pool.map(run, *zip(*todo, strict=True)) if todo else ():
            record.write(json.dumps(row) + "\n")
            record.flush()
            rows.append(row)
            print(f"{len(rows)} of {len(jobs)}: {row['variant']['name']}, {row['dimensions']}-D: {row['own']:.4f}")
    TABLE.write_text(table(rows))
    print(table(rows))


if __name__ == "__main__":
    main()
