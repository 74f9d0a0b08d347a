"""Reads the JSON documents of a study's folder: what is there has its form, or a Problem says what is wrong with it.

A document says what no record does, and is written whole or not at all. One that is broken was broken later, by a disk
or by someone's hand. Whoever reads one says what to do about it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lightning_modules.formats import json_text
from orchestrator.errors import CannotRun, Problem, shown

MOST_BYTES = 2**26


class Form(BaseModel):
    """What a document must say; it may say more, for a later version may write that."""

    model_config = ConfigDict(extra="allow", strict=True)
    rule: ClassVar[str]


class Git(Form):
    """The commit of a checkout, and whether its files were changed since."""

    commit: str
    changed: bool


class Collected(Form):
    """What provenance says of one launch or resume; all of it is optional, for it grew from version to version."""

    started: str = ""
    orchestrator: str = ""
    command: list[str] = []
    git: Git | None = None
    packages: dict[str, str | None] = {}
    seeds: dict[str, int | str] = {}
    classes: int = Field(default=1, ge=1, lt=2**31)
    train_images: int = 0
    study: dict[str, Any] | None = None
    images: str | None = None
    trains: str | None = None
    other_code: bool = False


class Provenance(Collected):
    """provenance.json."""

    rule = "provenance.json is a JSON object that says where the numbers come from"
    study_id: str = Field(default="", pattern=r"^\w*$", max_length=64)
    resumed: list[Collected] = []


class Analysis(Form):
    """analysis/<head>.json."""

    rule = "an analysis is a JSON object with the measures of a head's best trial"
    trial: str
    epoch: int
    measures: dict[str, float | None]


class Copied(Form):
    """.home of a working copy."""

    rule = "the .home of a working copy says which bucket it is a copy of"
    uri: str
    copied: str = Field(alias="copy")


def read(path: Path, form: type[Form], fix: str) -> dict[str, Any] | None:
    """What a document says; None where there is none. Raises CannotRun for one that is there and is broken."""
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"it is longer than {MOST_BYTES:,} bytes")
        known: dict[str, Any] = json_text.parse(content)
        form.model_validate(known)
        return known
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        wrong = told(error)
    except OSError as error:
        wrong = str(error.strerror)
    except ValueError as error:
        wrong = str(error)
    raise CannotRun([Problem(str(path), form.rule, wrong, fix)])


def told(error: ValidationError, outer: int = 0) -> str:
    """The first thing that is wrong, in a few words. outer: how many parts of its place go without saying."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"][outer : outer + 3]))
    said = first["msg"].removeprefix("Value error, ")
    but = "" if first["type"] == "missing" else f", but it is {shown(first['input'])}"
    return f"{place}: {said}{but}" if place else f"{said}{but}"
