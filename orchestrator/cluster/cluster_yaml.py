"""A cluster's YAML: the node types in it, and what is wrong with it beyond what Ray's own validator sees."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from orchestrator.cluster import cluster_shape, kuberay
from orchestrator.cluster.resources import CHIPS, Node
from orchestrator.errors import CannotRun, Problem, did_you_mean
from orchestrator.files import plain_yaml
from orchestrator.files.paths import local
from orchestrator.files.yaml_values import NotPlain

RESOURCES = ("CPU", "GPU", "TPU", "memory", "object_store_memory")
TPU_POD = re.compile(r"TPU-.+-head")
OPEN = "0.0.0.0"
SECRET = re.compile(r"(?i)(api[_-]?key|secret|password|token)['\"]?\s*[=:]\s*['\"]?[A-Za-z0-9_\-/+]{16,}")


def read(path: Path) -> dict[str, Any]:
    """The content of a cluster's YAML. Raises CannotRun where it is none."""
    try:
        written = plain_yaml.parse(plain_yaml.read(local(path, "--cluster")))
    except NotPlain as error:
        rule = "a cluster is described in YAML"
        raise CannotRun(
            Problem(f"{path}:{each.line or 1}", f"{rule}: {each.rule}", each.value, each.fix) for each in error.problems
        ) from error
    content = written.content
    if not isinstance(content, dict):
        raise CannotRun([Problem(str(path), "a cluster is described by keys and values", type(content).__name__)])
    if found := cluster_shape.problems(written):
        raise CannotRun(found, str(path))
    return content


def node_types(content: Mapping[str, Any]) -> tuple[Node, ...]:
    """The kinds of nodes that a cluster may have, each with how many of it there may be."""
    if content.get("kind") == kuberay.KIND:
        return kuberay.node_types(content)
    kinds, head = content.get("available_node_types") or {}, content.get("head_node_type")
    most = int(content.get("max_workers", 2))
    return tuple(
        Node.of(kind.get("resources") or {}, name, 1 if name == head else min(most, int(kind.get("max_workers", most))))
        for name, kind in kinds.items()
    )


def problems(path: Path, content: dict[str, Any]) -> list[Problem]:
    """All that would keep this cluster from starting, or from being used as it is meant."""
    if content.get("kind") == kuberay.KIND:
        return [*kuberay.problems(content), *_secrets(path)]
    return [*_by_ray(path, content)] or [*_types(content), *_commands(content), *_secrets(path)]


def _by_ray(path: Path, content: dict[str, Any]) -> Iterable[Problem]:
    import copy
    import logging

    from ray.autoscaler._private.util import prepare_config, validate_config

    logging.getLogger("ray.autoscaler").setLevel(logging.ERROR)
    try:
        validate_config(prepare_config(copy.deepcopy(content)))
    except Exception as error:  # jsonschema's, and whatever a wrong type makes of its code
        first = str(error).strip().splitlines() or [""]
        yield Problem(str(path), "Ray must take it", f"{type(error).__name__}: {first[0]}", "see Ray's cluster YAML")


def _types(content: dict[str, Any]) -> Iterable[Problem]:
    """What Ray's validator accepts and its autoscaler cannot do."""
    for name, kind in (content.get("available_node_types") or {}).items():
        place = f"available_node_types.{name}"
        least, most = kind.get("min_workers", 0), kind.get("max_workers", content.get("max_workers", 2))
        if least > most:
            fix = f"write max_workers: {least}, or min_workers: {most}"
            yield Problem(
                f"{place}.min_workers", "as many nodes at least as at most, or fewer", f"{least} > {most}", fix
            )
        for resource, amount in (kind.get("resources") or {}).items():
            if resource not in RESOURCES and not TPU_POD.fullmatch(resource):
                rule, fix = "no trial asks for such a resource", did_you_mean(resource, RESOURCES)
                yield Problem(f"{place}.resources.{resource}", rule, resource, fix)
            if resource == "TPU" and amount not in CHIPS:
                rule, fix = "a host has 1, 2, 4 or 8 TPU chips", "write the number of one host"
                yield Problem(f"{place}.resources.TPU", rule, str(amount), fix)


def _commands(content: dict[str, Any]) -> Iterable[Problem]:
    """Commands that start Ray: with a token, behind the firewall, without ending other people's Rays."""
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        commands = content.get(key)
        if not commands:
            rule, fix = "Ray's own commands begin with ray stop, which ends every Ray on a machine", f"write {key}"
            yield Problem(key, rule, "not given", fix)
            continue
        whole = " ".join(commands)
        if "ray stop" in whole:
            yield Problem(key, "ray stop ends every Ray on a machine", "ray stop", "remove it: a new node has none")
        if "RAY_AUTH_MODE=token" not in whole:
            rule = "whoever reaches a Ray without a token can run anything on it"
            yield Problem(
                key, rule, "no RAY_AUTH_MODE=token", "write RAY_AUTH_MODE=token before ray start, on all nodes"
            )
        if OPEN in whole:
            rule, fix = "the dashboard is not for the world", "write --dashboard-host=127.0.0.1, and use ray dashboard"
            yield Problem(key, rule, OPEN, fix)


def _secrets(path: Path) -> Iterable[Problem]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.lstrip().startswith("#") and SECRET.search(line):
            rule, fix = "a file that is committed holds no secret", "copy it with file_mounts, or set it on the head"
            yield Problem(f"{path}:{number}", rule, "what looks like one", fix)
