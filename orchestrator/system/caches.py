"""Where a home cannot be written, as in many containers: caches of all that is used here get a place of their own.

Else matplotlib warns and draws its fonts' list anew in every process, and wandb logs a page and sends no artifact.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

VARIABLES = {"XDG_CACHE_HOME": "", "MPLCONFIGDIR": "matplotlib", "WANDB_DATA_DIR": "wandb"}


def furnish() -> None:
    """Sets the variables that name caches, for this process and those that it starts; not those that are set."""
    with suppress(OSError, RuntimeError):  # without temporary files nothing runs here, and others say so
        if not _takes(Path("~/.cache").expanduser()):
            folder = _own()
            for name, below in VARIABLES.items():
                os.environ.setdefault(name, str(folder / below))


def _takes(folder: Path) -> bool:
    """Whether something can be written in the usual place."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _own() -> Path:
    """A folder for temporary files that only this user may enter: the same every time, if it is nobody else's."""
    usual = Path(tempfile.gettempdir(), f"embedding-heads-{os.getuid()}")
    with suppress(FileExistsError):
        usual.mkdir(mode=0o700)
    found = usual.lstat()
    ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077
    return usual if ours else Path(tempfile.mkdtemp(prefix=f"{usual.name}-"))
