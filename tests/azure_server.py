"""A server on loopback that speaks as Azure's blobs do, as far as whole objects and their conditions go; no signatures.

Written after https://learn.microsoft.com/rest/api/storageservices. A lock makes a condition and its write one step.
"""

from __future__ import annotations

import itertools
import re
import threading
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class Blob(NamedTuple):
    """An object, and what tells it from those before it."""

    content: bytes
    etag: str
    written: str


class Server(ThreadingHTTPServer):
    """The blobs of one account, by container and name."""

    def __init__(self, container: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.containers: dict[str, dict[str, Blob]] = {container: {}}
        self.lock, self.numbers = threading.Lock(), itertools.count(1)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    """Answers /ACCOUNT/CONTAINER/NAME."""

    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        blobs, name, query = self._asked()
        if blobs is not None and "comp" in query:
            start = query.get("prefix", [""])[0]
            found = "".join(_entry(name, blobs[name]) for name in sorted(blobs) if name.startswith(start))
            self._answer(200, f"<EnumerationResults><Blobs>{found}</Blobs><NextMarker/></EnumerationResults>".encode())
        elif blobs is None or name not in blobs:
            self._answer(404)
        else:
            self._answer(200, blobs[name].content, blobs[name])

    def do_PUT(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        blobs, name, _ = self._asked()
        with self.server.lock:
            known = blobs.get(name) if blobs is not None else None
            if blobs is None:
                self._answer(404)
            elif self.headers.get("If-None-Match") == "*" and known:
                self._answer(409)
            elif "If-Match" in self.headers and (not known or known.etag != self.headers["If-Match"]):
                self._answer(412)
            else:
                blobs[name] = Blob(content, f'"{next(self.server.numbers)}"', format_datetime(datetime.now(UTC), True))
                self._answer(201, b"", blobs[name])

    def do_POST(self) -> None:
        """A batch of deletions, each a request in a part of its own."""
        content = self.rfile.read(int(self.headers["Content-Length"])).decode()
        blobs, _, _ = self._asked()
        parts = []
        for number, path in enumerate(re.findall(r"DELETE (\S+) HTTP", content)):
            name = unquote(urlsplit(path).path).split("/", 3)[-1]
            answer = "202 Accepted" if blobs is not None and blobs.pop(name, None) else "404 Not Found"
            parts.append(f"--batch\r\nContent-ID: {number}\r\n\r\nHTTP/1.1 {answer}\r\n\r\n\r\n")
        self._answer(202, "".join([*parts, "--batch--\r\n"]).encode(), content_type="multipart/mixed; boundary=batch")

    def _asked(self) -> tuple[dict[str, Blob] | None, str, dict[str, list[str]]]:
        """The container that a request is about, the name in it, and its query."""
        parts = urlsplit(self.path)
        _, _, container, *name = unquote(parts.path).split("/", 3)
        return self.server.containers.get(container), "".join(name), parse_qs(parts.query)

    def _answer(self, status: int, content: bytes = b"", blob: Blob | None = None, content_type: str = "") -> None:
        self.send_response(status)
        if content_type:
            self.send_header("Content-Type", content_type)
        if blob:
            self.send_header("ETag", blob.etag)
            self.send_header("Last-Modified", blob.written)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *given: object) -> None:
        """Says nothing."""


def _entry(name: str, blob: Blob) -> str:
    known = {"Last-Modified": blob.written, "Content-Length": len(blob.content), "Content-Type": "", "Etag": blob.etag}
    tags = "".join(f"<{tag}>{escape(str(value))}</{tag}>" for tag, value in known.items())
    return f"<Blob><Name>{escape(name)}</Name><Properties>{tags}</Properties></Blob>"
