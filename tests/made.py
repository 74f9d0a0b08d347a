"""Finished studies, made in an instant: whole folders, in which nothing was trained."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.cluster.resources import Fleet, Node
from orchestrator.files.atomic import write_atomic
from orchestrator.planning import provenance
from orchestrator.selection import confirmation
from orchestrator.selection.replicates import ReplicationPlan, fresh_seeds, run_name
from orchestrator.selection.results import Results
from orchestrator.storage.event_log import Trial
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from search_spaces.configurations import starting_point

CLASSES, POINTS, SIDE = 4, 80, 8  # of the studies below; images of 8 × 8 pixels
ENDS = (([0.6, 0.8, 0.9], "completed"), ([0.5], "stopped"), ([], "failed"))


def directions(classes: int, dimensions: int) -> NDArray[np.float64]:
    """Unit vectors (C, D) well apart: around the circle, or the best of some drawn by chance."""
    if dimensions == 2:
        angles = 2 * np.pi * np.arange(classes) / classes + 0.3
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)
    drawn = np.random.default_rng(0).normal(size=(200, classes, dimensions))
    drawn /= np.linalg.norm(drawn, axis=2, keepdims=True)
    cosines = np.einsum("ncd,nkd->nck", drawn, drawn) - 3 * np.eye(classes)
    return np.asarray(drawn[cosines.max((1, 2)).argmin()])


def build(
    parent: Path,
    heads: Sequence[str] | Mapping[str, dict[str, Any]] = ("softmax", "arcface"),
    dimensions: int = 3,
    classes: int = CLASSES,
    trials: Mapping[str, Ends] | None = None,
    params: Mapping[str, dict[str, Any]] | None = None,
    examined: bool = True,
    sample: NDArray[np.int64] | None = None,
    confirmed: Confirmed | None = None,
    **changes: Any,
) -> StudyFolder:
    """A study's whole folder in `parent`; other keywords change its study.

    Nothing is trained, and no data is on disk: embeddings are clusters that grow tighter with every epoch, and the
    models of the best trials are fresh ones whose class centres are the clusters' directions. trials: of each head
    the objectives after its epochs and how it ended, ENDS unless given. examined: whether models and measures are kept.
    confirmed: (top, seeds), or {trial: what its configuration reached on each fresh seed, None where it failed}.
    """
    ends = {head: (trials or {}).get(head, ENDS) for head in heads}
    content: dict[str, Any] = {
        "name": f"made-{dimensions}d",
        "heads": dict(heads) if isinstance(heads, Mapping) else {head: {} for head in heads},
        "data": {"source": "idx", "path": "/nowhere/at/all", "validation_images": POINTS},
        "embedding_dim": dimensions,
        "body": {"width": 2},
        "training": {"epochs": 3, "batch_size": 16},
        "search": {"trials_per_head": max(1, *map(len, ends.values()))},
        "confirmation": {"top": 0} if confirmed is None else {},
    }
    if isinstance(confirmed, tuple):
        content["confirmation"] = dict(zip(("top", "seeds"), confirmed, strict=True))
    for key, value in changes.items():
        content[key] = {**content[key], **value} if key in ("data", "training", "search") else value
    study = Study.model_validate(content)
    folder = StudyFolder(parent / study.name)
    write_atomic(folder.study_file, study.to_yaml())
    fleet = Fleet((Node(2, memory_bytes=8 * 10**9),))
    split = SimpleNamespace(num_classes=classes, train=range(10 * POINTS))
    data = SimpleNamespace(digest=lambda: "made up")
    plan = SimpleNamespace(study=study, fleet=fleet, slots=2, split=split, data=data)
    write_atomic(folder.provenance_file, provenance.text(provenance.first(plan)))
    labels = np.arange(POINTS) % classes if sample is None else sample
    folder.save_labels(labels)
    runs = _searched(study, ends, params or {}, classes)
    write_atomic(folder.trials_file, "".join(_record(folder, study, runs, labels, classes, "10")))
    if confirmed is not None:
        asked, again = _repeated(study, folder.trials(study.objective), confirmed)
        lines = [json.dumps({**asked.event(), "time": "2026-01-01T11:00:00.000+00:00"}) + "\n"]
        lines += _record(folder, study, again, labels, classes, "11")
        write_atomic(folder.confirmation_file, "".join(lines))
    if examined:
        for best in Results(folder.root).best.values():
            _examine(folder, study, best, labels, classes)
    return folder


Ends = Sequence[tuple[Sequence[float], str]]  # of each trial of a head: objectives after its epochs, and its status
Confirmed = tuple[int, int] | Mapping[str, Sequence[float | None]]
Run = tuple[str, dict[str, Any], Sequence[float], str]  # name, what it is given, objectives after its epochs, status


def _searched(
    study: Study, ends: Mapping[str, Ends], params: Mapping[str, dict[str, Any]], classes: int
) -> Iterator[Run]:
    """The trials of a search."""
    for head, own in ends.items():
        start = {**starting_point(study.spaces(classes)[head]), **params.get(head, {})}
        for index, (objectives, status) in enumerate(own):
            given = start | {"lr": start["lr"] * (1 + index / 10)}
            known = {"head": head, "index": index, "seed": 100 + index, "params": given}
            yield f"{head}-{index:03d}", known, objectives, status


def _repeated(study: Study, trials: Mapping[str, Trial], confirmed: Confirmed) -> tuple[ReplicationPlan, list[Run]]:
    """What a confirmation asks for and its runs, by default near what the search saw, and a little less."""
    if isinstance(confirmed, tuple):
        asked = confirmation.ask(study, trials.values(), *confirmed, racing=False)
        luck = np.random.default_rng(2).normal(-0.02, 0.01, (len(asked.configurations), len(asked.seeds)))
        known = {name: trials[name].objective or 0.0 for name in asked.configurations}
        reached: Any = {name: np.clip(known[name] + own, 0, 1) for name, own in zip(known, luck, strict=True)}
    else:
        seeds = max(map(len, confirmed.values()))
        asked, reached = ReplicationPlan(tuple(confirmed), tuple(fresh_seeds(study, "seed", seeds))), confirmed
    runs: list[Run] = []
    for number, seed in enumerate(asked.seeds, start=1):
        for name in asked.configurations:
            known_as = {"head": trials[name].head, "index": number, "seed": seed, "params": trials[name].params}
            last = reached[name][number - 1]
            shares = [epoch / study.training.epochs for epoch in range(1, study.training.epochs + 1)]
            objectives = [] if last is None else [float(f"{last * share:.7g}") for share in shares]
            runs.append((run_name(name, "seed", number), known_as, objectives, "completed" if objectives else "failed"))
    return asked, runs


def _record(
    folder: StudyFolder, study: Study, runs: Iterable[Run], labels: NDArray[np.int64], classes: int, hour: str
) -> Iterator[str]:
    """The lines that a record has of some runs, an event every second; keeps the embeddings on the way."""
    seconds = 0

    def line(event: str, trial: str, **more: Any) -> str:
        nonlocal seconds
        seconds += 1
        time = f"2026-01-01T{hour}:{seconds // 60:02d}:{seconds % 60:02d}.000+00:00"
        return json.dumps({"event": event, "trial": trial, **more, "time": time}) + "\n"

    aim = directions(classes, study.embedding_dim)
    noise = np.random.default_rng(1).normal(size=(len(labels), study.embedding_dim))
    for name, known, objectives, status in runs:
        yield line("start", name, **known)
        for epoch, objective in enumerate(objectives, start=1):
            points = 3 * aim[labels] + noise / (epoch + 1)
            folder.save_embedding(name, epoch, points.astype(np.float16))
            measured = {"cluster_accuracy_spherical": objective, "cluster_accuracy_euclidean": objective - 0.01}
            measured |= {"separation_ratio": 2 * objective, "distance_ratio": objective}
            measured |= {study.objective.key: objective} if study.objective.name != "accuracy" else {}
            metrics = {f"val/{key}": value for key, value in measured.items()}
            metrics |= {"time/train_s": 2.0, "time/validation_s": 0.5}
            yield line("epoch", name, epoch=epoch, objective=objective, metrics=metrics)
        if status != "running":
            reason = "" if status == "completed" else f"because it {status}"
            yield line("end", name, status=status, reason=reason)


def _examine(folder: StudyFolder, study: Study, best: Trial, labels: NDArray[np.int64], classes: int) -> None:
    """What a finished search keeps of a head's best, without training it."""
    import torch

    from lightning_modules.metrics import measures
    from lightning_modules.models import model_config

    about = {"trial": best.name, "epoch": best.last_epoch}
    design = model_config.Blueprint(
        best.head, best.params, "strided", {"width": 2}, study.embedding_dim, classes, (SIDE, SIDE, 1), 100.0, 50.0
    )
    module, aim = design.build(), torch.from_numpy(directions(classes, study.embedding_dim)).float()
    weights = {key: aim if key == "centres" else value for key, value in module.state_dict().items()}
    model_config.save(folder.models / best.head, design, weights, about)
    points = folder.embedding(best.name, best.last_epoch)
    assert points is not None
    found = measures.final(
        torch.from_numpy(points.astype(np.float32)),
        torch.from_numpy(labels),
        classes,
        spherical=module.spherical,
        centres_CD=weights.get("centres"),
    )
    write_atomic(folder.analysis / f"{best.head}.json", json.dumps({**about, **found}, allow_nan=False))
