"""A study as a W&B sweep: method custom, for the orchestrator chooses, and the study's space as its parameters."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ConfigDict

from orchestrator.errors import CannotRun
from orchestrator.files import json_documents
from orchestrator.files.atomic import write_atomic
from orchestrator.files.json_documents import Form
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study
from orchestrator.system.environment import kept
from orchestrator.tracking import connection
from search_spaces.configurations import Searched
from search_spaces.distributions import Choice, Parameter, Range

Spaces = Mapping[str, Mapping[str, Searched]]
SET_BY_WANDB = ("WANDB_ENTITY", "WANDB_PROJECT")  # of a sweep, for runs that follow
CREATE_S = 40.0  # longer than wandb asks by itself: what was given up may not make a second sweep later


class Place(Form):
    """Where a study is at W&B. Kept in `wandb.json`; without it, `sync` would ask the server's runs."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)
    rule = "wandb.json says where a study is at W&B"
    server: str
    entity: str
    project: str
    sweep: str
    url: str
    workspace: str = ""

    @property
    def path(self) -> str:
        return f"{self.entity}/{self.project}"

    def keep(self, folder: StudyFolder) -> None:
        write_atomic(folder.wandb_file, json.dumps(self.model_dump(), indent=2) + "\n")

    @property
    def links(self) -> dict[str, str]:
        """What there is to open, by its name."""
        return {"sweep": self.url, **({"workspace": self.workspace} if self.workspace else {})}

    @classmethod
    def kept(cls, folder: StudyFolder) -> Place | None:
        """What was kept in a folder; None too where the note is not one that this version has written."""
        try:
            known = json_documents.read(folder.wandb_file, cls, "")
        except CannotRun:
            return None
        return cls.model_validate(known) if known else None

    @classmethod
    def of(cls, folder: StudyFolder, study: Study) -> Place | None:
        """What was kept, if it is for the server, the project and the entity of now."""
        known = cls.kept(folder)
        if known is None:
            return None
        entity = study.tracking.entity or known.entity
        wanted = (connection.host(), entity, study.tracking.project)
        return known if (known.server, known.entity, known.project) == wanted else None


def path_of(folder: StudyFolder, study: Study) -> str:
    """entity/project, where a study's runs go: the study's own entity, else that of wandb's settings or the account."""
    if known := Place.of(folder, study):
        return known.path
    entity = study.tracking.entity or connection.entity()
    return f"{entity}/{study.tracking.project}"


def place_of(path: str, sweep: str) -> Place:
    """Where a sweep is."""
    entity, _, project = path.partition("/")
    url = f"{connection.app()}/{path}/sweeps/{sweep}"
    return Place(server=connection.host(), entity=entity, project=project, sweep=sweep, url=url)


def create(path: str, study: Study, spaces: Spaces, prior_runs: Sequence[str] = ()) -> Place:
    """A new sweep of a study, with runs that are there already attached to it."""
    from wandb.apis.public.sweeps import _upsert_sweep  # wandb.sweep prints, to a stdout that is not ours alone

    entity, _, project = path.partition("/")
    content, prior = config(study, spaces), list(prior_runs) or None

    def ask() -> str:
        with kept(*SET_BY_WANDB):
            made, _ = _upsert_sweep(connection.api(), content, entity=entity, project=project, prior_runs=prior)
        return str(made["name"])

    return place_of(path, connection.within(CREATE_S, ask, "W&B was asked for a sweep"))


def config(study: Study, spaces: Spaces) -> dict[str, Any]:
    """The sweep's configuration. Parameters of the same name in several heads become one that holds all of them."""
    named: dict[str, list[Parameter]] = {}
    for space in spaces.values():
        for name, item in space.items():
            named.setdefault(name, []).append(item.parameter)
    return {
        "name": study.name,
        "description": study.description,
        "method": "custom",
        "metric": {"name": "objective", "goal": study.objective.direction},
        "parameters": {
            "head": {"values": list(spaces)},
            **{name: merged(each).to_wandb() for name, each in named.items()},
        },
    }


def merged(each: Sequence[Parameter]) -> Parameter:
    """The smallest parameter that holds several: a range from the lowest to the highest, or all of a few values."""
    ranges = [parameter for parameter in each if isinstance(parameter, Range)]
    values = [value for parameter in each for value in parameter.values]
    if not ranges:  # to W&B true is not 1
        return Choice(tuple(value for _, value in dict.fromkeys((isinstance(value, bool), value) for value in values)))
    if len(set(each)) == 1:
        return each[0]
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    low = min([*(known.low for known in ranges), *numbers])
    high = max([*(known.high for known in ranges), *numbers])
    whole = all(known.integer for known in ranges) and all(isinstance(number, int) for number in numbers)
    return Range(low, high, log=low > 0 and all(known.log for known in ranges), integer=whole)
