"""The working copy of a study whose home is a bucket: what comes down, what goes up, and in which order.

bucket/<study>/study.yaml, best/…, models/…, embeddings/…     as in a folder
               trials/00000.jsonl, trials/00001.jsonl, …     trials.jsonl, in parts
               ray/attempt-1/…                               checkpoints, which trials write there themselves
               lease.json, stop                              who is at work on it; that it is asked to end
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

from orchestrator.errors import CannotRun, Problem
from orchestrator.files import json_documents
from orchestrator.files.atomic import write_atomic
from orchestrator.files.json_documents import Copied
from orchestrator.files.locks import alone, free
from orchestrator.files.paths import local
from orchestrator.storage.bucket import Bucket, Object, below, uri_of

HOME_FILE = ".home"
COPY_LOCK = ".copy.lock"
OF_A_COPY = (HOME_FILE, COPY_LOCK)
PATIENCE_S = 60.0  # for someone else on this machine who is fetching
RECORDS = ("trials", "confirmation", "test")
NOT_MIRRORED = {"ray", "wandb", *RECORDS}  # folders
LEASE, STOP = "lease.json", "stop"
OWN = {"driver.json", LEASE, STOP, *(f"{record}.jsonl" for record in RECORDS)}
AT_A_TIME = 8
CLOCK_NS = 2 * 10**9  # a bucket's clock has whole seconds


def here(place: str | Path) -> Path:
    """The folder on this machine that stands for a place: itself, or a bucket's working copy, brought up to date.

    Raises CannotRun where the bucket does not answer.
    """
    uri = uri_of(place)
    if uri is None:
        return local(place, "FOLDER")
    parts = urlsplit(uri)
    within = Path(quote(f"{parts.scheme}-{parts.netloc}{parts.path.rpartition('/')[0]}", safe=""))
    root = _copies() / within / parts.path.rpartition("/")[2]
    root.mkdir(parents=True, exist_ok=True)
    home = BucketSync.of(root)
    if home is None or home.uri != uri:
        write_atomic(root / HOME_FILE, json.dumps({"uri": uri, "copy": secrets.token_hex(8)}))
        home = BucketSync.of(root)
    assert home
    home.pull_unless_at_work()
    return root


def inside(results: str | Path, name: str) -> Path:
    """The folder on this machine of a study whose folder lies in `results`, a folder or a bucket."""
    uri = uri_of(results)
    return local(results, "--results") / name if uri is None else here(below(uri, name))


def taken(results: str | Path, name: str) -> bool:
    """Whether a study of that name lies in `results`."""
    uri = uri_of(results)
    if uri is None:
        return os.path.lexists(local(results, "--results") / name)
    return bool(Bucket(below(uri, name)).objects())


def fetch(place: str | Path, into: Path) -> Path:
    """Copies a study out of a bucket into a folder of this machine, a new one in `into`; without checkpoints.

    Returns it. Raises CannotRun where there is no such study, or a folder of that name already.
    """
    root, target = here(place), local(into, "--into")
    target /= root.name
    if not (root / "study.yaml").exists():
        raise CannotRun([Problem(str(place), "a study's folder holds a study.yaml", "there is none")])
    if target.exists():
        fix = "name another folder: --into elsewhere"
        raise CannotRun([Problem("--into", "a study is fetched into a new folder", f"{target} is there", fix)])
    shutil.copytree(root, target, ignore=shutil.ignore_patterns(".*", "ray", "wandb", "driver.json"))
    return target


def _copies() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "embedding-heads"


class BucketSync:
    """Where a working copy belongs. copy: tells it from other machines' copies of the same study."""

    def __init__(self, root: Path, uri: str, copy: str) -> None:
        self.root, self.uri, self.copy = root, uri, copy

    @classmethod
    def of(cls, root: Path) -> BucketSync | None:
        """The home of a working copy; None for a folder that is no copy of anything."""
        path = root / HOME_FILE
        known = json_documents.read(path, Copied, f"remove {root}: it is only a copy, and is fetched again")
        return cls(root, known["uri"], known["copy"]) if known else None

    @cached_property
    def bucket(self) -> Bucket:
        return Bucket(self.uri)

    def pull_unless_at_work(self) -> None:
        """Brings the copy up to date, unless a driver on this machine writes into it: then it is."""
        if free(self.root / ".lock"):
            self.pull()

    def pull(self) -> None:
        """Makes the copy what the bucket is; only checkpoints and W&B's files stay as they are."""
        wait = Problem(self.uri, "one at a time fetches a study", "someone on this machine takes long", "try again")
        with alone(self.root / COPY_LOCK, wait, PATIENCE_S):
            there = self.bucket.objects()
            if not there:  # a study that was removed, or never begun: what stayed here belongs to nothing
                for folder in ("ray", "wandb"):
                    shutil.rmtree(self.root / folder, ignore_errors=True)
            for record in RECORDS:
                self._pull_record(record, {name: each for name, each in there.items() if _under(name) == record})
            wanted = {name: each for name, each in there.items() if _mirrored(name)}
            self._fetch_what_differs(wanted)
            for name in set(self._names()) - set(wanted):
                (self.root / name).unlink()

    def pull_record(self, record: str) -> None:
        """Makes one record of the copy what the bucket has."""
        self._pull_record(record, self.bucket.objects(record))

    def push(self) -> None:
        """Sends what differs, but for the records: they are there already."""
        there = self.bucket.objects()
        states = {name: _state(self.root / name) for name in self._names()}
        changed = {name: state for name, state in states.items() if state and not _sent(state, there.get(name))}
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            list(pool.map(self._put_if_there, changed))
        there = self.bucket.objects() if changed else {}
        fresh_after = _fresh_after(there)
        for name, state in changed.items():
            if name in there and _state(self.root / name) == state:  # not written again since
                _stamp(self.root / name, there[name], there[name].written_ns > fresh_after)

    def put(self, path: Path) -> None:
        """Sends one file of the copy."""
        self.bucket.write(path.relative_to(self.root).as_posix(), path.read_bytes(), patient=True)

    def _put_if_there(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self.put(self.root / name)

    def fetch(self, under: str, wanted: Callable[[str], bool]) -> None:
        """Brings those objects of a folder into the copy that are wanted and not there yet."""
        self._fetch_what_differs({name: each for name, each in self.bucket.objects(under).items() if wanted(name)})

    def _fetch_what_differs(self, there: Mapping[str, Object]) -> None:
        differ = {name: each for name, each in there.items() if _state(self.root / name) != each}
        fresh_after = _fresh_after(there)
        fresh = [each.written_ns > fresh_after for each in differ.values()]
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            list(pool.map(self._fetch, differ.keys(), differ.values(), fresh))

    def _fetch(self, name: str, known: Object, fresh: bool) -> None:
        content, path = self.bucket.read(name), self.root / name
        if content is None:  # removed since it was listed
            return
        write_atomic(path, content)
        _stamp(path, known, fresh)

    def _pull_record(self, record: str, parts: dict[str, Object]) -> None:
        """Appends the parts that the copy lacks. The last one that it has whole is compared, to be sure of it."""
        path = self.root / f"{record}.jsonl"
        if not parts:
            path.unlink(missing_ok=True)
            return
        names, has, ends = sorted(parts), path.stat().st_size if path.exists() else 0, [0]
        for name in names:
            ends.append(ends[-1] + parts[name].size)
        whole = max(number for number, end in enumerate(ends) if end <= has)
        with open(path, "ab+") as file:
            if whole and self.bucket.read(names[whole - 1]) != _between(file, ends[whole - 1], ends[whole]):
                whole = 0
            file.truncate(ends[whole])
            for name in names[whole:]:
                file.write(self.bucket.read(name) or b"")
            file.flush()
            os.fsync(file.fileno())

    def _names(self) -> Iterator[str]:
        """The files of the copy that are mirrored."""
        for folder, folders, files in os.walk(self.root):
            folders[:] = [name for name in folders if Path(folder) != self.root or name not in NOT_MIRRORED]
            names = (Path(folder, name).relative_to(self.root).as_posix() for name in files)
            yield from filter(_mirrored, names)


def _under(name: str) -> str:
    return name.partition("/")[0] if "/" in name else ""


def _mirrored(name: str) -> bool:
    hidden = any(part.startswith(".") for part in name.split("/"))
    return not (hidden or name in OWN or _under(name) in NOT_MIRRORED)


def _between(file: IO[bytes], start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(end - start)


def _state(path: Path) -> Object | None:
    """What a listing would tell of a file if it lay in the bucket as it lies here."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return Object(found.st_size, found.st_mtime_ns)


def _sent(state: Object, known: Object | None) -> bool:
    """Whether an object is what a file was when it was sent or fetched."""
    return known is not None and state.size == known.size and state.written_ns - known.written_ns in (0, 1)


def _stamp(path: Path, known: Object, fresh: bool) -> None:
    """Gives a file the time of its object, by which the two are known to be equal.

    fresh: it may be written again at what the bucket calls the same time; a nanosecond more says so.
    """
    time_ns = known.written_ns + fresh
    os.utime(path, ns=(time_ns, time_ns))


def _fresh_after(there: Mapping[str, Object]) -> int:
    """The time after which objects count as fresh, by the bucket's clock: just before the newest of them."""
    return max((each.written_ns for each in there.values()), default=0) - CLOCK_NS
