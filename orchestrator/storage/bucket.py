"""Objects in a bucket. Each is written whole or not at all; where it matters, only over the one that was read."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit, urlunsplit

from orchestrator.errors import CannotRun, Problem
from orchestrator.storage.object_stores import OPTIONS, open_store

if TYPE_CHECKING:
    from obstore import ObjectMeta, PutResult

PAUSES_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # between tries, where giving up would end a search
CHUNK_BYTES = 2**24  # what is larger goes up in several requests
URI = re.compile(r"(\w+):/+(.+)")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Version = dict[str, str]  # tells one content of an object from those before and after it
T = TypeVar("T")


@dataclass(frozen=True)
class Object:
    """What a listing tells of an object: bytes, and when it was written by the bucket's clock, in ns."""

    size: int
    written_ns: int


@dataclass(frozen=True)
class Content:
    """What an object holds, which version of it this is, and when that was written by the bucket's clock, in ns."""

    content: bytes
    version: Version
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
        fix = "write s3://BUCKET/PATH or gs://BUCKET/PATH or abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/PATH"
        raise CannotRun([Problem(str(place), "results lie in a folder, or in a bucket", f"{scheme}://", fix)])
    return f"{scheme}://{rest.rstrip('/')}"


def below(uri: str, name: str) -> str:
    """The URI of something in a folder; options, such as ?endpoint_override=…, stay where they belong."""
    parts = urlsplit(uri)
    return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{name}"))


class Bucket:
    """The objects below a URI, by their names. Every method raises CannotRun where the bucket does not answer."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        with self._asked():
            self._store, self._path = open_store(uri)

    def write(self, name: str, content: bytes, patient: bool = False) -> None:
        """Writes a whole object, over what was there. patient: tries for some minutes."""
        import obstore

        with self._asked():
            put = partial(obstore.put, self._store, self._key(name), content, chunk_size=CHUNK_BYTES)
            _again(put, PAUSES_S if patient else ())

    def write_over(self, name: str, content: bytes, known: Version | None, patient: bool = False) -> Version | None:
        """Writes a whole object if it still is the version that is known; known None: if there is none.

        Returns the version that it is now; None where somebody else has written it. patient: tries for some minutes.
        """
        with self._asked():
            return _again(lambda: self._put_over(name, content, known), PAUSES_S if patient else ())

    def _put_over(self, name: str, content: bytes, known: Version | None) -> Version | None:
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode = "create" if known is None else known
        try:
            return _version(obstore.put(self._store, self._key(name), content, mode=mode, use_multipart=False))  # type: ignore[arg-type]
        except (AlreadyExistsError, PreconditionError, FileNotFoundError):
            there = self._get(name)
            if there is None:
                self.objects(name)  # raises where it is the bucket that is gone
            # It may be ours: the answer to an earlier try was lost.
            return there.version if there and there.content == content else None

    def read(self, name: str) -> bytes | None:
        """What an object holds; None where there is none."""
        known = self.read_version(name)
        return known.content if known else None

    def read_version(self, name: str) -> Content | None:
        """What an object holds, and which version of it that is; None where there is none."""
        with self._asked():
            return self._get(name)

    def _get(self, name: str) -> Content | None:
        import obstore

        try:
            answer = obstore.get(self._store, self._key(name))
            return Content(bytes(answer.bytes()), _version(answer.meta), _ns(answer.meta["last_modified"]))
        except FileNotFoundError:
            return None

    def objects(self, under: str = "") -> dict[str, Object]:
        """All objects, or those in one folder, by name."""
        import obstore

        with self._asked():
            found = obstore.list(self._store, self._key(under)).collect()
        start = f"{self._path}/".lstrip("/")
        there = {each["path"].removeprefix(start): each for each in found if each["path"].startswith(start)}
        folders = {parent for name in there for parent in _folders(name)}
        return {
            name: Object(each["size"], _ns(each["last_modified"]))
            for name, each in there.items()
            if name not in folders  # pyarrow marks a folder by an object of its name
        }

    def written_ns(self, name: str) -> int | None:
        """When a small object was written, by the bucket's clock; None where there is none."""
        known = self.read_version(name)
        return known.written_ns if known else None

    def delete(self, name: str) -> None:
        """Removes an object, if it is there."""
        import obstore

        with self._asked():
            try:
                obstore.delete(self._store, self._key(name))
            except FileNotFoundError:
                return

    def _key(self, name: str) -> str:
        return f"{self._path}/{name}".strip("/")

    @contextmanager
    def _asked(self) -> Iterator[None]:
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            rule = "the bucket must be there, and answer, to read and to write"
            fix = (
                "check its name, and this machine's credentials for it "
                "(AWS_…, GOOGLE_APPLICATION_CREDENTIALS, or AZURE_…)"
            )
            raise CannotRun([Problem(self.uri, rule, _first_line(error), fix)]) from error


def _first_line(error: Exception) -> str:
    """What a store has answered, without the document that says it all again."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(": <?xml")[0]


def _version(known: ObjectMeta | PutResult) -> Version:
    return {key: str(known[key]) for key in ("e_tag", "version") if known[key] is not None}


def _ns(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1) * 1000


def _folders(name: str) -> Iterator[str]:
    """The folders that an object lies in."""
    while name := name.rpartition("/")[0]:
        yield name


def _again(act: Callable[[], T], pauses_s: tuple[float, ...]) -> T:
    """Tries until it works, with pauses; then once more, and lets the error out."""
    from obstore.exceptions import BaseError

    for pause in pauses_s:
        try:
            return act()
        except (BaseError, OSError):
            time.sleep(pause)
    return act()
