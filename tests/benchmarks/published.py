"""`make showcase`: results/benchmarks.json, a copy of what `make bench` wrote, as README's table between its marks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from orchestrator.files.atomic import write_atomic
from tests.benchmarks.showcase import inserted

BEGIN, END = "<!-- speed, made by: make showcase -->\n", "<!-- end of speed -->\n"
SIZES = (10, 10_000, 100_000)
ROWS = (  # what, how it is written, which figures
    *(
        (
            what,
            "{:.2f} × ({:.2f} … {:.2f} in {} rounds)",
            (*(f"throughput.{way}_over_bare_loop{end}" for end in ("", "_lowest", "_highest")), "throughput.rounds"),
        )
        for what, way in (
            ("images a second in a trial, over a bare PyTorch loop's", "trial"),
            ("the same while every image is moved by a pixel", "moved"),
        )
    ),
    (
        "from a trial's end to the next one's first step, median and worst",
        "{:.2f} s, {:.2f} s",
        ("overhead.end_to_next_first_step_s_median", "overhead.end_to_next_first_step_s_worst"),
    ),
    (
        "private memory of a trial beyond its imports, of 10,000 and of 50,000 images",
        "{:.0f} MB, {:.0f} MB",
        ("memory.private_mb_with_10000_images", "memory.private_mb_with_50000_images"),
    ),
    (
        "a search of {trials} trials, {epochs} epochs, over a tutorial's: same body, batches and epochs",
        "{:.1f} × as fast ({:.0f} s and {:.0f} epochs trained, {:.0f} s and {:.0f})",
        (
            "whole_search.times_as_fast",
            "whole_search.same_s",
            "whole_search.same_trained_epochs",
            "whole_search.tutorial_s",
            "whole_search.tutorial_trained_epochs",
        ),
    ),
    (
        "until some trial reaches {goal}, with our own recipe",
        "{:.1f} × as fast ({:.0f} s, {:.0f} s)",
        (
            "whole_search.times_as_fast_to_goal",
            "whole_search.own_recipe_to_goal_s",
            "whole_search.tutorial_to_goal_s",
        ),
    ),
    (
        "`--help`, `plan quick`, from `launch` to the first step of a trial",
        "{:.1f} s, {:.1f} s, {:.1f} s",
        ("startup.help_s", "startup.plan_s", "startup.launch_to_first_step_s"),
    ),
    *(
        (
            f"{head}'s loss and gradient at 10, 10,000 and 100,000 classes, over pytorch-metric-learning's",
            "{:.1f} ×, {:.1f} ×, {:.1f} × as fast",
            tuple(f"losses.{head}_{size}_times_as_fast" for size in SIZES),
        )
        for head in ("arcface", "cosface", "sphereface")
    ),
    (
        "their memory at 100,000 classes, over its",
        "{:.2f} ×, {:.2f} ×, {:.2f} ×",
        tuple(f"losses.{head}_100000_memory_ratio" for head in ("arcface", "cosface", "sphereface")),
    ),
    (
        "k-means in 2-D, 3-D and 64-D, over scikit-learn's, which stops at a tolerance",
        "{:.1f} ×, {:.1f} ×, {:.1f} × as fast",
        tuple(f"geometry.kmeans_{dimensions}d_times_as_fast" for dimensions in (2, 3, 64)),
    ),
    ("a plan, over reading its images from disk", "{:.1f} ×", ("planning.plan_over_reading",)),
    (
        "an event written, over the bare appending; 10,000 trials read, over parsing their lines",
        "{:.1f} ×, {:.1f} ×",
        ("records.written_over_bare_appending", "records.read_over_parsing"),
    ),
    (
        "the driver's part of a trial, and its memory, with 300 trials that train nothing",
        "{:.2f} s, {:.0f} MB",
        ("scale.seconds_per_trial_150_to_300", "scale.driver_mb_at_300"),
    ),
    (
        "a search of 4 trials with its mirror at W&B, over one without",
        "{:.2f} ×",
        ("tracking.online_ratio",),
    ),
)


def section(found: dict[str, Any]) -> str:
    """The machine in a sentence, and a row for each figure that was measured."""
    machine = found["machine"]
    packages = ", ".join(f"{name} {machine['packages'][name]}" for name in ("torch", "pytorch-lightning", "ray"))
    said = f"One run of `make bench` on {machine['date']}: {machine['cores']} cores of an {machine['processor']},"
    lines = [f"{said} {machine['memory_gb']} GB, {packages}.", "", "| what | measured |", "|---|---|"]
    for what, form, keys in ROWS:
        figures = [found.get(name, {}).get(key) for name, key in (each.split(".") for each in keys)]
        about = what.format(**{key: found.get("whole_search", {}).get(key, "") for key in ("trials", "epochs", "goal")})
        lines.append(f"| {about} | {'–' if None in figures else form.format(*figures)} |")
    return "\n".join(lines) + "\n"


def main(root: Path = Path()) -> None:
    """Of the repository at `root`."""
    readme = root / "README.md"
    content = section(json.loads((root / "results" / "benchmarks.json").read_text()))
    write_atomic(readme, inserted(readme.read_text(), content, BEGIN, END))


if __name__ == "__main__":
    main()
