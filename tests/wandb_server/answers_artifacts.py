"""GraphQL about artifacts: a version comes to be in four steps, and the same content is the same version."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.wandb_server.answers_runs import page, project_of
from tests.wandb_server.state import ENTITY, Artifact, State, relay_id

Given = dict[str, Any]


def _create(state: State, url: str, given: Given) -> dict[str, Any]:
    given = given["input"]
    name = given.get("artifactCollectionName") or given["artifactCollectionNames"][0]
    entity, project = given.get("entityName") or ENTITY, given["projectName"]
    versions = [each for each in _in(state, entity, project) if each.name == name]
    known = next((each for each in versions if each.digest == given["digest"]), None)
    if known is None:
        id, run = relay_id("Artifact", f"{entity}/{project}/{name}:v{len(versions)}"), given.get("runName") or ""
        known = Artifact(id, entity, project, given["artifactTypeName"], name, given["digest"], len(versions), run)
        known.description, known.metadata = given.get("description") or "", json.loads(given.get("metadata") or "{}")
        state.artifacts = [*state.artifacts, known]
    for alias in dict.fromkeys(each["alias"] for each in given.get("aliases") or []):
        for other in versions:  # a name belongs to one version
            other.aliases = [each for each in other.aliases if each != alias]
        known.aliases = [*(each for each in known.aliases if each != alias), alias]
    committed = [each for each in versions if each.state == "COMMITTED"]
    latest = {"id": committed[-1].id, "versionIndex": committed[-1].version} if committed else None
    sequence = {"id": relay_id("ArtifactSequence", name), "name": name, "latestArtifact": latest}
    return {"createArtifact": {"artifact": {"id": known.id, "state": known.state, "artifactSequence": sequence}}}


def _create_manifest(state: State, url: str, given: Given) -> dict[str, Any]:
    given = given.get("input") or given
    return {"createArtifactManifest": {"artifactManifest": _manifest(state.artifact(given["artifactID"]), url)}}


def _manifest(artifact: Artifact, url: str) -> dict[str, Any]:
    where = f"{_place(artifact, url)}/manifest"
    file = {"id": relay_id("File", artifact.id), "name": "wandb_manifest.json", "displayName": "wandb_manifest.json"}
    file |= {"uploadUrl": where, "uploadHeaders": [], "directUrl": where}
    return {"id": relay_id("ArtifactManifest", artifact.id), "file": file}


def _create_files(state: State, url: str, given: Given) -> dict[str, Any]:
    edges = []
    for spec in given["input"]["artifactFiles"]:
        artifact = state.artifact(spec["artifactID"])
        node = _file(artifact, spec["name"], url) | {"uploadHeaders": [], "uploadMultipartUrls": None}
        edges.append({"node": node | {"uploadUrl": node["directUrl"], "artifact": {"id": artifact.id}}})
    return {"createArtifactFiles": {"files": {"edges": edges}}}


def _commit(state: State, url: str, given: Given) -> dict[str, Any]:
    known = state.artifact(given["artifactID"])
    missing = json.loads(known.manifest)["contents"].keys() - known.files.keys()
    if missing:
        raise ValueError(f"{known.name} is committed without {sorted(missing)}")
    known.state = "COMMITTED"
    return {"commitArtifact": {"artifact": {"id": known.id, "digest": known.digest}}}


def _update(state: State, url: str, given: Given) -> dict[str, Any]:
    known = state.artifact(given["artifactID"])
    known.metadata = json.loads(given.get("metadata") or "{}")
    return {"updateArtifact": {"artifact": {"id": known.id}}}


def _type(state: State, url: str, given: Given) -> dict[str, Any]:
    known = _named(state, given)
    return {"project": {"artifact": {"artifactType": {"name": known.type}} if known else None}}


def _logged(state: State, url: str, given: Given) -> dict[str, Any]:
    found = [each for each in _in(state, given["entity"], given["project"]) if each.run == given["run"]]
    return {"project": {"run": {"artifacts": page([_node(each) for each in found], given)}}}


def _membership(state: State, url: str, given: Given) -> dict[str, Any]:
    known = _named(state, given)
    if known is None:
        return {"project": {"artifactCollectionMembership": None}}
    about = {"__typename": "ArtifactCollectionMembership", "id": relay_id("Membership", known.id)}
    about |= {"versionIndex": known.version, "createdAt": known.created, "aliases": _aliases(known)}
    about |= {"artifactCollection": _collection(known), "artifact": _node(known)}
    return {"project": {"artifactCollectionMembership": about}}


def _urls(state: State, url: str, given: Given) -> dict[str, Any]:
    """Where the files of a version are to be had, asked for by the version's id."""
    known = state.artifact(given["id"])
    wanted = [entry["name"] for entry in given.get("entries") or []] or list(known.files)
    nodes = [_file(known, name, url) for name in wanted]
    return {
        "artifact": {
            "filesByManifestEntries": page(nodes, {"perPage": len(nodes)}),
            "currentManifest": _manifest(known, url),
        }
    }


