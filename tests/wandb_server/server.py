"""The HTTP side: takes requests, hands them on, or fails in the way that it is told to."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlparse

from tests.wandb_server import answers, faults
from tests.wandb_server.faults import Fault
from tests.wandb_server.state import Artifact, Run, Runs, State, Sweep, View

FOLDERS = ("DIR", "CACHE_DIR", "CONFIG_DIR", "DATA_DIR", "ARTIFACT_DIR")


class WandbServer:
    """Listens on 127.0.0.1 for as long as the context lasts. Its threads are daemons, and none hangs longer than it."""

    def __init__(self) -> None:
        self.fault: Fault | None = None
        self.requests: list[tuple[float, str]] = []
        self.unknown: list[str] = []  # GraphQL operations without an answer here
        self.errors: list[str] = []  # what went wrong in this server itself
        self._state = State()
        self._over = threading.Event()  # no answer is worth waiting for any more
        self._connections: set[socket.socket] = set()
        self._port = 0

    def __enter__(self) -> Self:
        self._listener = _Listener(self)
        self._port = self._listener.server_port
        self.come_back()
        return self

    def __exit__(self, *error: object) -> None:
        self.disappear()
        self._listener.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def runs(self) -> Runs:
        return self._state.runs

    @property
    def sweeps(self) -> dict[str, Sweep]:
        return self._state.sweeps

    @property
    def artifacts(self) -> list[Artifact]:
        return self._state.artifacts

    @property
    def views(self) -> list[View]:
        return self._state.views

    def asked(self, kind: str) -> int:
        """How many requests there were whose kind has this in it."""
        return sum(kind in known for _, known in list(self.requests))

    def environment(self, folder: Path) -> dict[str, str]:
        """The variables with which a client talks to this server alone, and keeps its files in a folder."""
        return {
            "WANDB_BASE_URL": self.url,
            "WANDB_API_KEY": "k" * 40,
            "WANDB_ERROR_REPORTING": "false",
            "WANDB_SILENT": "true",
            "NETRC": str(folder / "no-netrc"),
            **{f"WANDB_{name}": str(folder / f"wandb-{name.lower()}") for name in FOLDERS},
        }

    def disappear(self) -> None:
        """Nobody listens any more, and open connections end. The port stays ours: whoever asks is refused."""
        self._over.set()
        self._listener.stop()
        for connection in list(self._connections):
            faults.close(connection)
        self._listener = _Listener(self)

    def come_back(self) -> None:
        """Listens again, on the same port, with all that it had."""
        self._over.clear()
        self._listener.start()

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        """Answers one request, or fails as it is told to."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        path = unquote(urlparse(request.path).path)
        kind = _kind(request.command, path, body)
        self.requests.append((time.monotonic(), kind))
        fault = self.fault
        if fault is None or not fault.meets(kind):
            self._answer(request, kind, path, body)
        elif fault.how in faults.CODES:
            send(request, faults.CODES[fault.how], {"errors": [{"message": f"told to {fault.how}"}]})
        else:
            if fault.how == "hang":
                faults.hang(self._over, lambda: self.fault is fault)
            faults.cut(request)

    def _answer(self, request: BaseHTTPRequestHandler, kind: str, path: str, body: bytes) -> None:
        status = 200
        try:
            content = self._content(request.command, path, body)
        except answers.UnknownOperation as operation:
            self.unknown.append(str(operation))
            content = {"data": None, "errors": [{"message": f"unknown operation {operation}"}]}
        except Exception as error:
            self.errors.append(f"{kind}: {type(error).__name__}: {error}")
            status, content = 500, {"errors": [{"message": str(error)}]}
        send(request, status, content)

    def _content(self, command: str, path: str, body: bytes) -> Any:
        parts = path.strip("/").split("/")
        if path == "/graphql":
            return answers.answer(self._state, self.url, body)
        with self._state.lock:
            if parts[0] == "storage":
                return self._stored(command, parts[1:], body)
            if parts[-1] == "file_stream":
                _, entity, project, run, _ = parts
                self._state.runs[f"{entity}/{project}/{run}"].stream(json.loads(body))
        return {}  # telemetry, for one

    def _stored(self, command: str, parts: list[str], body: bytes) -> Any:
        """Keeps an uploaded file, or returns one."""
        if parts[0] == "run":
            owner: Run | Artifact = self._state.runs["/".join(parts[1:4])]
        else:
            owner = self._state.artifact(parts[2])
        name = "/".join(parts[4:])
        if isinstance(owner, Artifact) and parts[3] == "manifest":
            owner.manifest = body if command == "PUT" else owner.manifest
            return owner.manifest
        if command == "PUT":
            owner.files = owner.files | {name: body}
        return owner.files[name]


class _Listener(ThreadingHTTPServer):
    """Holds a server's port from the start, and listens between start and stop."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, server: WandbServer) -> None:
        super().__init__(("127.0.0.1", server._port), _Handler, bind_and_activate=False)
        self.wandb = server
        self._thread: threading.Thread | None = None
        self.server_bind()

    def start(self) -> None:
        self.server_activate()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        if self._thread:
            self.shutdown()
            self._thread.join()
        self.server_close()

    def handle_error(self, request: Any, address: Any) -> None:
        """Nothing to stderr: what goes wrong between here and there is the client's to notice."""


class _Handler(BaseHTTPRequestHandler):
    server: _Listener
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.wandb._connections.add(self.connection)
        if self.server.wandb._over.is_set():  # it went while this began
            faults.close(self.connection)

    def finish(self) -> None:
        self.server.wandb._connections.discard(self.connection)
        super().finish()

    def log_message(self, *given: Any) -> None:
        """Nothing to stderr."""

    def do_GET(self) -> None:
        try:
            self.server.wandb.serve(self)
        except OSError:  # the client has gone
            self.close_connection = True
        except Exception as error:
            self.close_connection = True
            self.server.wandb.errors.append(f"{self.command} {self.path}: {type(error).__name__}: {error}")

    do_POST = do_PUT = do_HEAD = do_GET


def send(request: BaseHTTPRequestHandler, status: int, content: Any) -> None:
    """Answers with a file's bytes, or with JSON."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    request.send_response(status)
    request.send_header(
        "Content-Type", "application/octet-stream" if isinstance(content, bytes) else "application/json"
    )
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(body)


def _kind(command: str, path: str, body: bytes) -> str:
    if path == "/graphql":
        return f"graphql {answers.name_of(body)}"
    if path.endswith("/file_stream"):
        return f"file_stream {path.split('/')[-2]}"
    if path.startswith("/storage/run/"):
        return f"{command} {'/'.join(path.split('/')[5:])}"  # the run's id and the file
    if path.startswith("/storage/artifact/"):
        _, _, _, name, _, *rest = path.split("/")
        return f"{command} {name}/{'/'.join(rest[1:]) or rest[0]}"
    return f"{command} {path}"
