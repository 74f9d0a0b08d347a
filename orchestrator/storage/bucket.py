"""Objects in a bucket, through pyarrow's file systems. Each is written whole or not at all."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from orchestrator.errors import CannotRun, Problem

OPTIONS = {
    "s3": {"allow_delayed_open": "true"},  # a small object is written in one request instead of three
    "gs": {"retry_limit_seconds": "5"},  # of 15 minutes, where nobody answers or there are no credentials
}
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # between tries, where giving up would end a search
URI = re.compile(r"(\w+):/+(.+)")


@dataclass(frozen=True)
class Object:
    """What a listing tells of an object: bytes, and when it was written by the bucket's clock, in ns."""

    size: int
    written_ns: int


def uri_of(place: str | Path) -> str | None:
    """The URI that a place is, without a slash at its end; None for a folder of this machine.

    A `Path` of a URI has lost one of its slashes, and gets it back. Raises CannotRun for what is no bucket.
    """
    match = URI.fullmatch(str(place))
    if not match:
        return None
    scheme, rest = match.groups()
    if scheme not in OPTIONS:
        rule, fix = "results lie in a folder, or in a bucket", "write s3://BUCKET/PATH or gs://BUCKET/PATH"
        raise CannotRun([Problem(str(place), rule, f"{scheme}://", fix)])
    return f"{scheme}://{rest.rstrip('/')}"


def below(uri: str, name: str) -> str:
    """The URI of something in a folder; options, such as ?endpoint_override=…, stay where they belong."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


class Bucket:
    """The objects below a URI, by their names. Every method raises CannotRun where the bucket does not answer."""

    def __init__(self, uri: str) -> None:
        from pyarrow.fs import FileSystem

        self.uri = uri
        with self._asked():
            self._system, self._path = FileSystem.from_uri(_with_options(uri))

    def write(self, name: str, content: bytes, patient: bool = False) -> None:
        """Writes a whole object, over what was there. patient: tries for some minutes."""

        def put() -> None:
            with self._system.open_output_stream(f"{self._path}/{name}", buffer_size=0) as stream:
                stream.write(content)

        with self._asked():
            _again(put, PAUSES_S if patient else ())

    def read(self, name: str) -> bytes | None:
        """What an object holds; None where there is none."""
        with self._asked():
            try:
                with self._system.open_input_stream(f"{self._path}/{name}") as stream:
                    content: bytes = stream.read()
                    return content
            except FileNotFoundError:
                return None

    def objects(self, under: str = "") -> dict[str, Object]:
        """All objects, or those in one folder, by name."""
        from pyarrow.fs import FileSelector, FileType

        where = f"{self._path}/{under}".rstrip("/")
        with self._asked():
            found = self._system.get_file_info(FileSelector(where, allow_not_found=True, recursive=True))
            if not found:
                self._must_exist()
        files = (info for info in found if info.type == FileType.File)
        return {info.path.removeprefix(f"{self._path}/"): Object(info.size, info.mtime_ns) for info in files}

    def _must_exist(self) -> None:
        """An empty listing may mean that there is no bucket. Who may not list the whole of it is let through."""
        from pyarrow.fs import FileSelector

        try:
            self._system.get_file_info(FileSelector(self._path.partition("/")[0]))
        except FileNotFoundError:
            raise
        except OSError as error:
            if "NO_SUCH_BUCKET" in str(error):
                raise

    def written_ns(self, name: str) -> int | None:
        """When an object was written, by the bucket's clock; None where there is none."""
        from pyarrow.fs import FileType

        with self._asked():
            info = self._system.get_file_info(f"{self._path}/{name}")
        return int(info.mtime_ns) if info.type == FileType.File else None

    def delete(self, name: str) -> None:
        """Removes an object, if it is there."""
        with self._asked():
            try:
                self._system.delete_file(f"{self._path}/{name}")
            except FileNotFoundError:
                return

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:  # pyarrow's own errors are both
            rule = "the bucket must be there, and answer, to read and to write"
            fix = "check its name, and this machine's credentials for it (AWS_…, or GOOGLE_APPLICATION_CREDENTIALS)"
            first = str(error).strip().splitlines()[0].partition(" error_info=")[0]  # where Google says it all again
            raise CannotRun([Problem(self.uri, rule, first, fix)]) from error


def _with_options(uri: str) -> str:
    """The URI with what we ask of pyarrow, unless it asks for something else itself."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(query=urlencode(OPTIONS[parts.scheme] | dict(parse_qsl(parts.query)))))


def _again(act: Callable[[], None], pauses_s: tuple[float, ...]) -> None:
    """Tries until it works, with pauses; then once more, and lets the error out."""
    for pause in pauses_s:
        try:
            act()
            return
        except OSError:
            time.sleep(pause)
    act()
