"""What a person reads on a terminal before and during a search: the plan and its state, as Rich tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from orchestrator.cluster.resources import KINDS
from orchestrator.planning.plan import Plan
from orchestrator.printable import in_a_line
from orchestrator.search.allocation import ANY, planned_trials, starts
from orchestrator.selection import confirmation
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial
from orchestrator.study import tracking_mode
from orchestrator.system.commands import ours
from orchestrator.system.streams import as_is
from search_spaces.configurations import Searched
from search_spaces.distributions import short

if TYPE_CHECKING:
    from orchestrator.cluster.doctor import Finding
    from orchestrator.cost.estimate import CostEstimate
    from orchestrator.cost.simulation import Usage
    from orchestrator.study.schema import Prices, Study


class VisibleConsole(Console):
    """Rich's console, which styles what it prints; what it is given does nothing to a terminal."""

    def render_str(self, text: str, **how: Any) -> Text:
        return super().render_str(in_a_line(text), **how)

    def on_broken_pipe(self) -> None:
        raise  # the error, to whoever prints: it is he who knows what the exit code is


def console_on(stream: TextIO) -> Console:
    """Prints on a stream, and takes no part of a name for markup or for an emoji: [bold] and :smile: stay."""
    return VisibleConsole(file=as_is(stream), markup=False, emoji=False, highlight=False)


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


