"""What the README shows, block by block."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands_of(block: str, program: str) -> list[list[str]]:
    """The words after the program's name, of each line of a console block that calls it."""
    lines = [line.removeprefix("$ ") for line in block.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith(f"{program} ")]


def commands(program: str) -> list[list[str]]:
    return [words for block in blocks("console") for words in commands_of(block, program)]
