"""What a person reads on a terminal: the plan, the state of a search, the leaderboard, as Rich tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rich.table import Table

from orchestrator.plan import Plan
from orchestrator.records import Trial
from orchestrator.results import Results
from orchestrator.selection import Standing
from orchestrator.study import Searched
from search_spaces.parameters import short


def duration(seconds: float) -> str:
    """3 h 05 min, 4 min 10 s or 12 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def settings(params: Mapping[str, object]) -> str:
    """name value, name value: numbers with three digits."""
    return ", ".join(f"{key} {short(value)}" for key, value in params.items())


def empty_table(title: str, left: Iterable[str], right: Iterable[str] = (), caption: str = "") -> Table:
    """An empty table with columns of text, then columns of numbers."""
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right")
    return table


def plan(planned: Plan) -> list[Table | str]:
    """What a study will search, at what cost, and where it will write."""
    study, data = planned.study, planned.data
    table = empty_table(f"{study.name}: what is searched", ("parameter", "heads", "space", "first", "why"))
    starts = study.search.start_from_defaults and study.search.searcher != "grid"
    shared: dict[tuple[str, Searched], list[str]] = {}
    for head, space in planned.spaces.items():
        for name, item in space.items():
            shared.setdefault((name, item), []).append(head)
    constants: dict[str, object] = {}
    for (name, item), heads in shared.items():
        whose = "all" if len(heads) == len(planned.spaces) else ", ".join(heads)
        if item.parameter.is_constant:
            constants[name if whose == "all" else f"{name} ({whose})"] = item.parameter.values[0]
            continue
        when = f" (if {item.when[0]} is {item.when[1]})" if item.when else ""
        first = short(item.start) if starts else "–"
        table.add_row(name + when, whose, str(item.parameter), first, item.reason)
    search, training = study.search, study.training
    scheduler = {
        "asha": "ASHA stops the poorer ones early",
        "pbt": "PBT moves their margins",
        "none": "none is stopped early",
    }
    rows, columns, channels = data.train.image_shape
    lines = [
        f"constant  {settings(constants)}",
        f"data      {study.data.source}: {len(data.train):,} images to train, {len(data.validation):,} to validate,"
        f" {data.num_classes} classes, {rows} × {columns} × {channels}; the test images stay sealed",
        f"model     {study.body.name} body, {study.embedding_dim}-D embedding, batches of {training.batch_size}",
        f"trials    {len(study.heads)} heads × {search.trials_per_head} = {planned.trials}, {planned.slots} at a time;"
        f" searcher {search.searcher}, seed {search.seed}; {scheduler[search.scheduler]}",
        f"cost      at most {planned.epochs:,} epochs = {planned.image_passes / 1e6:.2f} M image passes;"
        f" about {planned.disk_bytes / 1e9:.1f} GB of disk",
        f"results   {planned.folder.root}, W&B {study.tracking.mode}",
        *(f"warning   {warning}" for warning in planned.warnings),
    ]
    return [table, *lines]


def status(results: Results) -> list[Table | str]:
    """How far a study is, and what it has found."""
    heads = dict.fromkeys(results.study.heads, results.study.search.trials_per_head)
    running = "running" if results.folder.driver() else ""
    lines = [f"{results.study.name}: {state(results)}"]
    lines += [f"  {line}" for line in _lost(results)]
    return [progress(heads, results.trials, "", running), *lines]


def state(results: Results) -> str:
    """How far a study is, in a line."""
    driver = results.folder.driver()
    ended = sum(trial.status != "running" for trial in results.trials.values())
    if results.finished:
        doing = "finished"
    elif driver:
        doing = f"running since {driver['started'][:19]} UTC as process {driver['pid']} on {driver['host']}"
    else:
        doing = f"interrupted; go on with: orchestrator resume {results.folder.root}"
    return f"{ended} of {results.planned} trials ended; {doing}"


