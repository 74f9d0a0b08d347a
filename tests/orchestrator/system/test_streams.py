"""Streams that are closed, full or read by nobody: what is said on them is lost, and nothing else."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from orchestrator.system import streams
from orchestrator.system.streams import Steadfast


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, Steadfast]]:
    """The reading end of a pipe that is full, and a stream to the other end."""
    monkeypatch.setattr(streams, "WAIT_S", 0.01)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with open(reader, "rb") as read, open(writer, "w") as file:
        try:
            while True:
                os.write(writer, b"." * 4096)
        except BlockingIOError:
            os.set_blocking(writer, True)
        stream = Steadfast(file)
        yield read.fileno(), stream
        os.set_blocking(read.fileno(), False)
        while stream._waiting:  # else the thread would write to whatever is opened next under this number
            with suppress(BlockingIOError):
                os.read(read.fileno(), 65536)
            time.sleep(0.01)


def test_what_is_written_is_there_at_once_and_in_order(tmp_path: Path) -> None:
    with open(tmp_path / "log", "w") as file:
        stream = Steadfast(file)
        for number in range(100):
            stream.write(f"{number}\n")
            assert (tmp_path / "log").read_text().splitlines()[-1] == str(number)


def test_a_stream_without_a_file_is_written_to_as_well() -> None:
    text = io.StringIO()
    Steadfast(text).write("θ = 1\n")
    assert text.getvalue() == "θ = 1\n"


def test_a_full_device_and_a_reader_that_has_left_raise_nothing(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "w") as full, open(writer, "w") as left:
        for file in (full, left):
            stream = Steadfast(file)
            assert stream.write("line\n") == 5
            stream.flush()
            stream.finish()
            assert not stream._waiting


def test_a_pipe_that_nobody_reads_is_not_waited_for(
    unread: tuple[int, Steadfast], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "FLUSH_S", 0.01)
    reader, stream = unread
    for number in range(2 * streams.MOST_WAITING):  # in vain: nobody reads
        stream.write(f"{number} " + "x" * 100 + "\n")
    stream.finish()
    assert stream._waiting <= streams.MOST_WAITING + 1
    assert os.read(reader, 1) == b"."


def test_a_reader_that_comes_back_reads_on(unread: tuple[int, Steadfast]) -> None:
    reader, stream = unread
    stream.write("the first\n")
    stream.write("the second\n")
    read = b""
    while b"second" not in read:
        read += os.read(reader, 65536)
    assert read.strip(b".") == b"the first\nthe second\n"


def test_what_an_encoding_lacks_is_written_in_other_characters(tmp_path: Path) -> None:
    with open(tmp_path / "log", "w", encoding="ascii") as file:
        Steadfast(file).write("θ 数\n")
    assert (tmp_path / "log").read_text() == "theta \\u6570\n"


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_no_file_takes_the_number_of_a_stream_that_was_closed(tmp_path: Path, closed: str) -> None:
    """Else Ray's complaints, which go to number 2, would stand in a study's record."""
    words = (
        "import sys; from orchestrator.system import streams; streams.mend(); file = open(sys.argv[1], 'w');"
        "print('said', file=sys.stderr); print('found'); sys.stdout.flush(); file.write(str(file.fileno()))"
    )
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", words, str(tmp_path / "file")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert int((tmp_path / "file").read_text()) > 2


@pytest.mark.parametrize(
    ("stdout", "code"),
    [
        ("os.open('/dev/full', os.O_WRONLY)", 130),  # whoever asked for an end gets the code for that
        ("os.pipe()[1]", 0),  # and its reader has left
        ("pty.openpty()[1]", 0),  # a terminal that is gone: nobody is there to be told
    ],
)
def test_what_is_found_is_told_or_nobody_is_there(stdout: str, code: int) -> None:
    words = (
        "import os, pty; from orchestrator.cli.options import printing, show\n"
        f"os.dup2({stdout}, 1); os.closerange(3, 20)\n"
        "try:\n    with printing('best', 130): show('found')\n"
        "except BaseException as error: os._exit(getattr(error, 'exit_code', 1))\nos._exit(0)"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "could not be printed" in done.stderr) == (code, code != 0)
