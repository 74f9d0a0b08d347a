"""Buckets on loopback: of servers that speak S3, as Google's storage does, and as Azure's does."""

from __future__ import annotations

import json
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
def google_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machine: Callable[[str], None]) -> Iterator[str]:
    """The same at a server of its own that speaks as Google's storage does, in a bucket of that name."""
    from tests import google_server

    server, address = google_server.create("bucket")
    key = tmp_path / "google.json"
    key.write_text(json.dumps(service_account()))
    monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", address)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    machine("here")
    yield "gs://bucket/runs"
    server.stop()


def service_account() -> dict[str, str]:
    """What Google's clients sign their requests with: a key of nobody's."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {"type": "service_account", "project_id": "tests", "private_key_id": "tests", "private_key": pem}
    return account | {"client_email": "tests@example.org", "token_uri": "http://127.0.0.1:9/"}


@pytest.fixture
def azure_runs(monkeypatch: pytest.MonkeyPatch, machine: Callable[[str], None]) -> Iterator[str]:
    """The same at a server that speaks as Azure's storage does, in a container of that name."""
    from tests import azure_server

    server = azure_server.Server("bucket")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    machine("here")
    there = f"blob_storage_authority=127.0.0.1:{server.server_port}/lab&enable_tls=false"
    yield f"abfs://bucket@lab.dfs.core.windows.net/runs?{there}"
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["s3", "gs", "abfs"])
def any_runs(request: pytest.FixtureRequest) -> str:
    """A folder for results in a bucket of each kind."""
    runs: str = request.getfixturevalue({"s3": "runs", "gs": "google_runs", "abfs": "azure_runs"}[request.param])
    return runs


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """machine(name): from now on this process is on that one, as far as working copies tell."""
    return lambda name: monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "machines" / name))
