"""A small dataset and study, for tests that run a whole search in seconds; and finished studies, made in an instant."""

from __future__ import annotations

import gc
import gzip
import os
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lightning_modules.data.sources import mnist
from orchestrator.reporting import report
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from tests import made

pytest_plugins = ["tests.buckets", "tests.orchestrator.processes"]
TRAIN, TEST = 3000, 500
for variable in ("WANDB_MODE", "WANDB_DISABLED"):  # whoever runs the tests may have switched W&B off
    os.environ.pop(variable, None)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # on few and busy cores several threads mostly wait for each other


# Files that share what takes long to make, by the beginning of their paths: one process runs them one after another.
TOGETHER = {
    "reports": ("tests/browser/", "tests/orchestrator/reporting/", "tests/orchestrator/figures/"),
    "trials on Ray": tuple(f"tests/orchestrator/trials/test_{name}.py" for name in ("data_parallel", "process_deaths")),
    "search spaces": ("tests/search_spaces/",),  # arrangements of directions are searched for once a process
    "reference study": ("tests/orchestrator/stages/test_sealed_", "tests/orchestrator/stages/test_confirm.py"),
}
LONGEST_FIRST = (  # whatever takes long and begins last is waited for by all other processes
    "tests/orchestrator/stages/test_ends.py",
    "tests/orchestrator/stages/test_launch.py",
    "trials on Ray",
    "tests/test_readme_followed.py",
    "tests/orchestrator/tracking/test_online.py",
    "tests/orchestrator/storage/test_search_in_a_bucket.py",
    "tests/cluster/test_nodes.py",
    "tests/orchestrator/tracking/test_outages.py",
    "tests/cluster/test_jobs.py",
    "reports",
    "reference study",
    "search spaces",
    "tests/orchestrator/tracking/test_follower.py",
    "tests/orchestrator/stages/test_best_models.py",
    "tests/cluster/test_autoscaler.py",
    "tests/orchestrator/cost/test_benchmark.py",
)


def scope(nodeid: str) -> str:
    """What one process runs without a break: a file, or files that belong together."""
    path = nodeid.partition("::")[0]
    return next((name for name, beginnings in TOGETHER.items() if path.startswith(beginnings)), path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest come first; all others stay in order."""
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(scope(item.nodeid), len(places)))


def pytest_collection_finish() -> None:
    """What is imported and collected now stays: the garbage collector need not look at it again and again."""
    gc.freeze()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Several processes share the tests, scope by scope in order."""
    from xdist.scheduler import LoadScopeScheduling

    class ByScope(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return scope(nodeid)

    return ByScope(config, log)


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(gzip.compress(header + array.tobytes(), compresslevel=1))


@pytest.fixture(scope="session")
def small_mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An IDX folder with the first images of MNIST."""
    folder = tmp_path_factory.mktemp("small-mnist")
    for part, number in (("train", TRAIN), ("t10k", TEST)):
        data = mnist.load(part)
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", data.images[:number])
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", data.labels[:number].astype(np.uint8))
    return folder


@pytest.fixture(scope="session")
def write_small(small_mnist: Path) -> Callable[..., Path]:
    """write_small(folder, **lines): a study of the small dataset there; keyword arguments replace lines of it."""

    def write(folder: Path, **lines: str) -> Path:
        known = {
            "name": "small",
            "data": f"{{source: idx, path: {small_mnist}, validation_images: 1000}}",
            "body": "{width: 4}",
            "training": "{epochs: 2, batch_size: 64}",
            "search": "{trials_per_head: 2}",
            "heads": "{arcface: , cosface: }",
            "tracking": "{mode: 'off'}",
        }
        path = folder / "small.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in (known | lines).items()))
        return path

    return write


@pytest.fixture
def small_study(write_small: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """small_study(**lines): such a study in the test's own folder."""
    return partial(write_small, tmp_path)


@pytest.fixture
def load_small(small_study: Callable[..., Path]) -> Callable[..., Study]:
    return lambda **lines: Study.load(small_study(**lines))


@pytest.fixture(scope="session")
def build_study() -> Callable[..., StudyFolder]:
    """build_study(parent, heads=…, dimensions=…, trials={head: …}, …): a whole folder, as `made.build` makes it."""
    return made.build


@pytest.fixture(scope="session")
def made_study(tmp_path_factory: pytest.TempPathFactory, build_study: Callable[..., StudyFolder]) -> Callable[..., Any]:
    """made_study(dimensions, *heads): the results of a finished study, built once for all tests that only read it."""

    @cache
    def make(dimensions: int = 3, *heads: str) -> Results:
        folder = build_study(tmp_path_factory.mktemp("made"), heads or ("softmax", "arcface"), dimensions)
        return Results(folder.root)

    return make


@pytest.fixture(scope="session")
def made_report(made_study: Callable[..., Results]) -> Callable[..., Path]:
    """made_report(dimensions, *heads): the report of such a study, drawn once."""
    return cache(lambda dimensions=3, *heads: report.write(made_study(dimensions, *heads)))
