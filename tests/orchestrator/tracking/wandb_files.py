"""What is in a .wandb file, the record that wandb keeps of an offline run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

from tests.orchestrator.tracking.conftest import wait_for

BLOCK, FILE_HEADER, RECORD_HEADER = 32768, 7, 7


def records(path: Path) -> Iterator[Any]:
    """The protobuf records of a .wandb file: LevelDB's log format behind a header of seven bytes."""
    content, position, parts = path.read_bytes(), FILE_HEADER, b""
    while position + RECORD_HEADER <= len(content):
        if BLOCK - position % BLOCK < RECORD_HEADER:
            position += BLOCK - position % BLOCK
            continue
        size, kind = int.from_bytes(content[position + 4 : position + 6], "little"), content[position + 6]
        position += RECORD_HEADER
        if position + size > len(content):  # still being written
            return
        parts += content[position : position + size]
        position += size
        if kind in (1, 4):  # whole, or the last of several
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def read_run(path: Path) -> dict[str, Any]:
    """Rows, config, exit code and summary of one offline run, once wandb has written its end, which comes last."""
    found = dict[str, Any]()

    def ended() -> bool:  # finish() returns some time before the file is complete
        found.update(read_what_is_there(path))
        return "exit_code" in found

    wait_for(ended, lambda: f"{path} has an end")
    return found


def read_what_is_there(path: Path) -> dict[str, Any]:
    run: dict[str, Any] = {"rows": [], "config": {}, "summary": {}, "path": path.parent}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run |= {"id": record.run.run_id, "group": record.run.run_group, "job_type": record.run.job_type}
            run["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "config":
            run["config"] |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif kind == "history":
            items = {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in record.history.item}
            run["rows"].append(items)
        elif kind == "summary":
            update = record.summary.update
            run["summary"] |= {(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in update}
        elif kind == "exit":
            run["exit_code"] = record.exit.exit_code
    return run
