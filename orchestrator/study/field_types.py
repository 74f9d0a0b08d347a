"""The kinds of values in a study: their bounds, and what is said where one is refused.

A bound that nature does not give is generous: it is there so that a slip of the finger is refused at once, and not
after an hour or a terabyte. Knows no section of a study.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from lightning_modules import objectives
from lightning_modules.registry import plain_text
from orchestrator.errors import did_you_mean
from search_spaces import distributions

AUTO = "auto"
SMALLEST_BATCH, LARGEST_BATCH = 16, 2**20
SMALLEST_SHARE = 1e-4  # of a core or a GPU: Ray counts no smaller ones
MOST_SEARCHED = 5  # parameters of one head; more cannot be searched with an equal, affordable budget
MOST_SEEDS = 1000  # of one configuration: their mean is known to a thirtieth of their spread


def _check_space(written: Any) -> Any:
    """Refuses what is neither `auto` nor a distribution, at its own place in the study."""
    if written != AUTO:
        try:
            distributions.parse(written)
        except distributions.SpaceError as error:
            raise PydanticCustomError("space", "{rule}", {"rule": error.rule, "fix": error.fix}) from error
    return written


def _check_constant(written: Any) -> Any:
    """Refuses what is no value of a setting."""
    if isinstance(written, bool | int | float | str):
        return _check_space(written)
    rule = {"rule": "must be one number, text or truth value", "fix": "write a number"}
    raise PydanticCustomError("space", "{rule}", rule)


def _check_share(written: float) -> float:
    if not 0 < written < SMALLEST_SHARE:
        return written
    rule = {"rule": f"must be 0, or {SMALLEST_SHARE:g} at least", "fix": f"write 0, or {SMALLEST_SHARE:g}"}
    raise PydanticCustomError("space", "{rule}", rule)


def _whole_or_auto(most: int) -> BeforeValidator:
    def check(written: Any) -> Any:
        if written == AUTO or (isinstance(written, int) and not isinstance(written, bool) and 0 <= written <= most):
            return written
        rule = {"rule": f"must be a whole number from 0 to {most}, or auto", "fix": "write a whole number, or auto"}
        raise PydanticCustomError("space", "{rule}", rule)

    return BeforeValidator(check)


def _check_currency(written: Any) -> Any:
    if isinstance(written, str) and len(written) == 3 and written.isascii() and written.isalpha() and written.isupper():
        return written
    meant = written.strip().upper() if isinstance(written, str) and written.isascii() else ""
    fix = f"write {meant}" if len(meant) == 3 and meant.isalpha() else "write USD, EUR or the like"
    raise PydanticCustomError("space", "{rule}", {"rule": "must be three capital letters, as in ISO 4217", "fix": fix})


def _check_objective(written: str) -> str:
    known = objectives.names()
    if written in known:
        return written
    rule = {"rule": f"must be one of {', '.join(known)}", "fix": did_you_mean(written, known)}
    raise PydanticCustomError("space", "{rule}", rule)


def ranked(written: list[str]) -> list[str]:
    """Objectives in the order in which they count. Accuracy led the pair in either order when there were only two."""
    return ["accuracy", "separation"] if written == ["separation", "accuracy"] else written


Space = Annotated[Any, BeforeValidator(_check_space)]
Constant = Annotated[Any, BeforeValidator(_check_constant)]
WholeOrAuto = Annotated[Any, _whole_or_auto(2**31 - 1)]
SeedsOrAuto = Annotated[Any, _whole_or_auto(MOST_SEEDS)]
Currency = Annotated[str, BeforeValidator(_check_currency)]
Price = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]
ObjectiveName = Annotated[str, AfterValidator(_check_objective)]
Count = Annotated[int, Field(ge=1, lt=2**31)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Cores = Annotated[float, Field(ge=SMALLEST_SHARE, le=1e6, allow_inf_nan=False)]
Gpus = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False), AfterValidator(_check_share)]
Chips = Annotated[int, Field(ge=0, le=1_000_000)]
Text = Annotated[str, Field(max_length=200), AfterValidator(plain_text)]
LongText = Annotated[str, Field(max_length=10_000), AfterValidator(plain_text)]
FEW = Field(max_length=100)  # more than there are heads, or settings of one
