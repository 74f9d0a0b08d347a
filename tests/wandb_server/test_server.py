"""The W&B server of the tests, asked without its client: where it fails, what it keeps, what it complains of."""

from __future__ import annotations

import gzip
import json
import queue
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.wandb_server import Fault, WandbServer

WHERE = {"entity": "someone", "project": "heads"}
CODES = {"refuse": 401, "too_many": 429, "broken": 500}
WAIT_S = 300.0  # for an answer that is to come
SHORT_S = 0.3  # for one that never comes
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@pytest.fixture
def server() -> Iterator[WandbServer]:
    with WandbServer() as running:
        yield running


def ask(
    server: WandbServer, path: str, body: bytes | None = None, seconds: float = WAIT_S, **more: Any
) -> tuple[int, Any]:
    """The status and content of an answer; raises what urllib raises without one."""
    request = urllib.request.Request(server.url + path, body, **more)
    try:
        with DIRECT.open(request, timeout=seconds) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as answer:
        with answer:
            status, content = answer.code, answer.read()
    return status, content if path.startswith("/storage") and status == 200 else json.loads(content)


def graphql(
    server: WandbServer, operation: str, seconds: float = WAIT_S, kind: str = "query", **given: Any
) -> tuple[int, Any]:
    asked = {"query": f"{kind} {operation} {{ all }}", "variables": given}
    return ask(server, "/graphql", json.dumps(asked).encode(), seconds)


def upsert(server: WandbServer, name: str, seconds: float = WAIT_S, **given: Any) -> tuple[int, Any]:
    """A run comes to be."""
    return graphql(server, "UpsertBucket", seconds, "mutation", **WHERE, name=name, **given)


def stream(server: WandbServer, run: str, content: dict[str, Any], **headers: str) -> tuple[int, Any]:
    """Sends rows, as the client does while a run goes on."""
    body = json.dumps(content).encode()
    if headers.get("Content-Encoding") == "gzip":
        body = gzip.compress(body)
    return ask(server, f"/files/someone/heads/{run}/file_stream", body, headers=headers)


def stream_rows(server: WandbServer, run: str, offset: int, *steps: int, **headers: str) -> None:
    lines = [json.dumps({"_step": step}) for step in steps]
    content = {"files": {"wandb-history.jsonl": {"offset": offset, "content": lines}}}
    assert stream(server, run, content, **headers) == (200, {})


def found(server: WandbServer, filters: dict[str, Any], order: str = "+created_at") -> list[str]:
    """The names of the runs that a filter lets through."""
    status, content = graphql(server, "Runs", **WHERE, filters=json.dumps(filters), order=order)
    assert status == 200
    return [edge["node"]["name"] for edge in content["data"]["project"]["runs"]["edges"]]


def wait_for_a_request(server: WandbServer) -> None:
    end = time.monotonic() + WAIT_S
    while not server.requests:
        assert time.monotonic() < end
        time.sleep(0.005)


def check_well(server: WandbServer) -> None:
    """It answers, and keeps what it is sent."""
    assert upsert(server, "afterwards")[0] == 200
    assert "afterwards" in server.runs
    assert (server.unknown, server.errors) == ([], [])


@pytest.mark.parametrize("how", CODES)
def test_a_fault_is_answered_with_its_code_and_nothing_is_kept(server: WandbServer, how: Any) -> None:
    server.fault = Fault(how)
    assert upsert(server, "one") == (CODES[how], {"errors": [{"message": f"told to {how}"}]})
    assert ask(server, "/")[0] == CODES[how]
    assert not server.runs
    assert server.asked("graphql UpsertBucket") == 1
    server.fault = None
    check_well(server)


def test_a_dropped_request_has_no_answer_and_nothing_is_kept(server: WandbServer) -> None:
    server.fault = Fault("drop")
    with pytest.raises(ConnectionError):
        upsert(server, "one")
    assert not server.runs
    assert server.asked("graphql UpsertBucket") == 1
    server.fault = None
    check_well(server)


def test_a_hanging_request_has_no_answer_for_as_long_as_anybody_waits(server: WandbServer) -> None:
    server.fault = Fault("hang")
    with pytest.raises(TimeoutError):
        upsert(server, "one", seconds=SHORT_S)
    wait_for_a_request(server)
    assert not server.runs
    server.fault = None
    check_well(server)


@pytest.mark.parametrize("end", ["the fault", "the server"])
def test_a_hanging_request_ends_with_the_fault_and_with_the_server(server: WandbServer, end: str) -> None:
    server.fault = Fault("hang")
    ended: queue.Queue[str] = queue.Queue()

    def wait() -> None:
        try:
            ended.put(str(upsert(server, "one")))
        except ConnectionError:
            ended.put("cut")

    threading.Thread(target=wait, daemon=True).start()
    wait_for_a_request(server)
    assert ended.empty()
    if end == "the fault":
        server.fault = None
    else:
        server.disappear()
    assert ended.get(timeout=WAIT_S) == "cut"
    assert not server.runs


@pytest.mark.parametrize("how", [*CODES, "drop", "hang"])
@pytest.mark.parametrize("of", ["UpsertBucket", lambda kind: kind.startswith("graphql U")], ids=["part", "question"])
def test_a_fault_meets_only_the_kinds_that_it_is_of(server: WandbServer, how: Any, of: Any) -> None:
    server.fault = Fault(how, of)
    if how in CODES:
        assert upsert(server, "one")[0] == CODES[how]
    else:
        with pytest.raises(TimeoutError if how == "hang" else ConnectionError):
            upsert(server, "one", seconds=SHORT_S if how == "hang" else WAIT_S)
        wait_for_a_request(server)
    assert graphql(server, "Viewer")[1]["data"]["viewer"]["entity"] == "someone"
    assert ask(server, "/") == (200, {})
    assert [kind for _, kind in server.requests] == ["graphql UpsertBucket", "graphql Viewer", "GET /"]
    assert not server.runs


