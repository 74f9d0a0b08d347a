"""YAML that people write: plain values with their lines, read within bounds that hold before anything is built.

YAML 1.2, so that 1e-3 is a number. What becomes of each node is told in `yaml_values`. Knows nothing of studies.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.reader import ReaderError

from orchestrator.errors import Problem
from orchestrator.files.yaml_values import MOST_DEPTH, MOST_VALUES, Builder, NotPlain, line_of, too_deep, too_much

MOST_BYTES = 1 << 18  # studies have some kilobytes; the slowest text of a megabyte was read for eight seconds
MOST_CHARACTERS = 65_536  # of one text
SPACES = "indent with spaces, for YAML allows no tabs"


@dataclass(frozen=True)
class Written:
    """What a text says. lines: of each dotted place, from 1; origins: of a copy, the line that it is copied from."""

    content: Any
    lines: dict[str, int] = field(default_factory=dict)
    origins: dict[str, int] = field(default_factory=dict)


def read(path: Path) -> str:
    """The text of a file that people write: a regular one in UTF-8, of a size that is read at once. Raises NotPlain."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe without a writer would wait
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise NotPlain([Problem("YAML", "the file must be a regular one", str(path), "write it to a file")])
            content = file.read(MOST_BYTES + 1)
        if len(content) <= MOST_BYTES:
            return content.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        fix = "save it as UTF-8" if isinstance(error, UnicodeDecodeError) else "make it readable"
        raise NotPlain([Problem("YAML", "the file must be readable YAML in UTF-8", str(error), fix)]) from error
    raise _too_long(path.stat().st_size)


def parse(text: str) -> Written:
    """What a text of YAML says. Raises NotPlain."""
    if len(text) > MOST_BYTES:
        raise _too_long(len(text))
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Bounded
    try:
        builder = Builder()
        root = yaml.compose(text)
        content = None if root is None else builder.value(root, "", None)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part)
        raise _invalid(said, mark.line + 1 if mark else None) from error
    except ReaderError as error:
        said = f"the character U+{error.character:04X}"
        raise _invalid(said, text.count("\n", 0, error.position) + 1) from error
    if builder.problems:
        raise NotPlain(builder.problems)
    return Written(content, builder.lines, builder.origins)


def _too_long(size: int) -> NotPlain:
    rule, fix = f"YAML has at most {MOST_BYTES:,} bytes", "leave out what is not read"
    return NotPlain([Problem("YAML", rule, f"{size:,} bytes", fix)])


def _invalid(said: str, line: int | None) -> NotPlain:
    fix = "mend this line"
    if "'\\t'" in said:
        fix += f": {SPACES}"
    elif "expected a single document" in said:
        fix += ": a file holds one document"
    return NotPlain([Problem("YAML", "the file must be valid YAML", said, fix, line)])


class _Bounded(Composer):
    """Makes nodes of a text, no more and no deeper ones than there may be."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.warn_double_anchors = False  # YAML allows to take a name again
        self._level = self._values = 0

    def get_single_node(self) -> Any:
        try:
            return super().get_single_node()
        except (YAMLError, NotPlain):
            raise
        except Exception as error:  # what the parser lets through for odd escapes, tags and directives
            raise _invalid(f"{type(error).__name__}: {error}", int(self.loader.reader.line) + 1) from error

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        self._values += 1
        if self._values > MOST_VALUES:
            raise too_much(f"the file holds at most {MOST_VALUES:,} values", "more", "leave some out", line_of(event))
        if self._level == MOST_DEPTH:
            raise too_deep(line_of(event))
        if len(getattr(event, "value", None) or "") > MOST_CHARACTERS:
            rule = f"a text has at most {MOST_CHARACTERS:,} characters"
            raise too_much(rule, f"{len(event.value):,} characters", "write less", line_of(event))
        self._level += 1
        node = super().compose_node(parent, index)
        self._level -= 1
        return node