def leaderboard_of(results: Results) -> list[Table | str]:
    """The leaderboard of a study, so far, and the settings behind it."""
    study = results.study
    images = f"{study.data.validation_images:,} validation images"
    table = leaderboard(results.leaderboard, f"{study.name}: cluster accuracy on {images}, {study.embedding_dim}-D")
    return [table, *best_settings(results.leaderboard, study.searched()), ""]


def _lost(results: Results) -> list[str]:
    """A line for each trial that failed or diverged, with its reason."""
    lost = (trial for trial in results.trials.values() if trial.status in ("failed", "diverged"))
    return [f"{trial.name} {trial.status}: {trial.reason}" for trial in lost]


CAUTION = (
    "Accuracy is by angle or by distance, as the head's loss measures. Each is one run, the best of those that ran",
    "to their end, on the images that chose it: a fresh seed will likely score a little less.",
)


def ending(results: Results) -> list[Table | str]:
    """What a search says last: the leaderboard and where everything is."""
    folder = results.folder
    lines = leaderboard_of(results)
    if results.best:
        lines += CAUTION
    lines += _lost(results)
    if not results.finished:
        return [*lines, f"Interrupted. Go on with: orchestrator resume {folder.root}"]
    if not results.best:
        return lines
    lines.append(f"report    {folder.report_file}, one page with everything; its pictures are in {folder.plots}")
    lines.append(f"again     orchestrator launch {folder.best}/{results.leaderboard[0].head}.yaml")
    if any(folder.wandb.glob("offline-run-*")):
        lines.append(f"W&B       wandb sync {folder.wandb}/offline-run-*    (or look here: wandb leet {folder.wandb})")
    return lines


def leaderboard(standings: list[Standing], title: str) -> Table:
    """The heads, best first, each with both figures of its best trial and of how many trials it is the best."""
    table = empty_table(title, ("head",), ("accuracy", "by angle", "by distance", "best of"))
    table.add_column("trial")
    for row in standings:
        best = row.best
        if best is None:
            table.add_row(row.head, "–", "–", "–", "–", "none has ended with a result")
            continue
        measured = best.epochs[-1]["metrics"]
        both = (measured.get(f"val/cluster_accuracy_{how}") for how in ("spherical", "euclidean"))
        note = "" if best.status == "completed" else f" ({best.status} after {best.last_epoch} epochs)"
        ties = f" = {', '.join(row.ties)}" if row.ties else ""
        figures = ("–" if value is None else f"{value:.4f}" for value in (row.objective, *both))
        table.add_row(row.head, *figures, str(row.counts[best.status]), best.name + ties + note)
    return table


def best_settings(standings: list[Standing], searched: Mapping[str, Mapping[str, Searched]]) -> list[str]:
    """A line for each head: the searched settings of its best trial, all of them where none was searched."""
    lines = []
    for row in standings:
        if row.best:
            params = row.best.params
            found = {name: value for name, value in params.items() if name in searched[row.head]}
            lines.append(f"{row.head:11}{settings(found or params)}")
    return lines


def progress(heads: Mapping[str, int], trials: Mapping[str, Trial], title: str, caption: str = "") -> Table:
    """Per head: how many trials are done, running, stopped early, failed, to come; and the best so far."""
    counts = ("done", "running", "stopped early", "failed", "to come", "best so far")
    table = empty_table(title, ("head",), counts, caption)
    for head, planned in heads.items():
        own = [trial for trial in trials.values() if trial.head == head]
        count = {status: sum(t.status == status for t in own) for status in ("completed", "running", "stopped")}
        failed = sum(trial.status in ("failed", "diverged") for trial in own)
        best = max((trial.objective for trial in own if trial.objective is not None), default=None)
        cells = [count["completed"], count["running"], count["stopped"], failed, planned - len(own)]
        table.add_row(head, *map(str, cells), "–" if best is None else f"{best:.4f}")
    return table
