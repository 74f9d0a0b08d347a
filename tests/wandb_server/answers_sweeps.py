"""GraphQL about sweeps and saved workspaces."""

from __future__ import annotations

import json
from typing import Any

import yaml  # comes with the client, which sends a sweep's configuration in it

from tests.wandb_server.answers_runs import page, project_of
from tests.wandb_server.filters import passes
from tests.wandb_server.state import ENTITY, State, Sweep, View, relay_id

Given = dict[str, Any]


def _node(state: State, sweep: Sweep) -> dict[str, Any]:
    return {
        "__typename": "Sweep",
        "id": relay_id("Sweep", sweep.id),
        "name": sweep.id,
        "displayName": None,
        "method": sweep.config.get("method"),
        "state": sweep.state,
        "description": sweep.config.get("description"),
        "bestLoss": None,
        "config": sweep.source,
        "createdAt": sweep.created,
        "updatedAt": sweep.created,
        "runCount": sum(run.sweep == sweep.id for run in state.runs.values()),
        "runCountExpected": None,
        "project": project_of(sweep.project, sweep.entity),
    }


def _upsert(state: State, url: str, given: Given) -> dict[str, Any]:
    """Makes a sweep, or changes the one with that id; runs that were there before become part of it."""
    known = next((each for each in state.sweeps.values() if relay_id("Sweep", each.id) == given.get("id")), None)
    filters = json.loads(given.get("priorRunsFilters") or "null")
    entity, project = given.get("entityName") or ENTITY, given.get("projectName") or "uncategorized"
    prior = [run for run in state.runs_in(entity, project) if passes(run, filters)] if filters else []
    if known is None:
        id, source = f"sweep{len(state.sweeps):03d}", given["config"]
        known = Sweep(id, entity, project, source, yaml.safe_load(source), [run.id for run in prior])
        state.sweeps = state.sweeps | {id: known}
    elif given.get("config"):
        known.source, known.config = given["config"], yaml.safe_load(given["config"])
    known.state = given.get("state") or ("RUNNING" if prior else known.state)
    for run in prior:
        run.sweep = known.id
    return {"upsertSweep": {"sweep": _node(state, known), "configValidationWarnings": []}}


def _one(state: State, url: str, given: Given) -> dict[str, Any]:
    id = given.get("name") or given.get("sweep")
    found = [each for each in state.sweeps_in(given["entity"], given["project"]) if each.id == id]
    if not found and not state.has_project(given["entity"], given["project"]):
        return {"project": None}
    return {"project": {"sweep": _node(state, found[0]) if found else None}}


def _all(state: State, url: str, given: Given) -> dict[str, Any]:
    if not state.has_project(given["entity"], given["project"]):
        return {"project": None}
    nodes = [_node(state, sweep) for sweep in state.sweeps_in(given["entity"], given["project"])]
    return {"project": {"totalSweeps": len(nodes), "sweeps": page(nodes, given)}}


def _upsert_view(state: State, url: str, given: Given) -> dict[str, Any]:
    known = next((view for view in state.views if view.id == given.get("id")), None)
    if known is None:
        id = relay_id("View", str(len(state.views)))
        entity = given.get("entityName") or ENTITY
        known = View(id, entity, given["projectName"], given["type"], given["name"], "", {})
        state.views = [*state.views, known]
    known.display_name, known.spec = given.get("displayName") or "", json.loads(given["spec"])
    return {"upsertView": {"view": {"id": known.id, "name": known.name}, "inserted": True}}


def _views(state: State, url: str, given: Given) -> dict[str, Any]:
    found = [view for view in state.views if view.name == given["viewName"] and view.project == given["name"]]
    nodes = [{"id": each.id, "displayName": each.display_name, "spec": json.dumps(each.spec)} for each in found]
    return {"project": {"allViews": {"edges": [{"node": each} for each in nodes]}}}


OPERATIONS = {
    "UpsertSweep": _upsert,
    "GetSweep": _one,
    "GetSweepState": _one,
    "SweepConfig": _one,
    "GetSweeps": _all,
    "UpsertView2": _upsert_view,
    "View": _views,
}