def test_a_server_that_is_gone_refuses_and_comes_back_with_all_that_it_had(server: WandbServer) -> None:
    upsert(server, "one", config=json.dumps({"lr": {"value": 0.1}}))
    stream_rows(server, "one", 0, 1, 2)
    url = server.url
    for _ in range(2):
        server.disappear()
        with pytest.raises(urllib.error.URLError, match="refused"):
            ask(server, "/")
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", int(url.rpartition(":")[2])))
        server.come_back()
        assert server.url == url
        assert ask(server, "/") == (200, {})
    stream_rows(server, "one", 2, 3)
    assert server.runs["one"].config == {"lr": 0.1}
    assert [row["_step"] for row in server.runs["one"].rows] == [1, 2, 3]
    check_well(server)


def test_an_unknown_operation_is_listed_and_answered_as_an_error(server: WandbServer) -> None:
    answers = [graphql(server, "NeverHeardOf"), graphql(server, "Viewer"), graphql(server, "NorOfThis")]
    assert answers[0] == (200, {"data": None, "errors": [{"message": "unknown operation NeverHeardOf"}]})
    assert "errors" not in answers[1][1]
    assert (server.unknown, server.errors) == (["NeverHeardOf", "NorOfThis"], [])


def test_a_request_that_makes_no_sense_is_listed(server: WandbServer) -> None:
    assert stream(server, "nobody", {"files": {}})[0] == 500
    assert ask(server, "/storage/run/someone/heads/nobody/file.txt")[0] == 500
    assert graphql(server, "CreateRunFiles", **WHERE, run="nobody", files=[])[0] == 500
    with pytest.raises(ConnectionError):
        ask(server, "/graphql", b"{no json")
    kinds = [error.split(": ")[0] for error in server.errors]
    assert kinds == ["file_stream nobody", "GET nobody/file.txt", "graphql CreateRunFiles", "POST /graphql"]
    assert "JSONDecodeError" in server.errors[-1]
    assert (server.unknown, server.runs) == ([], {})


def test_rows_that_are_sent_again_are_there_once_and_in_order(server: WandbServer) -> None:
    upsert(server, "one")
    stream_rows(server, "one", 2, 3, 4)
    stream_rows(server, "one", 0, 1, 2, 3)
    stream_rows(server, "one", 2, 3, 4)
    stream_rows(server, "one", 4, 5, **{"Content-Encoding": "gzip"})
    assert [row["_step"] for row in server.runs["one"].rows] == [1, 2, 3, 4, 5]
    assert server.runs["one"].last_step == 5


@pytest.mark.parametrize(("code", "state"), [(0, "finished"), (255, "killed"), (1, "failed")])
def test_a_run_ends_as_its_client_says(server: WandbServer, code: int, state: str) -> None:
    upsert(server, "one")
    assert server.runs["one"].state == "running"
    stream(server, "one", {"complete": True, "exitcode": code})
    assert (server.runs["one"].state, server.runs["one"].exit_code) == (state, code)


def test_a_file_comes_back_as_it_was_sent(server: WandbServer) -> None:
    upsert(server, "one")
    content = graphql(server, "CreateRunFiles", **WHERE, run="one", files=["media/a b.png"])[1]
    path = content["data"]["createRunFiles"]["files"][0]["uploadUrl"].removeprefix(server.url)
    sent = bytes(range(256))
    assert ask(server, path, sent, method="PUT")[0] == 200
    assert ask(server, path) == (200, sent)
    assert server.runs["one"].files == {"media/a b.png": sent}


def test_runs_are_found_by_what_they_are_and_how_they_are_set(server: WandbServer) -> None:
    for name, group, scale in (("a", "one", 8), ("b", "one", 16), ("c", "two", 16)):
        upsert(server, name, groupName=group, config=json.dumps({"scale": {"value": scale}}))
    assert found(server, {}) == ["a", "b", "c"]
    assert found(server, {}, "-created_at") == ["c", "b", "a"]
    assert found(server, {"group": "one"}) == ["a", "b"]
    assert found(server, {"config.scale": 16}) == ["b", "c"]
    assert found(server, {"config.scale.value": {"$gt": 8}}) == ["b", "c"]
    assert found(server, {"$and": [{"group": "one"}, {"config.scale": 16}]}) == ["b"]
    assert found(server, {"$or": [{"name": "a"}, {"name": "c"}]}) == ["a", "c"]
    assert found(server, {"config.never_set": 1}) == []
    assert server.errors == []


@pytest.mark.parametrize("filters", [{"grup": "one"}, {"$and": [{"config.x": None}, {"owner": "me"}]}])
def test_a_filter_by_an_unknown_field_is_an_error_and_not_an_empty_list(server: WandbServer, filters: Any) -> None:
    upsert(server, "a")
    status, content = graphql(server, "Runs", **WHERE, filters=json.dumps(filters), order="+created_at")
    assert status == 500
    assert "is known here" in content["errors"][0]["message"]
    assert [error.split(":")[0] for error in server.errors] == ["graphql Runs"]
