"""Buckets of a server on loopback that speaks S3."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of a server on loopback that speaks S3."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def runs(s3: str, monkeypatch: pytest.MonkeyPatch, machine: Callable[[str], None]) -> str:
    """A folder in a new bucket, for results; what this process and its children need to reach it is set."""
    from pyarrow.fs import S3FileSystem

    for name, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "tests",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    bucket = f"bucket-{uuid4().hex[:8]}"
    S3FileSystem(endpoint_override=s3, allow_bucket_creation=True).create_dir(bucket)
    machine("here")
    return f"s3://{bucket}/runs"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """machine(name): from now on this process is on that one, as far as working copies tell."""
    return lambda name: monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machines" / name))
