"""Which GraphQL operations of client 0.31, its public API and wandb-workspaces are answered, and by whom."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from tests.wandb_server import answers_artifacts, answers_runs, answers_sweeps
from tests.wandb_server.state import ENTITY, State, relay_id

Answer = Callable[[State, str, dict[str, Any]], dict[str, Any]]

USER = {
    "id": relay_id("User", ENTITY),
    "entity": ENTITY,
    "name": ENTITY,
    "username": ENTITY,
    "email": None,
    "admin": False,
    "flags": "{}",
    "deletedAt": None,
    "apiKeys": {"edges": []},
    "teams": {"edges": []},
}
FEATURES = [{"name": "SWEEPS_QUERY_FILTERING", "isEnabled": True}]


class UnknownOperation(Exception):
    """The client asked something that this server has never heard of."""


def name_of(body: bytes) -> str:
    """The name of the operation in a request."""
    asked = json.loads(body)
    found = re.search(r"\b(?:query|mutation)\s+(\w+)", asked["query"])
    return str(asked.get("operationName") or (found.group(1) if found else asked["query"][:60]))


def answer(state: State, url: str, body: bytes) -> dict[str, Any]:
    """The answer to a request. url: of the server, for what is to be uploaded. Raises UnknownOperation."""
    name = name_of(body)
    if name not in OPERATIONS:
        raise UnknownOperation(name)
    with state.lock:
        return {"data": OPERATIONS[name](state, url, json.loads(body).get("variables") or {})}


def _viewer(state: State, url: str, given: dict[str, Any]) -> dict[str, Any]:
    return {"viewer": USER}


def _project(state: State, url: str, given: dict[str, Any]) -> dict[str, Any]:
    entity, name = given["entity"] or ENTITY, given["name"]
    if not state.has_project(entity, name):
        return {"project": None}
    about = {"__typename": "Project", "id": relay_id("Project", name), "name": name, "entityName": entity}
    return {"project": about | {"createdAt": "2026-01-01T00:00:00Z", "isBenchmark": False, "user": USER}}


OPERATIONS: dict[str, Answer] = {
    "Viewer": _viewer,
    "GetViewer": _viewer,
    "GetDefaultEntity": _viewer,
    "GetProject": _project,
    "ServerFeaturesQuery": lambda state, url, given: {"serverInfo": {"features": FEATURES}},
    "OrganizationCoreWeaveOrganizationID": lambda state, url, given: {"entity": {"organization": None}},
    **answers_runs.OPERATIONS,
    **answers_sweeps.OPERATIONS,
    **answers_artifacts.OPERATIONS,
}
