"""The shape of a cluster's YAML: of what is read in it, which parts there are and of what type. All else is Ray's.

Pure: what a file says in, problems out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from orchestrator.cluster.kuberay import KIND
from orchestrator.errors import MOST_PROBLEMS, Problem
from orchestrator.files.plain_yaml import Written
from orchestrator.study.messages import translated

Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
Number = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]  # Ray says what is wrong with a negative one
Thousandths = Annotated[str, Field(pattern=r"^\d{1,12}m$")]


class _NodeType(BaseModel):
    resources: dict[str, Amount] | None = None
    min_workers: Number = 0
    max_workers: Number = 2


class _RayCluster(BaseModel):
    available_node_types: dict[str, _NodeType] | None = None
    max_workers: Number = 2
    head_start_ray_commands: list[str] | None = None
    worker_start_ray_commands: list[str] | None = None


class _Limits(BaseModel):
    cpu: Amount | Thousandths = 0
    gpu: Amount = Field(default=0, alias="nvidia.com/gpu")
    tpu: Amount = Field(default=0, alias="google.com/tpu")


class _Resources(BaseModel):
    limits: _Limits = _Limits()


class _Container(BaseModel):
    resources: _Resources = _Resources()


class _Pod(BaseModel):
    containers: Annotated[list[_Container], Field(min_length=1)]


class _Template(BaseModel):
    spec: _Pod


class _StartParams(BaseModel):
    cpus: Amount | None = Field(default=None, alias="num-cpus")


class _Head(BaseModel):
    template: _Template
    params: _StartParams | None = Field(default=None, alias="rayStartParams")


class _Workers(BaseModel):
    template: _Template
    name: str = Field(alias="groupName")
    hosts: Number = Field(default=1, alias="numOfHosts")
    least: Number = Field(default=0, alias="minReplicas")
    most: Number = Field(default=0, alias="maxReplicas")


class _Options(BaseModel):
    mode: Any = None


class _Spec(BaseModel):
    head: _Head = Field(alias="headGroupSpec")
    workers: list[_Workers] | None = Field(default=None, alias="workerGroupSpecs")
    options: _Options | None = Field(default=None, alias="authOptions")


class _KubeRay(BaseModel):
    kind: Literal["RayCluster"]
    spec: _Spec


def problems(written: Written) -> list[Problem]:
    """What in a cluster's YAML is not there or of another type, each with its line."""
    content: Mapping[str, Any] = written.content
    model = _KubeRay if content.get("kind") == KIND else _RayCluster
    try:
        model.model_validate(content)
    except ValidationError as error:
        found = (translated(details, model) for details in error.errors()[:MOST_PROBLEMS])
        return [replace(each, line=_line(written, each.place)) for each in found]
    return []


def _line(written: Written, place: str) -> int:
    """Of the place itself, or of the nearest above it that is there."""
    while place and place not in written.lines:
        place = place.rpartition(".")[0]
    return written.lines.get(place, 1)
