"""Whether a bucket keeps the conditions of writes. Some servers that speak S3 overlook them, and write all the same."""

from __future__ import annotations

from orchestrator.errors import CannotRun, Problem
from orchestrator.storage.bucket import Bucket
from orchestrator.system.commands import ours


def require(bucket: Bucket, name: str) -> None:
    """Tries it with an object of that name, which is gone afterwards. Raises CannotRun where it does not."""
    problems: tuple[Problem, ...]
    bucket.write(name, b"first")
    try:
        kept, problems = _kept(bucket, name), ()
    except CannotRun as error:  # the bucket has just answered: it is the condition that it does not take
        kept, problems = False, error.problems
    bucket.delete(name)
    if not kept:
        rule = "a bucket in which studies run writes on a condition (If-Match, If-None-Match)"
        value = "this one does not, so that two machines could work on one study"
        fix = f"use another one, or a folder; {ours('fetch', bucket.uri)} copies a study that is here"
        raise CannotRun([*problems, Problem(bucket.uri, rule, value, fix)])


def _kept(bucket: Bucket, name: str) -> bool:
    first = bucket.read_version(name)
    if not first or not bucket.write_over(name, b"second", first.version):
        return False
    return not bucket.write_over(name, b"third", first.version) and not bucket.write_over(name, b"fourth", None)