def many(number: int, what: str) -> str:
    """1 run, 2 runs."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def empty_table(title: str, left: Iterable[str], right: Iterable[str] = (), caption: str = "") -> Table:
    """An empty table with columns of text, then columns of numbers."""
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for name in left:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right")
    return table


def plan(planned: Plan, estimated: CostEstimate | None = None) -> list[Table | str]:
    """What a study will search, at what cost, and where it will write; with an estimate, how long that takes."""
    study, split = planned.study, planned.split
    table = empty_table(f"{study.name}: what is searched", ("parameter", "heads", "space", "first", "why"))
    firsts = {head: (starts(study, head, space) or [{}])[0] for head, space in planned.spaces.items()}
    shared: dict[tuple[str, Searched, Any], list[str]] = {}
    for head, space in planned.spaces.items():
        for name, item in space.items():
            shared.setdefault((name, item, firsts[head].get(name, item.start if firsts[head] else None)), []).append(
                head
            )
    constants: dict[str, object] = {}
    for (name, item, start), heads in shared.items():
        whose = "all" if len(heads) == len(planned.spaces) else ", ".join(heads)
        if item.parameter.is_constant:
            constants[name if whose == "all" else f"{name} ({whose})"] = item.parameter.values[0]
            continue
        when = f" (if {item.when[0]} is {item.when[1]})" if item.when else ""
        first = "–" if start is None else short(start)
        table.add_row(name + when, whose, str(item.parameter), first, item.reason)
    search, training = study.search, study.training
    rows, columns, channels = split.image_shape
    lines = [
        f"constant  {settings(constants)}",
        f"data      {study.data.source}: {len(split.train):,} images to train, {len(split.validation):,} to validate,"
        f" {split.num_classes} classes, {rows} × {columns} × {channels}; the test images stay sealed",
        f"model     {study.body.name} body, {study.embedding_dim}-D embedding, batches of {training.batch_size}",
        *_objectives(study),
        f"trials    {many(len(study.heads), 'head')} × {search.trials_per_head} = {planned.trials},"
        f" {planned.slots} at a time;"
        f" searcher {search.sampler.searcher}, seed {search.seed}; {search.scheduler.said(training.epochs)}",
        f"contest   {_contest(planned)}",
        f"confirm   {_confirming(planned)}",
        f"cost      at most {planned.epochs:,} epochs = {planned.image_passes / 1e6:.2f} M image passes;"
        f" about {planned.disk_bytes / 1e9:.1f} GB of disk",
        *([] if estimated else ["time      --calibrate trains each head for some seconds, and tells time and cost"]),
        f"results   {planned.folder}, W&B {tracking_mode.said(study)}",
        *(f"warning   {warning}" for warning in planned.warnings),
    ]
    return [table, *lines, *(estimate(estimated) if estimated else ())]


def _objectives(study: Study) -> list[str]:
    """What the embeddings are judged by, where that is not what nobody has to ask for."""
    if study.search.objectives == type(study.search)().objectives:
        return []
    first, *others = (
        f"{each.axis or f'{each.label}: {each.meaning}'}; {'higher' if each.higher_is_better else 'lower'} is better"
        for each in study.objectives
    )
    return [f"objective {first}", *(f"and       {other}" for other in others)]


def estimate(estimated: CostEstimate) -> list[Table | str]:
    """How long a study will take and what it costs, and on what that rests."""
    measured, prices = estimated.calibration, estimated.prices
    columns = ("an epoch", "training", "validation", "setup", "at once", "cores")
    speeds = empty_table("", ("measured",), columns)
    for head, speed in measured.heads.items():
        seconds = (speed.epoch_s, speed.train_s, speed.validation_s, speed.setup_s)
        told = (f"{each:.2f} s" for each in seconds)
        speeds.add_row(head, *told, str(speed.at_a_time), f"{speed.core_share:.0%}")
    kinds = [kind for kind in KINDS if getattr((estimated.launch + estimated.test).most, f"{kind}_hours")]
    priced = [f"cost ({prices.currency})"] if prices.given() else []
    heading = ["wall time", *(f"{KINDS[kind]} hours" for kind in kinds), *priced]
    takes = empty_table("", ("takes",), (column for what in heading for column in (what, "at most")))
    for name, part in estimated.parts().items():
        if part.most.wall_s:
            cells = zip(*(_takes(usage, kinds, prices) for usage in (part.expected, part.most)), strict=True)
            takes.add_row("confirm" if name == "confirmation" else name, *(cell for pair in cells for cell in pair))
    ray = f", {measured.ray_s:.1f} s for Ray" if measured.ray_s else ""
    lines = [
        "measured  at once: trials at a time; cores: how much of its cores a trial got",
        "takes     launch is search and confirmation, with the start of Ray; the sealed test comes on top, if opened",
        f"starts    {measured.process_s:.1f} s for each process{ray}",
        f"epochs    {estimated.epochs:.3g} expected of a trial of the search",
        f"prices    {_prices(estimated)}",
        *(f"assumed   {assumption}" for assumption in estimated.assumptions),
    ]
    return ["", speeds, takes, *lines]


def _takes(usage: Usage, kinds: Iterable[str], prices: Prices) -> list[str]:
    """Wall time, hours of each kind, and the cost where there are prices."""
    cost, hours = usage.cost(prices), (getattr(usage, f"{kind}_hours") for kind in kinds)
    return [duration(usage.wall_s), *(f"{each:.3g}" for each in (*hours, *([] if cost is None else [cost])))]


def _prices(estimated: CostEstimate) -> str:
    given, unpriced = estimated.prices.given(), [f"{KINDS[kind]} hours" for kind in estimated.unpriced()]
    if not given:
        return "none; resources.prices: {currency: USD, cpu_hour: 0.04} makes a cost of the hours"
    said = ", ".join(f"{price:g} {estimated.prices.currency} a {KINDS[kind]} hour" for kind, price in given.items())
    return said + (f"; {' and '.join(unpriced)} have no price and count nothing" if unpriced else "")


def _contest(planned: Plan) -> str:
    """How many settings each head searches: a head with more of them needs more trials."""
    numbers: dict[int, list[str]] = {}
    for head, searched in planned.study.searched().items():
        numbers.setdefault(len(searched), []).append(head)
    said = "; ".join(f"{many(number, 'setting')}: {', '.join(heads)}" for number, heads in sorted(numbers.items()))
    shared = "one search over heads and settings" if planned.study.search.joint else "the same trials and epochs each"
    return (
        f"{shared}; {said}" if len(numbers) > 1 else f"{shared}, {many(next(iter(numbers)), 'searched setting')} each"
    )


def _confirming(planned: Plan) -> str:
    top, seeds = confirmation.size(planned.study)
    if not top:
        return "none: what is best rests on single runs"
    runs = planned.confirming
    racing = ", racing" if planned.study.confirmation.racing else ""
    best = "the best configuration" if top == 1 else f"the {top} best configurations"
    epochs = runs * planned.study.training.epochs
    return f"{best} of each head on {many(seeds, 'fresh seed')}{racing}: {many(runs, 'run')}, {epochs:,} epochs more"


def findings(found: Iterable[Finding]) -> Table:
    """What a doctor looked at."""
    table = empty_table("", ("", "found", ""))
    for each in found:
        table.add_row(each.what, each.found, "see below" if each.problem else "")
    return table


def status(results: Results) -> list[Table | str]:
    """How far a study is, and what it has found."""
    heads = planned_trials(results.study)
    running = "running" if results.folder.driver() else ""
    lines: list[Table | str] = [f"{results.study.name}: {state(results)}"]
    if results.test.openings:
        lines.append(f"  {results.test.said()}")
    lines += [f"  {line}" for line in lost(results.trials.values())]
    return [progress(heads, results.trials, "", running), *lines]


def state(results: Results) -> str:
    """How far a study is, in a line."""
    ended = sum(trial.status != "running" for trial in results.trials.values())
    if results.finished:
        doing = "finished"
    elif results.searched:
        runs = results.confirmation.runs.values() if results.confirmation else ()
        ended_runs = sum(run.status != "running" for run in runs)
        planned = f" of at most {sum(results.confirmation.planned.values())}" if results.confirmation else ""
        doing = f"{ended_runs}{planned} runs of its confirmation ended; {_at_work(results)}"
    else:
        doing = _at_work(results)
    return f"{ended} of {results.planned} trials ended; {doing}"


def _at_work(results: Results) -> str:
    driver = results.folder.driver()
    if driver:
        return f"running since {driver['started'][:19]} UTC as process {driver['pid']} on {driver['host']}"
    return f"interrupted; go on with: {ours('resume', results.folder)}"


def lost(trials: Iterable[Trial]) -> list[str]:
    """A line for each trial that failed, diverged or was broken off by the machine, with its reason."""
    named = [(trial, "interrupted" if trial.interrupted else trial.status) for trial in trials]
    return [f"{trial.name} {status}: {trial.reason}" for trial, status in named if trial.lost or trial.interrupted]


def progress(heads: Mapping[str, int], trials: Mapping[str, Trial], title: str, caption: str = "") -> Table:
    """Per head: how many trials are done, running, stopped early, failed, to come; and the best so far."""
    counts = ("done", "running", "stopped early", "failed", "to come", "best so far")
    table = empty_table(title, ("head",), counts, caption)
    for head, planned in heads.items():
        if head == ANY:
            table.add_row(head, "", "", "", "", str(planned - len(trials)), "")
            continue
        own = [trial for trial in trials.values() if trial.head == head]
        count = {status: sum(t.status == status for t in own) for status in ("completed", "running", "stopped")}
        failed = sum(trial.lost for trial in own)
        best = max((trial for trial in own if trial.epochs), key=lambda trial: trial.merit, default=None)
        to_come = "" if ANY in heads else planned - len(own)
        cells = [count["completed"], count["running"], count["stopped"], failed, to_come]
        table.add_row(head, *map(str, cells), best.reached if best else "–")
    return table
