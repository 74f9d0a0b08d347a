"""What a doctor says of this machine and of cluster files, the project's own first."""

from __future__ import annotations

import copy
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.cluster import cluster_yaml, doctor
from orchestrator.cluster.resources import Fleet, Node
from orchestrator.errors import CannotRun, Problem
from orchestrator.study.schema import Study
from orchestrator.system import cgroups, gpus

OURS = Path(__file__).parents[3] / "ray_cluster.yaml"
KUBERAY = OURS.with_name("ray_cluster.kuberay.yaml")


def run(*words: str | Path) -> Any:
    return CliRunner().invoke(app, ["doctor", *map(str, words)])


@pytest.fixture
def changed(tmp_path: Path) -> Callable[..., Path]:
    """changed(change): our cluster file after a change of its content."""

    def make(change: Callable[[dict[str, Any]], object]) -> Path:
        content = cluster_yaml.read(OURS)
        change(content)
        path = tmp_path / "cluster.yaml"
        with open(path, "w") as file:
            YAML(typ="safe", pure=True).dump(content, file)
        return path

    return make


def found(path: Path) -> list[tuple[str, str]]:
    return [(problem.place, problem.rule) for problem in cluster_yaml.problems(path, cluster_yaml.read(path))]


def test_our_own_cluster_is_sound_and_every_kind_of_trial_fits() -> None:
    done = run("--cluster", OURS, "--study", "quick", "--study", "mnist_3d", "--json")
    assert done.exit_code == 0, done.output
    told = {each["what"]: each["found"] for each in json.loads(done.stdout)}
    assert told["cpu_worker"] == "8 × 8 cores"
    assert told["gpu_worker"] == "2 × 8 cores and 1 GPU"
    assert told["tpu_worker"] == "2 × 8 cores and 4 TPU chips"
    (quick,) = (said for what, said in told.items() if what.startswith("quick: "))
    assert quick == "96 trials at a time, on cpu_worker, gpu_worker, tpu_worker"


def test_our_own_kubernetes_cluster_is_sound_and_every_kind_of_trial_fits() -> None:
    done = run("--cluster", KUBERAY, "--study", "quick", "--json")
    assert done.exit_code == 0, done.output
    told = {each["what"]: each["found"] for each in json.loads(done.stdout)}
    assert told["cpu-worker"] == "8 × 8 cores"
    assert told["gpu-worker"] == "2 × 8 cores and 1 GPU"
    assert told["tpu-worker"] == "2 × 8 cores and 4 TPU chips"
    assert "96 trials at a time, on cpu-worker, gpu-worker, tpu-worker" in told.values()


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda spec: spec.pop("headGroupSpec"), "spec.headGroupSpec"),
        (lambda spec: spec.pop("enableInTreeAutoscaling"), "spec.enableInTreeAutoscaling"),
        (lambda spec: spec["authOptions"].update(mode="disabled"), "spec.authOptions.mode"),
        (lambda spec: spec["workerGroupSpecs"][1].update(minReplicas=3), "spec.workerGroupSpecs[1].minReplicas"),
        (lambda spec: limits(spec, 2).update({"google.com/tpu": "3"}), "spec.workerGroupSpecs[2].template"),
        (lambda spec: limits(spec, 0).pop("cpu"), "spec.workerGroupSpecs[0].template"),
    ],
)
def test_what_is_wrong_with_a_kubernetes_cluster_is_found(
    tmp_path: Path, change: Callable[[dict[str, Any]], object], place: str
) -> None:
    content = copy.deepcopy(cluster_yaml.read(KUBERAY))
    change(content["spec"])
    path = tmp_path / "cluster.yaml"
    path.write_text("")
    assert [problem.place for problem in cluster_yaml.problems(path, content)] == [place]


def limits(spec: dict[str, Any], group: int) -> dict[str, str]:
    """What a pod of a group may use; of a copy, for anchors share theirs."""
    container = spec["workerGroupSpecs"][group]["template"]["spec"]["containers"][0]
    found: dict[str, str] = container["resources"]["limits"]
    return found


