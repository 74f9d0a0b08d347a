"""A cluster on Kubernetes: the node types in a RayCluster manifest of KubeRay's, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.cluster.resources import CHIPS, Node
from orchestrator.errors import Problem

KIND = "RayCluster"
GPU, TPU = "nvidia.com/gpu", "google.com/tpu"


def node_types(content: Mapping[str, Any]) -> tuple[Node, ...]:
    """The kinds of pods that the cluster may have, each with how many of it there may be."""
    spec = content["spec"]
    head = spec["headGroupSpec"]
    own = (head.get("rayStartParams") or {}).get("num-cpus")
    first = _node(head, "head", 1)
    nodes = [first if own is None else Node(cpu=float(own), gpu=first.gpu, tpu=first.tpu, name="head")]
    for group in spec.get("workerGroupSpecs") or []:
        hosts = int(group.get("numOfHosts", 1))
        nodes.append(_node(group, str(group["groupName"]), int(group.get("maxReplicas", 0)) * hosts))
    return tuple(nodes)


def problems(content: Mapping[str, Any]) -> Iterable[Problem]:
    """All that would keep this cluster from growing, from being safe, or from taking a trial."""
    spec = content.get("spec") or {}
    if "headGroupSpec" not in spec:
        yield Problem("spec.headGroupSpec", "a cluster has a head", "not given", "see ray_cluster.kuberay.yaml")
        return
    if not spec.get("enableInTreeAutoscaling"):
        rule, fix = "workers come when a search needs them", "write enableInTreeAutoscaling: true"
        yield Problem("spec.enableInTreeAutoscaling", rule, "not true", fix)
    if (spec.get("authOptions") or {}).get("mode") != "token":
        rule, fix = "whoever reaches a Ray without a token can run anything on it", "write mode: token"
        yield Problem("spec.authOptions.mode", rule, str((spec.get("authOptions") or {}).get("mode")), fix)
    for number, group in enumerate(spec.get("workerGroupSpecs") or []):
        place = f"spec.workerGroupSpecs[{number}]"
        least, most = int(group.get("minReplicas", 0)), int(group.get("maxReplicas", 0))
        if least > most:
            fix = f"write maxReplicas: {least}, or minReplicas: {most}"
            yield Problem(
                f"{place}.minReplicas", "as many pods at least as at most, or fewer", f"{least} > {most}", fix
            )
        node = _node(group, "", 1)
        if node.tpu not in CHIPS:
            rule, fix = "a host has 1, 2, 4 or 8 TPU chips", "write the number of one host"
            yield Problem(f"{place}.template", rule, f"{node.tpu:g}", fix)
        if not node.cpu:
            rule, fix = "a trial takes at least a share of a core", "write resources.limits.cpu"
            yield Problem(f"{place}.template", rule, "no limit of cpu", fix)


def _node(group: Mapping[str, Any], name: str, number: int) -> Node:
    """One pod of a group, by the limits of its first container: Ray's own."""
    limits = group["template"]["spec"]["containers"][0].get("resources", {}).get("limits", {})
    cpu = str(limits.get("cpu", 0))
    cores = float(cpu[:-1]) / 1000 if cpu.endswith("m") else float(cpu)
    return Node(cores, float(limits.get(GPU, 0)), float(limits.get(TPU, 0)), name=name, number=number)
