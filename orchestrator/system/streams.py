"""Standard streams that may be closed, full, or a pipe that nobody reads: whoever writes to them goes on.

What is said on the way is worth a line, never a search: it is written by a thread of its own, and dropped where that
waits. What was asked for goes to stdout as it is: there a failure is told. Whatever is written to either is made
`visible`; only whoever has done so himself, because he styles it, writes `as_is`.
"""

from __future__ import annotations

import io
import os
import queue
import sys
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TextIO, cast

from orchestrator.printable import HANDLER, visible

WAIT_S = 0.2  # a reader that is well has read a line by then
FLUSH_S = 2.0  # at the end, for what a slow one has still to read
MOST_WAITING = 1000  # texts that wait for a reader


class Steadfast:
    """A text stream that never raises and never waits for long. All else is the stream's that it writes to."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._texts: queue.Queue[str] = queue.Queue(MOST_WAITING)
        self._idle = threading.Condition()
        self._waiting = 0
        self._thread: threading.Thread | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Hands a text over, made visible."""
        self.write_as_is(visible(text))
        return len(text)

    def write_as_is(self, text: str) -> int:
        """Hands a text over, and waits a moment for it to be written, so that texts stay in order with all else."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="said", daemon=True)
            self._thread.start()
        with self._idle:
            stuck = self._waiting
            try:
                self._texts.put_nowait(text)
            except queue.Full:
                return len(text)
            self._waiting += 1
            if not stuck:
                self._idle.wait_for(lambda: not self._waiting, WAIT_S)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))

    def flush(self) -> None:
        """Nothing is kept back."""

    def finish(self) -> None:
        """Waits a little for what is still to be written; not for ever."""
        with self._idle:
            self._idle.wait_for(lambda: not self._waiting, FLUSH_S)

    def _work(self) -> None:
        while True:
            text = self._texts.get()
            with suppress(OSError, ValueError):
                _put(self._stream, text)
            with self._idle:
                self._waiting -= 1
                self._idle.notify_all()


class Visible:
    """A text stream that makes visible what is written to it. All else is the stream's."""

    def __init__(self, stream: TextIO) -> None:
        self.write_as_is = stream.write
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        self._stream.write(visible(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        self.write("".join(lines))


class AsIs:
    """A stream for someone who makes visible himself what is not his own, and styles it."""

    def __init__(self, stream: Any) -> None:
        self.write = stream.write_as_is
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def as_is(stream: Any) -> Any:
    """The same stream, with nothing made visible."""
    return AsIs(stream) if isinstance(stream, Steadfast | Visible) else stream


def _put(stream: TextIO, text: str) -> None:
    """Past the stream's own buffer, where it has a file: what cannot be written must not come again and again."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    encoded = text.encode(encoding, HANDLER)
    try:
        number = stream.fileno()
    except (OSError, ValueError, AttributeError):  # a notebook's, or a test's
        stream.write(encoded.decode(encoding))
        stream.flush()
        return
    left = memoryview(encoded)
    while left:
        try:
            left = left[os.write(number, left) :]
        except BlockingIOError:  # someone has made it so
            time.sleep(WAIT_S)


def steadfast(stream: Any) -> Steadfast:
    """A stream to say things on; what is said where there is none goes nowhere."""
    if isinstance(stream, Steadfast):
        return stream
    return Steadfast(stream or open(os.devnull, "w", encoding="utf-8"))


def mend() -> None:
    """Opens what was closed before this program began, and makes stderr steadfast.

    Else the next file that is opened is number 1 or 2: a record, into which Ray would write its complaints.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            os.set_inheritable(number, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
        if mode == "w" and isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors=HANDLER)  # a terminal that lacks a character ends nothing
    sys.stderr = cast(TextIO, steadfast(sys.stderr))
    if not isinstance(sys.stdout, Visible):
        sys.stdout = cast(TextIO, Visible(sys.stdout))
