"""Addresses of buckets, and objects in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.exceptions import GenericError
from pyarrow.fs import FileSystem

from orchestrator.errors import CannotRun
from orchestrator.storage import bucket
from orchestrator.storage.bucket import Bucket, below, uri_of
from orchestrator.storage.object_stores import open_store


@pytest.mark.parametrize(
    ("place", "uri"),
    [
        ("results/quick", None),
        (Path("/abs/results"), None),
        ("s3://bucket/runs", "s3://bucket/runs"),
        ("gs://bucket/runs/", "gs://bucket/runs"),
        (Path("s3://bucket/runs"), "s3://bucket/runs"),
    ],
)
def test_a_place_is_a_folder_or_a_bucket(place: str | Path, uri: str | None) -> None:
    assert uri_of(place) == uri


def test_another_scheme_is_refused_with_what_there_is() -> None:
    with pytest.raises(CannotRun) as refused:
        uri_of("http://example.org/runs")
    (problem,) = refused.value.problems
    assert problem.value == "http://"
    assert "s3://BUCKET/PATH or gs://BUCKET/PATH" in problem.fix


def test_options_stay_behind_the_path() -> None:
    assert below("s3://b/runs", "quick") == "s3://b/runs/quick"
    assert below("s3://b/runs?region=eu-west-1", "quick") == "s3://b/runs/quick?region=eu-west-1"


def test_objects_are_written_read_listed_and_deleted(any_runs: str) -> None:
    study = Bucket(below(any_runs, "study"))
    assert study.read("a.txt") is study.written_ns("a.txt") is None
    assert study.objects() == {}
    study.write("a.txt", b"one")
    study.write("a.txt", b"two")
    study.write("deep/b.txt", b"three")
    assert study.read("a.txt") == b"two"
    assert {name: each.size for name, each in study.objects().items()} == {"a.txt": 3, "deep/b.txt": 5}
    assert set(study.objects("deep")) == {"deep/b.txt"}
    study.delete("a.txt")
    study.delete("a.txt")
    assert study.read("a.txt") is None
    assert Bucket(any_runs).read("study/deep/b.txt") == b"three"


def test_a_bucket_that_is_not_there_is_refused_by_name(any_runs: str) -> None:
    nowhere = any_runs.replace("://bucket", "://no-such-bucket")
    for act in (lambda it: it.objects(), lambda it: it.write("a", b"")):
        with pytest.raises(CannotRun) as refused:
            act(Bucket(nowhere))
        (problem,) = refused.value.problems
        assert problem.place == nowhere
        assert "bucket" in problem.value or "404" in problem.value
        assert "credentials" in problem.fix


def test_google_is_not_asked_for_minutes_where_nobody_answers(
    google_runs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an option its client tries for 15 minutes, longer than any test may take."""
    monkeypatch.setenv("CLOUD_STORAGE_EMULATOR_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CannotRun, match="error sending request"):
        Bucket(google_runs).objects()


def test_a_patient_write_tries_again(any_runs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "PAUSES_S", (0.0, 0.0))
    study = Bucket(below(any_runs, "study"))
    put, failures = obstore.put, iter([GenericError("busy"), OSError("busy")])

    def flaky(*given: Any, **more: Any) -> Any:
        for error in failures:
            raise error
        return put(*given, **more)

    monkeypatch.setattr(obstore, "put", flaky)
    study.write("a.txt", b"at last", patient=True)
    assert study.read("a.txt") == b"at last"


def test_an_object_is_written_only_over_the_version_that_was_read(any_runs: str) -> None:
    study = Bucket(below(any_runs, "study"))
    first = study.write_over("a.txt", b"one", None)
    assert first
    assert study.write_over("a.txt", b"two", None) is None
    second = study.write_over("a.txt", b"two", first)
    known = study.read_version("a.txt")
    assert known
    assert (known.content, known.version) == (b"two", second)
    assert study.write_over("a.txt", b"three", first) is None
    study.delete("a.txt")
    assert study.write_over("a.txt", b"three", second) is None
    assert study.read("a.txt") is None


def test_a_write_whose_answer_was_lost_is_known_again(any_runs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "PAUSES_S", (0.0,))
    study = Bucket(below(any_runs, "study"))
    first, put = study.write_over("a.txt", b"one", None), obstore.put
    lost = iter([True])

    def unheard(*given: Any, **more: Any) -> Any:
        answer = put(*given, **more)
        if next(lost, False):
            raise GenericError("connection reset")
        return answer

    monkeypatch.setattr(obstore, "put", unheard)
    second = study.write_over("a.txt", b"two", first, patient=True)
    assert second
    assert study.write_over("a.txt", b"three", second)


def test_folders_that_pyarrow_marks_are_no_objects(runs: str) -> None:
    """Ray's workers make them with every checkpoint."""
    system, path = FileSystem.from_uri(f"{runs}/study")
    system.create_dir(f"{path}/ray/deep")
    with system.open_output_stream(f"{path}/ray/deep/last.ckpt") as file:
        file.write(b"weights")
    assert set(Bucket(f"{runs}/study").objects()) == {"ray/deep/last.ckpt"}


def test_names_are_the_ones_that_pyarrow_writes(runs: str) -> None:
    system, path = FileSystem.from_uri(f"{runs}/a%20b+c/study")
    with system.open_output_stream(f"{path}/s=1,f=é.txt") as file:
        file.write(b"x")
    assert Bucket(f"{runs}/a%20b+c/study").read("s=1,f=é.txt") == b"x"
    assert set(Bucket(f"{runs}/a%20b+c/study").objects()) == {"s=1,f=é.txt"}


def test_keys_of_a_profile_are_found(runs: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    (tmp_path / "credentials").write_text("[lab]\naws_access_key_id = key\naws_secret_access_key = secret\n")
    (tmp_path / "config").write_text("[profile lab]\nregion = eu-west-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_PROFILE", "lab")
    store, _ = open_store(runs)
    assert store.config["region"] == "eu-west-1"
    assert store.credential_provider()["access_key_id"] == "key"
    Bucket(runs).write("a.txt", b"one")


def test_an_option_that_nobody_knows_is_refused(runs: str) -> None:
    with pytest.raises(CannotRun, match="the option regoin is unknown; there are region"):
        Bucket(f"{runs}?regoin=eu-west-1")


SERVER = "endpoint_override=127.0.0.1:9&scheme=http"


@pytest.mark.parametrize(
    "address",
    [
        f"s3://bucket/runs?{SERVER}&region=eu-west-1&tls_verify_certificates=false&smart_defaults=standard",
        f"s3://key:secret@bucket/runs?{SERVER}&allow_bucket_creation=true&allow_delayed_open=true",
        f"gs://anonymous@bucket/runs?{SERVER}&project_id=tests&location=US&retry_limit_seconds=5",
        "abfs://bucket@lab.dfs.core.windows.net/runs?client_id=me",
        "abfs://lab.blob.core.windows.net/bucket/runs?blob_storage_authority=127.0.0.1:9&enable_tls=false",
        "abfss://bucket@lab.dfs.core.windows.net/runs?credential_kind=cli&background_writes=true",
    ],
)
def test_an_address_is_read_as_rays_workers_read_it(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """They open it with pyarrow, which refuses an option that it does not know."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AZURE_CONFIG_DIR", str(tmp_path))
    _, theirs = FileSystem.from_uri(address)
    store, path = open_store(address)
    known: dict[str, Any] = {"bucket": "bucket"} | dict(store.config)
    assert f"{known.get('container_name', known['bucket'])}/{path}" == theirs == "bucket/runs"
    assert known.get("account_name", "lab") == "lab"
