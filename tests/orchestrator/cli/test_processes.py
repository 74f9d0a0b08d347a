"""The command line in a process of its own: how it starts and how it exits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from orchestrator.cli import app\n"
        "try:\n    app(['launch', '--help'])\n"
        "except SystemExit as end:\n    print(end.code)\n"
        "heavy = {'torch', 'ray', 'pytorch_lightning', 'wandb', 'matplotlib', 'optuna', 'scipy', 'numpy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "[]"]


def test_nothing_is_searched_for_garbage_at_the_exit() -> None:
    code = (
        "import atexit, gc, sys\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 0))\n"  # after all that is registered later
        "from orchestrator.cli import main\n"
        "sys.argv[1:] = ['--version']\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1:] == ["True"]


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "orchestrator", "status", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert "Traceback" not in done.stderr