def test_half_a_core_is_written_in_thousandths() -> None:
    content = copy.deepcopy(cluster_yaml.read(KUBERAY))
    limits(content["spec"], 0)["cpu"] = "500m"
    assert cluster_yaml.node_types(content)[1].cpu == 0.5


def test_our_own_cluster_takes_tokens_and_holds_none() -> None:
    content = cluster_yaml.read(OURS)
    assert content["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert all(kind["min_workers"] == 0 for name, kind in content["available_node_types"].items() if name != "head")


@pytest.mark.parametrize(
    ("change", "place", "rule"),
    [
        (
            lambda c: c["available_node_types"]["gpu_worker"].update(min_workers=3),
            "available_node_types.gpu_worker.min_workers",
            "as many nodes at least as at most, or fewer",
        ),
        (
            lambda c: c["available_node_types"]["tpu_worker"]["resources"].update(TPU=3),
            "available_node_types.tpu_worker.resources.TPU",
            "a host has 1, 2, 4 or 8 TPU chips",
        ),
        (
            lambda c: c["available_node_types"]["gpu_worker"]["resources"].update(GPUS=1),
            "available_node_types.gpu_worker.resources.GPUS",
            "no trial asks for such a resource",
        ),
        (
            lambda c: c["head_start_ray_commands"].insert(0, "ray stop"),
            "head_start_ray_commands",
            "ray stop ends every Ray on a machine",
        ),
        (
            lambda c: c.pop("worker_start_ray_commands"),
            "worker_start_ray_commands",
            "Ray's own commands begin with ray stop, which ends every Ray on a machine",
        ),
        (
            lambda c: c.update(worker_start_ray_commands=["ray start --address=$RAY_HEAD_IP:6379"]),
            "worker_start_ray_commands",
            "whoever reaches a Ray without a token can run anything on it",
        ),
        (
            lambda c: c["head_start_ray_commands"].append("RAY_AUTH_MODE=token ray start --dashboard-host=0.0.0.0"),
            "head_start_ray_commands",
            "the dashboard is not for the world",
        ),
    ],
)
def test_what_rays_validator_accepts_and_should_not_be_is_found(
    changed: Callable[..., Path], change: Callable[[dict[str, Any]], object], place: str, rule: str
) -> None:
    assert found(changed(change)) == [(place, rule)]


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c.update(clutter=1),
        lambda c: c["available_node_types"]["cpu_worker"]["resources"].update(CPU=1.5),
        lambda c: c.update(head_node_type="nobody"),
        lambda c: c["provider"].update(type="mars"),
        lambda c: c.update(max_workers=-1),
    ],
)
def test_what_rays_validator_refuses_is_refused(
    changed: Callable[..., Path], change: Callable[[dict[str, Any]], object]
) -> None:
    path = changed(change)
    assert found(path) == [(str(path), "Ray must take it")]


def test_a_secret_in_the_file_is_found(changed: Callable[..., Path]) -> None:
    line = "export WANDB_API_KEY=0123456789abcdef0123456789abcdef"
    path = changed(lambda content: content["setup_commands"].append(line))
    ((place, rule),) = found(path)
    assert place.startswith(f"{path}:")
    assert rule == "a file that is committed holds no secret"


@pytest.mark.parametrize(
    "content", ["[1, 2", "- a list", None, "a: &a [*a]", "a: !!python/object:os.system ls", "{3: 4}"]
)
def test_what_is_no_cluster_file_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "cluster.yaml"
    if content:
        path.write_text(content)
    done = run("--cluster", path)
    assert (done.exit_code, done.stdout) == (4, "")
    assert re.match(rf"{path}(:1)?\n  rule   a cluster is described", done.stderr)


HEAD = "kind: RayCluster\nspec:\n  headGroupSpec: {template: {spec: {containers: [{}]}}}\n"


