"""What a module imports when it is imported; who may import whom is told to import-linter, in pyproject.toml."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "lightning_modules", "search_spaces")
SOURCES = [path.relative_to(ROOT) for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
TESTS = [path.relative_to(ROOT) for path in sorted((ROOT / "tests").rglob("*.py"))]
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
    "obstore",
    "botocore",
    "google",
    "wandb_workspaces",
}
HEAVY_AT_ONCE = (  # what is only imported by whoever is about to need it; all else answers in a fraction of a second
    "lightning_modules/data/batches.py",
    "lightning_modules/distributed/",
    "lightning_modules/heads/",
    "lightning_modules/metrics/",
    "lightning_modules/models/embedder.py",
    "lightning_modules/models/gallery.py",
    "orchestrator/figures/",
    "orchestrator/reporting/pictures/",
    "orchestrator/reporting/report/content.py",
    "orchestrator/search/head_population.py",
    "orchestrator/trials/head_schedulers.py",
    "orchestrator/trials/recorder.py",
    "orchestrator/trials/source_searcher.py",
    "orchestrator/trials/watchdog.py",
)


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


def test_the_walk_sees_imports_at_the_top_and_in_functions() -> None:
    assert "ray" in packages(Path("orchestrator/trials/head_schedulers.py"), inside_functions=False)
    assert "ray" in packages(Path("orchestrator/trials/trial.py"))
    assert "ray" not in packages(Path("orchestrator/trials/trial.py"), inside_functions=False)
    assert len(SOURCES) > 30


def test_search_spaces_knows_only_the_standard_library_numpy_and_pydantic() -> None:
    allowed = {*sys.stdlib_module_names, "search_spaces", "numpy", "pydantic", "pydantic_core"}
    files = [path for path in SOURCES if path.parts[0] == "search_spaces"]
    assert {str(path): names for path in files if (names := packages(path) - allowed)} == {}


def test_all_but_what_trains_and_draws_loads_no_framework() -> None:
    light = [path for path in SOURCES if not path.as_posix().startswith(HEAVY_AT_ONCE) and path.name != "__main__.py"]
    names = [".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in light]
    code = f"import importlib, sys\nfor name in {names}: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "orchestrator.stages.launch" in done.stdout.split()
    assert HEAVY & {*done.stdout.split()} == set()


def test_no_file_is_longer_than_350_lines() -> None:
    lengths = {str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in [*SOURCES, *TESTS]}
    assert {path: length for path, length in lengths.items() if length > 350} == {}


def test_every_file_says_what_it_is() -> None:
    files = [path for path in SOURCES if path.name != "__main__.py"]
    assert [str(path) for path in files if not ast.get_docstring(parsed(path))] == []


def test_a_trial_knows_no_test_images_and_no_wandb() -> None:
    for name in ("trials", "search", "stages/launch.py", "selection/replicates.py"):
        place = ROOT / "orchestrator" / name
        for path in [place] if place.is_file() else place.glob("*.py"):
            text = path.read_text(encoding="utf-8")
            assert "t10k" not in text, path
            assert "import wandb" not in text, path
