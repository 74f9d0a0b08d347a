"""The ways in which a request can fail. Knows HTTP, and nothing of what is asked."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import Literal

CODES = {"refuse": 401, "too_many": 429, "broken": 500}
LOOK_S = 0.05


@dataclass(frozen=True, eq=False)
class Fault:
    """401, 429, 500, never an answer, or a closed connection. of: part of a request's kind, or a question about it."""

    how: Literal["refuse", "too_many", "broken", "hang", "drop"]
    of: str | Callable[[str], bool] | None = None

    def meets(self, kind: str) -> bool:
        """Whether a request of that kind fails."""
        if self.of is None:
            return True
        return self.of in kind if isinstance(self.of, str) else self.of(kind)


def hang(over: threading.Event, lasts: Callable[[], bool]) -> None:
    """Returns once the server has gone or the fault is over."""
    while lasts() and not over.wait(LOOK_S):
        pass


def cut(request: BaseHTTPRequestHandler) -> None:
    """Ends a connection without a word."""
    request.close_connection = True
    close(request.connection)


def close(connection: socket.socket) -> None:
    """Ends a connection that another thread may be reading from; that thread frees it."""
    with contextlib.suppress(OSError):  # the other side was faster
        connection.shutdown(socket.SHUT_RDWR)