@pytest.mark.parametrize(
    ("content", "place", "rule"),
    [
        ("max_workers: many", "1: max_workers", "must be a valid integer"),
        ("available_node_types:\n  head: 3", "2: available_node_types.head", "must be a mapping of keys"),
        (
            "available_node_types: {head: {resources: {CPU: .inf}}}",
            "1: available_node_types.head.resources.CPU",
            "finite",
        ),
        ("available_node_types: {head: {max_workers: 1e300}}", "1: available_node_types.head.max_workers", "integer"),
        ("head_start_ray_commands: ray start", "1: head_start_ray_commands", "must be a valid list"),
        ("kind: RayCluster", "1: spec", "is required"),
        ("kind: RayCluster\nspec: {}", "2: spec.headGroupSpec", "is required"),
        (HEAD.replace("[{}]", "[]"), "3: spec.headGroupSpec.template.spec.containers", "must name at least one"),
        (HEAD + "  workerGroupSpecs: [3]", "4: spec.workerGroupSpecs.0", "must be a mapping of keys"),
        (HEAD + "  authOptions: token", "4: spec.authOptions", "must be a mapping of keys"),
    ],
)
def test_a_cluster_file_of_another_shape_is_refused_with_its_line(
    tmp_path: Path, content: str, place: str, rule: str
) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_text(content)
    with pytest.raises(CannotRun) as caught:
        cluster_yaml.read(path)
    said = str(caught.value).splitlines()
    assert said[0] == f"{path}:{place}"
    assert rule in said[1]


def test_a_study_whose_trials_fit_no_node_is_4(tiny_study: Callable[..., Study], tmp_path: Path) -> None:
    (tmp_path / "large.yaml").write_text(tiny_study(resources={"cpu": 16.0}).to_yaml())
    done = run("--cluster", OURS, "--study", tmp_path / "large.yaml")
    assert done.exit_code == 4
    assert "resources.cpu\n  rule   the largest node has 8 cores" in done.stdout


def test_this_machine_is_fit_where_it_is_and_says_what_is_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = Fleet((Node(4, memory_bytes=16e9),))
    monkeypatch.setattr(doctor.Fleet, "here", staticmethod(lambda: fleet))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**12))
    assert run("--results", tmp_path).exit_code == 0
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**8))
    monkeypatch.setattr(doctor.Fleet, "here", staticmethod(lambda: Fleet((Node(4, memory_bytes=2e9),))))
    done = run("--results", tmp_path, "--json")
    assert done.exit_code == 4
    assert [each["what"] for each in json.loads(done.stdout) if each["problem"]] == ["memory", "results", "temporary"]


def test_what_a_container_allows_and_gpus_that_do_not_answer_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = "nvidia-smi gave no answer within 2 s; the driver lists 1"
    monkeypatch.setattr(gpus, "look", lambda: gpus.Gpus(("0",), note, broken=True))
    monkeypatch.setattr(cgroups, "limits", lambda: cgroups.Limits(0.5, 1e9))
    told = {each.what: each for each in doctor.of_machine(tmp_path)}
    assert told["cores"].found.startswith("1 core (of ")
    assert "; a cgroup allows the time of 0.5) and 1 GPU: as many one-core trials at a time" in told["cores"].found
    assert told["memory"].found.startswith("1.0 GB (of ")
    assert (told["GPUs"].found, told["GPUs"].problem is None) == (note, False)


def test_a_study_without_a_cluster_is_wrong_usage() -> None:
    assert run("--study", "quick").exit_code == 2


def test_a_cluster_file_without_an_address_starts_nothing(tmp_path: Path) -> None:
    words = ["launch", "quick", "--cluster", str(OURS), "--results", str(tmp_path / "results")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 4
    assert "add --address auto" in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_refusal_names_every_problem_at_once(changed: Callable[..., Path]) -> None:
    path = changed(lambda content: content.update(head_start_ray_commands=["ray stop; ray start --head"]))
    with pytest.raises(CannotRun) as caught:
        list(doctor.of_cluster(path, []))
    assert all(isinstance(problem, Problem) for problem in caught.value.problems)
    assert len(caught.value.problems) == 2
