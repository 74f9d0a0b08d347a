"""Who may import whom: one way between the packages, each framework in the few files that need it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "lightning_modules", "search_spaces")
SOURCES = [path.relative_to(ROOT) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
TESTS = [path.relative_to(ROOT) for path in sorted((ROOT / "tests").rglob("*.py"))]
HOMES = {  # framework → the only files that may import it
    "ray": {
        f"orchestrator/{name}.py"
        for name in ("training", "budget", "recorder", "watch", "cluster", "cluster_file", "trial", "workers", "jobs")
    },
    "wandb": {f"orchestrator/tracking/{name}.py" for name in ("account", "publish", "run", "sweep", "workspace")},
    "wandb_workspaces": {"orchestrator/tracking/workspace.py"},
    "matplotlib": {
        f"orchestrator/plots/{name}.py"
        for name in ("classes", "embedding", "margins", "search", "sphere", "spread", "style")
    },
    "mpl_toolkits": {"orchestrator/figures/embedding.py"},
    "plotly": {"orchestrator/reporting/report/page.py"},
    "jinja2": {"orchestrator/reporting/report/page.py"},
    "pytorch_metric_learning": {"lightning_modules/heads/pml.py"},
    "safetensors": {"lightning_modules/models/model_config.py"},
    "pyarrow": {"orchestrator/inference/embed_dataset.py", "orchestrator/storage/bucket.py"},
    "onnx": {"orchestrator/inference/export.py"},
    "onnxruntime": {"orchestrator/inference/export.py"},
    "onnxscript": {"orchestrator/inference/export.py"},
    "sklearn": {"lightning_modules/metrics/clusters.py", "orchestrator/figures/embedding.py"},
    "optuna": {"orchestrator/search/samplers.py", "orchestrator/reporting/dashboard.py"},
    "optuna_dashboard": {"orchestrator/reporting/dashboard.py"},
    "ruamel": {f"orchestrator/{name}.py" for name in ("study_file", "plain_yaml", "yaml_values")},
    "typer": {
        f"orchestrator/cli/{name}.py" for name in ("__init__", "common", "running", "looking", "models", "remote")
    },
}
LIGHT = (
    "selection",
    "plan",
    "estimate",
    "timetable",
    "calibration",
    "timing",
    "contest",
    "searchers",
    "training",
    "verdict/evidence",
    "verdict/repeats",
    "verdict/confirmation",
    "verdict/sealed",
    "verdict/opening",
    "verdict/edges",
    "verdict/importance",
    "verdict/noncentral",
    "inspection",
    "verdict/starts",
    "leaderboards",
    "tables",
    "as_json",
    "provenance",
    "progress",
    "cluster",
    "beside",
    "daemons",
    "signals",
    "streams",
    "keepsakes",
    "study",
    "study_file",
    "documents",
    "event_log",
    "events",
    "records",
    "results",
    "errors",
    "cli/__init__",
    "cli/common",
    "cli/running",
    "cli/looking",
    "cli/models",
    "cli/remote",
    "search",
    "trial",
    "workers",
    *(f"tracking/{path.stem}" for path in sorted((ROOT / "orchestrator/tracking").glob("*.py"))),
    *(f"storage/{path.stem}" for path in sorted((ROOT / "orchestrator/storage").glob("*.py"))),
    "refresh",
    "background",
    "locks",
    "places",
    "disk",
    "temporary",
    "commands",
    "fleet",
    "jobs",
    "files",
    "fingerprint",
    "cluster_file",
    "cluster_kuberay",
    "doctor",
    "winners",
    "checkpoints",
    "comparison",
    "dashboard",
    "vectors",
    "continuity",
    "provenance",
    "scratch",
    "verdict/test_set",
    "export",
    "report/__init__",
)
HEAVY = {
    "torch",
    "ray",
    "wandb",
    "matplotlib",
    "mpl_toolkits",
    "pytorch_lightning",
    "scipy",
    "sklearn",
    "plotly",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "optuna_dashboard",
    "pyarrow",
    "wandb_workspaces",
}


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(encoding="utf-8"))


@cache
def imported(path: Path, inside_functions: bool = True) -> tuple[str, ...]:
    """The modules that a file imports, those under TYPE_CHECKING left out; with or without those in functions."""
    return tuple(_imported(path, inside_functions))


def _imported(path: Path, inside_functions: bool) -> Iterator[str]:
    todo: list[ast.AST] = [parsed(path)]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield str(node.module)
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        elif inside_functions or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            todo.extend(ast.iter_child_nodes(node))


def packages(path: Path, inside_functions: bool = True) -> set[str]:
    return {module.partition(".")[0] for module in imported(path, inside_functions)}


def strangers(files: Iterable[Path], found: Callable[[Path], set[str]]) -> dict[str, set[str]]:
    """Of each file what it imports and may not, where there is anything."""
    return {str(path): names for path in files if (names := found(path))}


def test_the_walk_sees_imports_at_the_top_and_in_functions() -> None:
    assert "ray" in packages(Path("orchestrator/search/schedulers.py"), inside_functions=False)
    assert "ray" in packages(Path("orchestrator/trials/trial.py"))
    assert "ray" not in packages(Path("orchestrator/trials/trial.py"), inside_functions=False)
    assert len(SOURCES) > 30


def test_imports_point_one_way() -> None:
    allowed = {package: {package} for package in PACKAGES} | {"orchestrator": set(PACKAGES)}
    assert strangers(SOURCES, lambda path: (packages(path) & set(PACKAGES)) - allowed[path.parts[0]]) == {}


def test_each_framework_stays_in_its_files() -> None:
    def from_home(path: Path) -> set[str]:
        return {name for name, homes in HOMES.items() if name in packages(path) and path.as_posix() not in homes}

    assert strangers(SOURCES, from_home) == {}


def test_search_spaces_knows_only_the_standard_library_numpy_and_pydantic() -> None:
    allowed = {*sys.stdlib_module_names, "search_spaces", "numpy", "pydantic", "pydantic_core"}
    files = [path for path in SOURCES if path.parts[0] == "search_spaces"]
    assert strangers(files, lambda path: packages(path) - allowed) == {}


def test_planning_and_choosing_load_no_framework() -> None:
    files = [Path(f"orchestrator/{name}.py") for name in LIGHT]
    assert strangers(files, lambda path: packages(path, inside_functions=False) & HEAVY) == {}


def test_no_file_is_longer_than_350_lines() -> None:
    lengths = {str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in [*SOURCES, *TESTS]}
    assert {path: length for path, length in lengths.items() if length > 350} == {}


def test_every_file_says_what_it_is() -> None:
    files = [path for path in SOURCES if path.name != "__main__.py"]
    assert [str(path) for path in files if not ast.get_docstring(parsed(path))] == []


def test_a_trial_knows_no_test_images_and_no_wandb() -> None:
    for name in ("trial", "workers", "recorder", "contest", "training", "search", "verdict/repeats"):
        text = (ROOT / "orchestrator" / f"{name}.py").read_text(encoding="utf-8")
        assert "t10k" not in text
        assert "import wandb" not in text