def _member_urls(state: State, url: str, given: Given) -> dict[str, Any]:
    """The same, asked for by the version's name."""
    known = _named(state, given | {"name": f"{given['collection']}:{given['alias']}"})
    nodes = [{"__typename": "File"} | _file(known, name, url) for name in known.files] if known else []
    membership = {"files": page(nodes, given)} if known else None
    return {"project": {"artifactCollection": {"__typename": "ArtifactSequence", "artifactMembership": membership}}}


def _node(artifact: Artifact) -> dict[str, Any]:
    return {
        "__typename": "Artifact",
        "id": artifact.id,
        "artifactSequence": _collection(artifact),
        "versionIndex": artifact.version,
        "artifactType": {"name": artifact.type},
        "description": artifact.description,
        "metadata": json.dumps(artifact.metadata),
        "ttlDurationSeconds": -1,
        "ttlIsInherited": False,
        "tags": [],
        "historyStep": None,
        "state": artifact.state,
        "size": sum(map(len, artifact.files.values())),
        "digest": artifact.digest,
        "digestAlgorithm": "MANIFEST_MD5",
        "commitHash": "",
        "fileCount": len(artifact.files),
        "createdAt": artifact.created,
        "updatedAt": artifact.created,
        "aliases": _aliases(artifact),
    }


def _aliases(artifact: Artifact) -> list[dict[str, Any]]:
    about = {"__typename": "ArtifactAlias", "artifactCollection": _collection(artifact)}
    names = [*artifact.aliases, f"v{artifact.version}"]
    return [about | {"id": relay_id("ArtifactAlias", name), "alias": name} for name in names]


def _collection(artifact: Artifact) -> dict[str, Any]:
    about = {"__typename": "ArtifactSequence", "name": artifact.name}
    return about | {"project": project_of(artifact.project, artifact.entity)}


def _file(artifact: Artifact, name: str, url: str) -> dict[str, Any]:
    where = f"{_place(artifact, url)}/file/{quote(name)}"
    about = {"id": relay_id("File", name), "name": name, "displayName": name, "directUrl": where}
    return about | {"storagePath": f"wandb_artifacts/{name}"}


def _place(artifact: Artifact, url: str) -> str:
    return f"{url}/storage/artifact/{quote(artifact.name)}/{quote(artifact.id, safe='')}"


def _in(state: State, entity: str | None, project: str | None) -> list[Artifact]:
    return [each for each in state.artifacts if (each.entity, each.project) == (entity or ENTITY, project)]


def _named(state: State, given: Given) -> Artifact | None:
    """The version that a name like model:best means; without an alias, the latest."""
    name, _, alias = given["name"].partition(":")
    for each in _in(state, given["entity"], given["project"]):
        if each.name == name and (alias or "latest") in (*each.aliases, f"v{each.version}"):
            return each
    return None


OPERATIONS = {
    "CreateArtifact": _create,
    "CreateArtifactManifest": _create_manifest,
    "CreateArtifactFiles": _create_files,
    "CommitArtifact": _commit,
    "UpdateArtifact": _update,
    "ArtifactType": _type,
    "RunOutputArtifacts": _logged,
    "ArtifactMembershipByName": _membership,
    "ArtifactFileURLsByManifestEntries": _urls,
    "GetArtifactMembershipFileUrls": _member_urls,
    "FetchArtifactManifest": _urls,
    "ArtifactManifest": _urls,
}
