"""What the server holds: runs, sweeps, artifacts, views. Knows neither HTTP nor GraphQL.

A handler changes all of it under `State.lock`. What tests read is replaced, never changed in place: they need no lock.
"""

from __future__ import annotations

import base64
import json
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

ENTITY = "someone"  # whose key it is, whatever the key
ENDED = {0: "finished", 255: "killed"}  # any other exit code is a failure
HISTORY, EVENTS, OUTPUT, SUMMARY = "wandb-history.jsonl", "wandb-events.jsonl", "output.log", "wandb-summary.json"


@dataclass
class Run:
    """One run, as the client has told of it."""

    id: str
    entity: str
    project: str
    number: int
    name: str = ""
    group: str = ""
    job_type: str = ""
    notes: str = ""
    tags: list[str] = field(default_factory=list)
    wrapped: dict[str, Any] = field(default_factory=dict)  # the configuration as the protocol has it
    summary: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, dict[int, str]] = field(default_factory=dict)  # of its streamed files, by their offset
    files: dict[str, bytes] = field(default_factory=dict)
    state: str = "running"
    exit_code: int | None = None
    sweep: str | None = None
    created: str = field(default_factory=lambda: now())
    heartbeat: str = field(default_factory=lambda: now())

    @property
    def path(self) -> str:
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def config(self) -> dict[str, Any]:
        """What its author set, without the client's own part."""
        return {key: item["value"] for key, item in self.wrapped.items() if key != "_wandb"}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Its history in the order of the offsets; a line that came twice is there once."""
        return [json.loads(line) for line in self.streamed(HISTORY)]

    @property
    def last_step(self) -> int:
        return max((row["_step"] for row in self.rows), default=-1)

    def streamed(self, file: str) -> list[str]:
        lines = self.lines.get(file, {})
        return [lines[offset] for offset in sorted(lines)]

    def stream(self, content: dict[str, Any]) -> None:
        """Takes what a client posts while a run goes on: lines by their offset, and at last how it ended."""
        self.heartbeat = now()
        for file, chunk in (content.get("files") or {}).items():
            if file == SUMMARY:
                self.summary = json.loads(chunk["content"][-1])
            else:
                sent = dict(enumerate(chunk["content"], start=chunk["offset"]))
                self.lines = self.lines | {file: self.lines.get(file, {}) | sent}
        if content.get("complete"):
            self.exit_code = content.get("exitcode") or 0
            self.state = ENDED.get(self.exit_code, "failed")


@dataclass
class Sweep:
    """A sweep, and the runs that it was created with."""

    id: str
    entity: str
    project: str
    source: str  # the configuration as YAML, as it came
    config: dict[str, Any]
    prior_runs: list[str]
    state: str = "PENDING"
    created: str = field(default_factory=lambda: now())

    @property
    def name(self) -> str:
        return str(self.config.get("name") or self.id)


@dataclass
class Artifact:
    """One version of an artifact: what is said of it, and its files by their paths."""

    id: str
    entity: str
    project: str
    type: str
    name: str
    digest: str
    version: int
    run: str
    description: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    manifest: bytes = b""
    state: str = "PENDING"
    created: str = field(default_factory=lambda: now())


@dataclass
class View:
    """A saved workspace. spec: what it shows, in the words of the app."""

    id: str
    entity: str
    project: str
    type: str
    name: str
    display_name: str
    spec: dict[str, Any]


class Runs(dict[str, Run]):
    """Runs by entity/project/id, or by their id alone where that says enough."""

    def __missing__(self, id: str) -> Run:
        found = [run for run in self.values() if run.id == id]
        if len(found) != 1:
            raise KeyError(f"{len(found)} runs are called {id}")
        return found[0]

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or any(run.id == key for run in self.values())


class State:
    """All of it. Whoever reads or changes more than one thing holds `lock`."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.runs = Runs()
        self.sweeps: dict[str, Sweep] = {}
        self.artifacts: list[Artifact] = []
        self.views: list[View] = []

    def run(self, entity: str | None, project: str | None, id: str) -> Run:
        """The run of that id, which is made where there is none."""
        path = f"{entity or ENTITY}/{project or 'uncategorized'}/{id}"
        if path not in self.runs:
            made = Run(id, entity or ENTITY, project or "uncategorized", len(self.runs) + 1)
            self.runs = Runs({**self.runs, path: made})
        return self.runs[path]

    def known(self, entity: str | None, project: str | None, id: str) -> Run | None:
        return dict.get(self.runs, f"{entity or ENTITY}/{project or 'uncategorized'}/{id}")

    def runs_in(self, entity: str | None, project: str | None) -> list[Run]:
        return [run for run in self.runs.values() if (run.entity, run.project) == (entity or ENTITY, project)]

    def sweeps_in(self, entity: str | None, project: str | None) -> list[Sweep]:
        return [each for each in self.sweeps.values() if (each.entity, each.project) == (entity or ENTITY, project)]

    def artifact(self, id: str) -> Artifact:
        return next(each for each in self.artifacts if each.id == id)

    def has_project(self, entity: str | None, project: str | None) -> bool:
        """Whether anything was ever sent to it."""
        views = [view for view in self.views if (view.entity, view.project) == (entity or ENTITY, project)]
        return bool(self.runs_in(entity, project) or self.sweeps_in(entity, project) or views)


def relay_id(kind: str, name: str) -> str:
    """An id in the manner of GraphQL: opaque to the client."""
    return base64.b64encode(f"{kind}:{name}".encode()).decode()


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
