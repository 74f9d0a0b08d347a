"""Real Ray clusters of several nodes on this machine, each node a process that the test ends by its own id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.orchestrator.processes import PATIENCE_S, below, orchestrator

RAY = str(Path(sys.executable).with_name("ray"))
STORE_BYTES = 100 * 2**20  # of each node, for objects


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """A head, and the nodes that are added to it. Nobody else's Ray is touched."""

    def __init__(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="heads-")  # short: sockets lie below it
        self.ip, self.port = "127.0.0.1", free_port()
        self.nodes: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        return f"{self.ip}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What every node and every driver of this cluster must agree on."""
        ours = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_health_check_period_ms": "1000"}
        return {**os.environ, "OMP_NUM_THREADS": "1", **ours}

    def head(self, *words: str, cpus: int = 1, **more: str) -> None:
        """Starts the head, and waits until it answers."""
        own = ("--head", f"--port={self.port}", f"--node-ip-address={self.ip}", f"--temp-dir={self.folder}")
        self._start(cpus, *own, *(words or ("--include-dashboard=false",)), **more)

    def head_with_jobs(self, cpus: int = 1) -> str:
        """Starts the head with its job server; returns the address of that."""
        port, agent = free_port(), free_port()
        words = "--include-dashboard=true", f"--dashboard-port={port}", f"--dashboard-agent-listen-port={agent}"
        slow = {"RAY_DASHBOARD_STARTUP_TIMEOUT_S": "200", "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "200"}
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # where a job finds its python
        self.head(*words, "--dashboard-host=127.0.0.1", cpus=cpus, PATH=path, **slow)
        return f"http://127.0.0.1:{port}"

    def join(self, cpus: int = 1) -> subprocess.Popen[bytes]:
        """Adds a node with so many cores, and waits until it has joined."""
        return self._start(cpus, f"--address={self.address}")

    def id_of(self, node: subprocess.Popen[bytes]) -> str:
        """What Ray calls a node: its raylet is told so."""
        (raylet,) = below(node.pid, "raylet_socket_name")
        words = Path(f"/proc/{raylet}/cmdline").read_text().split("\0")
        return next(word.partition("=")[2] for word in words if word.startswith("--node_id="))

    def kill(self, node: subprocess.Popen[bytes]) -> None:
        """Ends a node at once, as if its machine were taken away: its raylet and all that the raylet started."""
        started = below(node.pid)
        for pid in (node.pid, *started):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        node.wait()

    def close(self) -> None:
        for node in reversed(self.nodes):
            self.kill(node)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, cpus: int, *words: str, **more: str) -> subprocess.Popen[bytes]:
        command = [RAY, "start", "--block", f"--num-cpus={cpus}", f"--object-store-memory={STORE_BYTES}", *words]
        said = Path(self.folder, f"node-{len(self.nodes)}.log")
        with open(said, "wb") as out:
            streams: Any = {"stdout": out, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
            node = subprocess.Popen(command, env=self.environment | more, **streams)
        self.nodes.append(node)
        end = time.monotonic() + PATIENCE_S
        while b"Ray runtime started" not in said.read_bytes():
            assert node.poll() is None, said.read_text()
            assert time.monotonic() < end, said.read_text()
            time.sleep(0.1)
        return node


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster without any node yet."""
    started = Cluster()
    try:
        yield started
    finally:
        started.close()


@pytest.fixture
def launch(cluster: Cluster) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """launch(*words): the program as a driver of the cluster, without what follows a search."""
    begun: list[subprocess.Popen[str]] = []

    def start(*words: object) -> subprocess.Popen[str]:
        begun.append(orchestrator(*words, environment=cluster.environment))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()
