"""GraphQL about runs, their history and their files."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.wandb_server.filters import ordered, passes
from tests.wandb_server.state import ENTITY, EVENTS, HISTORY, OUTPUT, Run, State, relay_id

Given = dict[str, Any]


def project_of(project: str, entity: str) -> dict[str, Any]:
    about = {"id": relay_id("Entity", entity), "name": entity}
    return {"id": relay_id("Project", project), "internalId": "1", "name": project, "entity": about}


def node(run: Run) -> dict[str, Any]:
    """All that anything asks about a run."""
    keys = sorted({key for row in run.rows for key in row})
    counts = {key: {"typeCounts": [{"type": "number", "count": 1}], "monotonic": False} for key in keys}
    last = run.streamed(HISTORY)[-1:]
    return {
        "__typename": "Run",
        "id": relay_id("Run", run.path),
        "name": run.id,
        "displayName": run.name,
        "description": "",
        "notes": run.notes,
        "tags": run.tags,
        "config": json.dumps(run.wrapped),
        "wandbConfig": json.dumps({"t": run.wrapped.get("_wandb", {}).get("value", {}).get("t", {})}),
        "summaryMetrics": json.dumps(run.summary),
        "systemMetrics": "{}",
        "sweepName": run.sweep,
        "group": run.group,
        "jobType": run.job_type,
        "state": run.state,
        "exitcode": run.exit_code,
        "commit": None,
        "readOnly": False,
        "createdAt": run.created,
        "heartbeatAt": run.heartbeat,
        "user": {"name": ENTITY, "username": ENTITY},
        "project": project_of(run.project, run.entity),
        "projectId": "1",
        "historyKeys": {"lastStep": run.last_step, "sets": [], "keys": counts} if keys else None,
        "historyLineCount": len(run.streamed(HISTORY)),
        "eventsLineCount": len(run.streamed(EVENTS)),
        "logLineCount": len(run.streamed(OUTPUT)),
        "historyTail": json.dumps(last),
        "eventsTail": json.dumps(run.streamed(EVENTS)[-1:]),
    }


def page(nodes: list[dict[str, Any]], given: Given) -> dict[str, Any]:
    """The part of a list that was asked for. Cursors are numbers here, and opaque to the client."""
    start = int(given.get("cursor") or 0)
    end = start + int(given.get("perPage") or 50)
    edges = [{"node": each, "cursor": str(start + number)} for number, each in enumerate(nodes[start:end], start=1)]
    info = {"__typename": "PageInfo", "endCursor": str(end), "hasNextPage": end < len(nodes)}
    return {"totalCount": len(nodes), "edges": edges, "pageInfo": info}


def _resume_status(state: State, url: str, given: Given) -> dict[str, Any]:
    run = state.known(given["entity"], given["project"], given["name"])
    model = project_of(given["project"], given["entity"] or ENTITY)
    return {"model": model | {"bucket": node(run) if run else None}}


def _upsert(state: State, url: str, given: Given) -> dict[str, Any]:
    """A client opens a run by its name, and opens it again by the same; the public API changes one by its id."""
    run = next((each for each in state.runs.values() if relay_id("Run", each.path) == given.get("id")), None)
    inserted = run is None and not state.known(given.get("entity"), given.get("project"), given["name"])
    if run is None:
        run = state.run(given.get("entity"), given.get("project"), given["name"])
        run.state, run.exit_code = given.get("state") or "running", None
    run.name = given.get("displayName") or given.get("display_name") or run.name or run.id
    run.group = given.get("groupName") or run.group
    run.job_type = given.get("jobType") or run.job_type
    run.notes = given.get("notes") or run.notes
    run.sweep = given.get("sweep") or run.sweep
    run.tags = given["tags"] if given.get("tags") is not None else run.tags
    run.wrapped = json.loads(given["config"]) if given.get("config") else run.wrapped
    run.summary = json.loads(given["summaryMetrics"]) if given.get("summaryMetrics") else run.summary
    if run.sweep in state.sweeps and state.sweeps[run.sweep].state == "PENDING":
        state.sweeps[run.sweep].state = "RUNNING"
    return {"upsertBucket": {"bucket": node(run), "inserted": inserted}}


def _create_files(state: State, url: str, given: Given) -> dict[str, Any]:
    run = state.runs[f"{given['entity'] or ENTITY}/{given['project']}/{given['run']}"]
    base = f"{url}/storage/run/{quote(run.path)}"
    files = [{"name": name, "uploadUrl": f"{base}/{quote(name)}"} for name in given["files"]]
    return {"createRunFiles": {"runID": relay_id("Run", run.path), "uploadHeaders": [], "files": files}}


def _runs(state: State, url: str, given: Given) -> dict[str, Any]:
    if not state.has_project(given["entity"], given["project"]):
        return {"project": None}
    wanted = json.loads(given.get("filters") or "{}")
    found = ordered(
        (run for run in state.runs_in(given["entity"], given["project"]) if passes(run, wanted)), given["order"]
    )
    shown = page([node(run) for run in found], given)
    return {"project": {"internalId": "1", "runCount": len(found), "readOnly": False, "runs": shown}}


def _run(state: State, url: str, given: Given) -> dict[str, Any]:
    """One run: itself, or its history, sampled or from step to step."""
    run = state.known(given["entity"], given["project"], given.get("name") or given.get("runName") or given["run"])
    if run is None:
        return {
            "project": {"internalId": "1", "run": None}
            if state.has_project(given["entity"], given["project"])
            else None
        }
    low, high = given.get("minStep") or 0, given.get("maxStep")
    rows = [row for row in run.rows if low <= row["_step"] and (high is None or row["_step"] < high)]
    specs = [json.loads(spec) for spec in given.get("specs") or ([given["spec"]] if given.get("spec") else [])]
    some = [
        [{key: row[key] for key in spec["keys"]} for row in rows if set(spec["keys"]) <= row.keys()] for spec in specs
    ]
    history = {
        "history": [json.dumps(row) for row in rows],
        "events": run.streamed(EVENTS),
        "sampledHistory": some,
        "parquetHistory": {"parquetUrls": [], "liveData": rows},
    }
    return {"project": {"internalId": "1", "run": node(run) | history}}


def _files(state: State, url: str, given: Given) -> dict[str, Any]:
    run = state.runs[f"{given['entity'] or ENTITY}/{given['project']}/{given['name']}"]
    names = [name for name in sorted(run.files) if not given.get("fileNames") or name in given["fileNames"]]
    nodes = [_file(run, name, url) for name in names]
    return {"project": {"internalId": "1", "run": {"fileCount": len(nodes), "files": page(nodes, given)}}}


def _file(run: Run, name: str, url: str) -> dict[str, Any]:
    where = f"{url}/storage/run/{quote(run.path)}/{quote(name)}"
    about = {"id": relay_id("File", name), "name": name, "url": where, "directUrl": where}
    size = {"sizeBytes": len(run.files[name]), "mimetype": "", "md5": None, "digest": None, "storagePath": name}
    return about | size | {"updatedAt": run.heartbeat}


OPERATIONS = {
    "RunResumeStatus": _resume_status,
    "UpsertBucket": _upsert,
    "CreateRunFiles": _create_files,
    "Runs": _runs,
    "Run": _run,
    "RunState": _run,
    "RunHistoryKeys": _run,
    "RunFullHistory": _run,
    "RunSampledHistory": _run,
    "SampledHistoryPage": _run,
    "HistoryPage": _run,
    "RunParquetHistory": _run,
    "RunFiles": _files,
}
