"""Names of files and folders as people write them, in a command or in a study: one reading of them for all.

What a bucket is called is `storage.bucket`'s.
"""

from __future__ import annotations

import os
import sys
from errno import ELOOP, ENAMETOOLONG
from pathlib import Path

from orchestrator.errors import Problem, StudyError, shown


def local(written: str | Path, place: str) -> Path:
    """The file or folder that is meant, there or not; ~ is home. Raises StudyError for what nothing can be called.

    place: where it is written, an option or a key.
    """
    try:
        path = Path(written).expanduser()
        str(path).encode()  # as files and Ray have it
        os.lstat(path)
    except RuntimeError as error:
        rule, fix = "~ is the home of a user of this machine", f"write it without ~; ./{written} is a file of that name"
        raise _refused(place, rule, written, fix) from error
    except UnicodeEncodeError as error:
        rule = f"names of files are texts in {sys.getfilesystemencoding()} here, as the locale has it"
        raise _refused(place, rule, written, "set LC_ALL=C.UTF-8, which has all characters") from error
    except ValueError as error:
        raise _refused(place, "no name of a file holds a NUL", written, "leave it out") from error
    except OSError as error:
        if error.errno in (ENAMETOOLONG, ELOOP):
            raise _refused(place, f"a path leads somewhere: {error.strerror}", written, "name another") from error
    try:
        path.absolute()
    except FileNotFoundError as error:
        rule, fix = "a relative path begins in the current folder, which is not there any more", "change into another"
        raise _refused(place, rule, written, fix) from error
    return path


def _refused(place: str, rule: str, written: str | Path, fix: str) -> StudyError:
    return StudyError([Problem(place, rule, shown(str(written)), fix)])
