"""Whether W&B can be used, how long anything waits for it, and that what is abandoned ends."""

from __future__ import annotations

import os
import signal
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from orchestrator.tracking import connection
from tests.orchestrator.tracking.conftest import wait_for
from tests.wandb_server import Fault, WandbServer

STUDY_ID = "0123456789ab"
SHORT_S = 0.2  # for an answer that never comes


@pytest.fixture
def talkative(server: WandbServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> WandbServer:
    """A server to whose client nobody has said that it is to be silent; there is no netrc and no file of settings."""
    monkeypatch.delenv("WANDB_SILENT")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return server


def is_silent(capfd: Any) -> bool:
    return tuple(capfd.readouterr()) == ("", "")


@pytest.fixture
def stranger() -> Iterator[str]:
    """Where something listens that speaks no HTTP."""

    class Greets(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1000)
            self.request.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Greets) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()


@pytest.mark.usefixtures("talkative")
def test_a_password_in_the_servers_address_is_told_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://me:secret@127.0.0.1:9")
    wandb.teardown()
    with pytest.raises(connection.Unavailable) as refused:
        connection.require()
    assert "http://127.0.0.1:9 does not answer" in str(refused.value)
    assert "secret" not in f"{refused.value} {connection.host()} {connection.app()}"


def test_without_a_key_it_is_said_how_to_get_one_and_no_server_is_asked(
    talkative: WandbServer, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.delenv("WANDB_API_KEY")
    with pytest.raises(connection.Unavailable, match="wandb login"):
        connection.require()
    assert talkative.requests == []
    assert is_silent(capfd)


def test_a_key_that_a_login_has_stored_is_enough(
    talkative: WandbServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: Any
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {talkative.url.removeprefix('http://')} login user password {'s' * 40}\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("WANDB_API_KEY")
    connection.require()
    assert is_silent(capfd)


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("short", "wrong form .*40"),
        ("words, " * 8 + "and a dot.", "wrong form .*may only contain"),
        ("k" * 40 + "\n", "settings are wrong .*API key cannot start or end with whitespace"),
    ],
)
def test_a_key_of_the_wrong_form_is_named_as_one_and_not_repeated(
    key: str, why: str, talkative: WandbServer, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    with pytest.raises(connection.Unavailable, match=why) as raised:
        connection.require()
    assert key.strip() not in str(raised.value)
    assert talkative.requests == []
    assert is_silent(capfd)


@pytest.mark.parametrize("address", ["nonsense", "ftp://127.0.0.1", "http://127.0.0.1:port"])
def test_an_address_that_is_none_is_named_as_one(
    address: str, talkative: WandbServer, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", address)
    with pytest.raises(connection.Unavailable, match=f"(?s)settings are wrong .*base_url.*{address}"):
        connection.require()
    assert is_silent(capfd)


@pytest.mark.parametrize("how", [None, "refuse", "too_many", "broken"])
def test_any_answer_will_do(how: Any, talkative: WandbServer, capfd: Any) -> None:
    talkative.fault = how and Fault(how)
    connection.require()
    assert talkative.requests
    assert is_silent(capfd)


def test_a_server_where_nobody_listens_is_named(talkative: WandbServer, capfd: Any) -> None:
    talkative.disappear()
    with pytest.raises(connection.Unavailable, match=f"{talkative.url} does not answer .*refused"):
        connection.require()
    assert is_silent(capfd)


@pytest.mark.parametrize("how", ["hang", "drop"])
def test_a_server_that_never_answers_is_named(
    how: Any, talkative: WandbServer, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(connection, "REACH_S", SHORT_S if how == "hang" else connection.ANSWER_S)
    talkative.fault = Fault(how)
    with pytest.raises(connection.Unavailable, match=f"{talkative.url} does not answer"):
        connection.require()
    assert is_silent(capfd)


def test_what_answers_in_another_language_is_no_server(
    talkative: WandbServer, stranger: str, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", stranger)
    with pytest.raises(connection.Unavailable, match=f"{stranger} does not answer .*SSH"):
        connection.require()
    assert is_silent(capfd)


def test_asking_for_a_key_does_not_silence_the_client_for_good(talkative: WandbServer, capfd: Any) -> None:
    connection.require()
    wandb.termlog("what its user wants to know")
    assert "what its user wants to know" in capfd.readouterr().err


@pytest.mark.parametrize("answer", ["an answer", 0, None])
def test_a_question_that_is_answered_in_time(answer: Any) -> None:
    assert connection.within(connection.ANSWER_S, lambda: answer, "it was asked") is answer


@pytest.mark.parametrize("error", [ValueError("of its own"), connection.Unavailable("not now"), SystemExit(3)])
def test_a_question_that_fails_raises_the_error_itself(error: BaseException) -> None:
    def ask() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        connection.within(connection.ANSWER_S, ask, "it was asked")
    assert raised.value is error


def test_a_question_that_takes_too_long_is_named() -> None:
    answered = threading.Event()
    try:
        with pytest.raises(connection.Unavailable, match=r"^it was asked for a sweep: no answer in 0\.2 s$"):
            connection.within(SHORT_S, answered.wait, "it was asked for a sweep")
    finally:
        answered.set()


def open_run(name: str, folder: Path) -> Any:
    settings = wandb.Settings(**connection.LEAN, **connection.PATIENCE)
    return wandb.init(project="heads", id=name, dir=folder, resume="allow", reinit="create_new", settings=settings)


def service() -> Any:
    """wandb's own process, a child of this one."""
    service = wandb.setup()._connection
    assert service
    return service._proc._process


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_is_abandoned_ends_with_all_that_it_still_wants_to_send(
    talkative: WandbServer, tmp_path: Path, capfd: Any
) -> None:
    connection.require()
    run, process = open_run(f"{STUDY_ID}-arcface-000", tmp_path), service()
    talkative.fault = Fault("hang")
    run.log({"objective": 0.5}, step=1, commit=True)
    wait_for(lambda: talkative.asked("file_stream"), lambda: "a row is sent")
    assert is_there(process.pid)
    connection.abandon(STUDY_ID)
    assert process.returncode == -signal.SIGKILL
    assert not is_there(process.pid)
    assert "WANDB_SERVICE" not in os.environ
    assert is_silent(capfd)
    talkative.fault = None
    again = open_run(f"{STUDY_ID}-arcface-000", tmp_path)
    again.log({"objective": 0.5}, step=1, commit=True)
    again.finish()
    assert talkative.runs[again.id].state == "finished"
    assert len(talkative.runs[again.id].rows) == 1


def test_a_service_that_has_runs_of_others_open_is_left_to_them(
    talkative: WandbServer, tmp_path: Path, capfd: Any
) -> None:
    connection.require()
    of_the_study = open_run(f"{STUDY_ID}-arcface-000", tmp_path)
    another, process = open_run(f"of-its-user-{STUDY_ID}", tmp_path), service()
    connection.abandon(STUDY_ID)
    assert process.poll() is None
    another.log({"loss": 1.0})
    for run in (another, of_the_study):
        run.finish()
    assert [row["loss"] for row in talkative.runs[another.id].rows] == [1.0]
    assert is_silent(capfd)
    connection.abandon(STUDY_ID)
    assert not is_there(process.pid)
