"""What the lines of a study's records may say: one class for each kind of event, checked when written and when read.

    {"event": "start", "trial": "arcface-003", "head": …, "index": …, "seed": …, "params": {…}, "time": …}
    {"event": "epoch", "trial": …, "epoch": 1, "objective": …, "metrics": {…}, "time": …}
    {"event": "placed", "trial": …, "node": …, "node_id": …}       on a cluster: where it runs from now on
    {"event": "params", "trial": …, "epoch": 2, "params": {…}}     where PBT changed them after that epoch
    {"event": "interrupted", "trial": …, "epoch": 2, "reason": …}  the machine broke it off; `resume` goes on with it
    {"event": "end", "trial": …, "status": "completed", "reason": "", "time": …}

`confirmation.jsonl` and `test.jsonl` tell of the runs after the search in the same way. What they say beside that, such
as what was asked for, has no "trial". Further keys are allowed in every event: a later version may write them.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, TypeAdapter, ValidationError

from lightning_modules.objectives.base import Objective
from orchestrator.errors import shown
from orchestrator.files.json_documents import told

Event = dict[str, Any]
Ended = Literal["completed", "stopped", "diverged", "failed"]

FEW, MOST = 2**31, 2**63  # what counts something stays below the first, every whole number below the second
Name = Annotated[str, Field(pattern=r"^\w[\w.+-]*$", max_length=200)]  # it becomes a folder's name
Text = Annotated[str, Field(strict=True)]
Count = Annotated[int, Field(strict=True, ge=0, lt=FEW)]
Whole = Annotated[int, Field(strict=True, gt=-MOST, lt=MOST)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Setting = StrictBool | Whole | Number | Annotated[str, Field(max_length=1000)] | None


def _moment(written: str) -> str:
    datetime.fromisoformat(written)
    return written


Time = Annotated[str, AfterValidator(_moment)]


class _Said(BaseModel):
    model_config = ConfigDict(extra="allow")
    time: Time


class Start(_Said):
    """A trial begins."""

    event: Literal["start"]
    trial: Name
    head: Name
    index: Count
    seed: Whole
    params: dict[str, Setting]


class Epoch(_Said):
    """What a trial has reached after an epoch. stops: a scheduler has decided that it is its last."""

    event: Literal["epoch"]
    trial: Name
    epoch: Annotated[Count, Field(ge=1)]
    objective: Number
    metrics: dict[str, Number]
    stops: StrictBool = False


class Placed(_Said):
    """On a cluster: where a trial runs from now on."""

    event: Literal["placed"]
    trial: Name


class Params(_Said):
    """The settings of a trial after PBT has changed them."""

    event: Literal["params"]
    trial: Name
    params: dict[str, Setting]


class Interrupted(_Said):
    """The machine has broken off a trial, after its process had begun again as often as it may."""

    event: Literal["interrupted"]
    trial: Name
    epoch: Count
    reason: Text


class End(_Said):
    """A trial has ended.

    Records of earlier versions end a trial as failed where "its process died 3 times". That stays its end: what rests
    on such a record, as its confirmation, was found without that trial.
    """

    event: Literal["end"]
    trial: Name
    status: Ended
    reason: Text


class Asked(_Said):
    """Which configurations are trained again, on which seeds. looks: openings of the test images by then."""

    event: Literal["asked"]
    configurations: list[Name]
    seeds: list[Whole]
    racing: StrictBool
    looks: Count | None = None


class Dropped(_Said):
    """A race has dropped a configuration."""

    event: Literal["dropped"]
    configuration: Name
    seeds: Count


class Git(BaseModel):
    """The commit of a checkout, and whether its files were changed since."""

    commit: Text
    changed: StrictBool


class Opened(_Said):
    """The test images are looked at."""

    event: Literal["opened"]
    number: Count
    by: Text
    git: Git | None
    orchestrator: Text


class Read(_Said):
    """Which test images they were."""

    event: Literal["read"]
    opening: Count
    images: Count
    digest: Text


class Measured(_Said):
    """What a final model reached on the test images."""

    event: Literal["measured"]
    opening: Count
    run: Name
    images: Annotated[Count, Field(ge=1)]
    measures: dict[str, Number]


Known = Start | Epoch | Placed | Params | Interrupted | End | Asked | Dropped | Opened | Read | Measured
_KNOWN: TypeAdapter[Any] = TypeAdapter(Annotated[Known, Field(discriminator="event")])


NAMES = tuple(get_args(kind.model_fields["event"].annotation)[0] for kind in get_args(Known))


def fault(event: object, objective: Objective | None = None) -> str:
    """What is wrong with an event, in words; nothing where it is sound.

    objective: what the study is judged by, where that is known; only values that it can have are sound.
    """
    if not isinstance(event, dict):
        return f"an event is an object, but this is {shown(event)}"
    if event.get("event") not in NAMES:
        return f"no event is called {shown(event.get('event'))}; there are {', '.join(NAMES)}"
    try:
        _KNOWN.validate_python(event)
    except ValidationError as error:
        return told(error, outer=1)
    return _beyond(event, objective) if objective else ""


def _beyond(event: Event, objective: Objective) -> str:
    """The value of the objective, where there should be one and it is none."""
    low, high = objective.bounds
    if event["event"] == "epoch" and not objective.holds(event["objective"]):
        value = shown(event["objective"])
        return f"objective: {objective.label} is a number from {low:g} to {high:g}, but it is {value}"
    if event["event"] == "measured" and not objective.holds(event["measures"].get(objective.key, math.nan)):
        return f"measures: {objective.key} is a number from {low:g} to {high:g}"
    return ""
