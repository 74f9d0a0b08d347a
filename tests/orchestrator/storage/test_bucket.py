"""Addresses of buckets, and objects in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.errors import CannotRun
from orchestrator.storage import bucket
from orchestrator.storage.bucket import Bucket, below, uri_of


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
    study = Bucket(f"{any_runs}/study")
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
    with pytest.raises(CannotRun, match="Could not connect to server"):
        Bucket(google_runs).objects()


def test_a_patient_write_tries_again(any_runs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "PAUSES_S", (0.0, 0.0))
    study = Bucket(f"{any_runs}/study")
    put, failures = study._system.open_output_stream, iter([OSError("busy"), OSError("busy")])

    class Flaky:
        def open_output_stream(self, *given: object, **more: object) -> object:
            for error in failures:
                raise error
            return put(*given, **more)

    real, study._system = study._system, Flaky()
    study.write("a.txt", b"at last", patient=True)
    study._system = real
    assert study.read("a.txt") == b"at last"
