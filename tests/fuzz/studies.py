"""Studies that are broken: each loads and is planned, or is refused in few words, and with fixes that hold."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from orchestrator.cluster.resources import Fleet, Node
from orchestrator.errors import Problem, Refused, StudyError
from orchestrator.files import plain_yaml
from orchestrator.planning import plan
from orchestrator.reporting import tables
from orchestrator.study import yaml_file
from orchestrator.study.schema import Study
from tests.fuzz import mutations, odd_yaml, repairs
from tests.fuzz.child import Case
from tests.readme import blocks

CASES = 10_000
LONGEST_MESSAGE = 20_000  # bytes
FLEET = Fleet((Node(4, gpu=1, memory_bytes=16e9),))


def prepare(folder: Path) -> Case:
    """The shipped studies, README's and one with every key, each on a few small images."""
    make_images(folder / "images", 120, 4)
    make_images(folder / "few", 40, 4)
    valid = [*_shipped(folder), whole(folder)]

    def case(random: Random) -> str:
        content = odd_yaml.mutated(random.choice(valid), random)
        text = odd_yaml.written(content, random).encode("utf-8", "surrogatepass")
        if random.random() < 0.15:
            text = mutations.of_bytes(text, random)
        if random.random() < 0.05:
            text = random.choice((b"\xef\xbb\xbf" + text, text.replace(b"\n", b"\r\n"), text.replace(b"a", b"a\0")))
        path = folder / "study.yaml"
        path.write_bytes(text)
        return outcome(lambda: Study.load(path), folder, path)

    return case


def outcome(load: Callable[[], Study], folder: Path, path: Path | None = None) -> str:
    """What becomes of a study; whatever is no refusal is left to the runner. path: its file, to try fixes on."""
    try:
        study = load()
        text = study.to_yaml()
        (folder / "again.yaml").write_text(text, encoding="utf-8")
        assert Study.load(folder / "again.yaml") == study, text
        planned = plan.make(study, folder / "results", fleet=FLEET)
    except Refused as error:
        _check(error)
        if path:
            _check_fixes(error.problems, path, folder)
        return "refused" if isinstance(error, StudyError) else "cannot run"
    _shown(planned)
    return "planned"


def _shown(planned: plan.Plan) -> None:
    from rich.console import Console

    console = Console(file=io.StringIO(), width=120)
    for part in tables.plan(planned):
        console.print(part, highlight=False, markup=False)
    json.dumps(planned.as_dict(), allow_nan=False)


def _check(error: Refused) -> None:
    assert error.problems
    assert len(str(error).encode("utf-8", "surrogatepass")) < LONGEST_MESSAGE, str(error)
    for problem in error.problems:
        assert problem.place, problem
        assert problem.rule, problem


def _check_fixes(problems: Iterable[Problem], path: Path, folder: Path) -> None:
    """Doing as a fix says removes its problem; others may come to light."""
    content = repairs.parsed(path.read_bytes().decode("utf-8-sig", "replace"))
    if not isinstance(content, dict):
        return
    for problem in [*problems][:3]:
        for mended in repairs.repaired(content, problem.place, problem.rule, problem.fix):
            (folder / "mended.yaml").write_text(json.dumps(mended), encoding="utf-8")
            try:
                plan.make(Study.load(folder / "mended.yaml"), folder / "results", fleet=FLEET)
            except Refused as error:
                same = [each for each in error.problems if (each.place, each.rule) == (problem.place, problem.rule)]
                assert not same, f"{problem}\nis there again in {mended}"


def make_images(folder: Path, number: int, classes: int) -> None:
    """An IDX dataset of small images."""
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (number, 6, 5), np.uint8)
    labels = (np.arange(number) % classes).astype(np.uint8)
    for name, values in (("train-images-idx3-ubyte", pixels), ("train-labels-idx1-ubyte", labels)):
        sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
        (folder / name).write_bytes(bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes())


def _shipped(folder: Path) -> list[dict[str, Any]]:
    texts = [(yaml_file.STUDIES / f"{name}.yaml").read_text() for name in yaml_file.shipped()]
    found = [plain_yaml.parse(text).content for text in (*texts, blocks("yaml")[0])]
    return [
        {**content, "data": _data(folder), "training": {"batch_size": 16}, "search": {"trials_per_head": 3}}
        for content in found
    ]


def _data(folder: Path) -> dict[str, Any]:
    return {"source": "idx", "path": str(folder / "images"), "validation_images": 40}


def whole(folder: Path) -> dict[str, Any]:
    """A study in which every key is written."""
    study: dict[str, Any] = {"name": "whole", "heads": {"arcface": {"margin_rad": 0.2}, "softmax": {}}}
    study |= {"data": _data(folder), "training": {"epochs": 2, "batch_size": 16}}
    content = Study.model_validate(study).model_dump(exclude_none=True)
    return {**content, "resources": {**content["resources"], "prices": {"currency": "EUR", "cpu_hour": 0.04}}}
