"""What comes back of a run that others, or another program, may have written to."""

from __future__ import annotations

import json
import math
from typing import Any

from orchestrator.storage import events
from orchestrator.tracking import fetch
from orchestrator.tracking.remote_state import Held
from orchestrator.tracking.run import SAID

CONFIG = {"study_id": "ab12", "head": "softmax", "index": 0, "seed": 7, "settings": ["lr"], "lr": 0.01}
MOMENT = "2026-01-01T10:00:00Z"


def held(**summary: Any) -> Held:
    told = {"objective_by_epoch": [0.5, 0.75], "status": SAID["completed"], **summary}
    return Held("ab12-softmax-000", "finished", "search", 2, 2, None, CONFIG, told, MOMENT, MOMENT)


def test_what_was_added_to_a_run_is_none_of_its_measures() -> None:
    added = {"a/nan": "NaN", "an/image": {"_type": "image-file"}, "b/nan": math.nan, "a/count": 10**400, "a/flag": True}
    found = [*fetch._events(held(**added, **{"val/cluster_accuracy": 1, "val/loss": 0.25}))]
    assert [event["event"] for event in found] == ["start", "epoch", "epoch", "end"]
    assert found[2]["metrics"] == {"val/cluster_accuracy": 1, "val/loss": 0.25}
    assert [events.fault(json.loads(json.dumps(event))) for event in found] == [""] * 4
