"""Ray's autoscaler, with nodes that are processes: it starts the kinds of nodes that a study's trials ask for."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray
from ruamel.yaml import YAML

from orchestrator.storage.study_folder import StudyFolder
from tests.cluster.conftest import Cluster
from tests.orchestrator.processes import PATIENCE_S

FAKE_PORT = 6379
HEAD_ID = "f" * 51 + "00000"
KINDS = {
    "ray.head.default": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0},
    "gpu_worker": {"resources": {"CPU": 1, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 1},
    "tpu_worker": {"resources": {"CPU": 1, "TPU": 4}, "node_config": {}, "min_workers": 0, "max_workers": 1},
}
LISTS = ("initialization_commands", "setup_commands", "head_setup_commands", "worker_setup_commands")
FAKE: dict[str, Any] = {  # whole, for a head that is started by hand fills nothing in
    "cluster_name": "fake",
    "max_workers": 2,
    "upscaling_speed": 10.0,
    "idle_timeout_minutes": 5,
    "provider": {"type": "fake_multinode", "disable_node_updaters": True},
    "auth": {"ssh_user": "nobody"},
    "docker": {},
    "head_node_type": "ray.head.default",
    "available_node_types": KINDS,
    "file_mounts": {},
    "cluster_synced_files": [],
    "file_mounts_sync_continuously": False,
    **{
        name: []
        for name in (*LISTS, "head_start_ray_commands", "worker_start_ray_commands", "rsync_exclude", "rsync_filter")
    },
}
STUDY = {
    "heads": "{softmax: , arcface: , cosface: }",
    "training": "{epochs: 1, batch_size: 64}",
    "search": "{trials_per_head: 1, scheduler: none, concurrent_trials: 3, process_failures: 0}",
    "confirmation": "{top: 0}",
    "resources": "{heads: {arcface: {gpu: 1}, cosface: {tpu: 4}}}",
}


def taken(ip: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((ip, port)) == 0


def test_it_starts_the_nodes_that_trials_need_and_each_sees_its_own_devices(
    cluster: Cluster, launch: Callable[..., object], small_study: Callable[..., Path], tmp_path: Path
) -> None:
    """What a trial asks for starts a node that has it, and no trial sees devices of another."""
    file = tmp_path / "fake.yaml"
    with open(file, "w") as out:
        YAML(typ="safe", pure=True).dump(FAKE, out)
    cluster.ip, cluster.port = ray.util.get_node_ip_address(), FAKE_PORT
    if taken(cluster.ip, cluster.port):
        pytest.skip(f"Ray's fake nodes look for their head at port {FAKE_PORT}, which another program has")
    cluster.head(
        f"--autoscaling-config={file}",
        RAY_FAKE_CLUSTER="1",
        AUTOSCALER_UPDATE_INTERVAL_S="1",
        RAY_OVERRIDE_NODE_ID_FOR_TESTING=HEAD_ID,
    )
    folder = StudyFolder(tmp_path / "small")
    words = ("launch", small_study(**STUDY), "--results", tmp_path, "--address", cluster.address, "--cluster", file)
    driver = launch(*words)
    _, said = driver.communicate(timeout=PATIENCE_S)  # type: ignore[attr-defined]
    placed = {event["trial"]: event for event in folder.events() if event["event"] == "placed"}
    assert set(placed) == {"softmax-000", "arcface-000", "cosface-000"}, said
    assert placed["arcface-000"]["CUDA_VISIBLE_DEVICES"] == "0"
    assert placed["cosface-000"]["TPU_VISIBLE_CHIPS"] == "0,1,2,3"
    assert not placed["softmax-000"].get("CUDA_VISIBLE_DEVICES")
    assert len({event["node_id"] for event in placed.values()}) == 3
    trials = folder.trials()
    assert trials["softmax-000"].status == "completed"
    for head in ("arcface", "cosface"):  # there is no such device behind these nodes
        assert trials[f"{head}-000"].status == "failed"
    assert "accelerator" in trials["arcface-000"].reason.lower()
