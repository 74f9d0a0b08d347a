"""What the README shows, block by block. Each command of the program is run by one test or another, in these words."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands_of(block: str, program: str) -> list[list[str]]:
    """The words after the program's name, of each command of a console block that calls it."""
    lines = [line.removeprefix("$ ").partition("#")[0] for line in block.splitlines()]
    commands = [shlex.split(command) for line in lines for command in line.split("&&")]
    return [words[1:] for words in commands if words[0] == program]


def commands(program: str) -> list[list[str]]:
    return [words for block in blocks("console") for words in commands_of(block, program)]


def placed(words: list[str], places: Mapping[str, object]) -> list[str]:
    """A command's words, with a test's own places and names in place of the README's."""
    for written, own in places.items():
        words = [word.replace(written, str(own)) for word in words]
    return words


_, STUDY, LOOK, TAKE_AWAY, WANDB, BUCKET, CLUSTER, JOBS = (
    commands_of(block, "orchestrator") for block in blocks("console")
)
