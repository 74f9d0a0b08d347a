"""Losses of pytorch-metric-learning as heads: `pml.ProxyAnchorLoss` and its like, their settings and what `auto` means.

The settings of a loss are the numbers of its constructor, read from the installed package's source.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path

from search_spaces import pml_source
from search_spaces.distributions import Choice, Range, Value, short
from search_spaces.pml_source import Constructor
from search_spaces.settings import HEAD_LR, SWITCH, Auto, AutoRule, HeadSpace, Role, Setting, fixed

PREFIX = "pml."
EXTRA = "pip install 'embedding-head-orchestrator[metric-learning]'"
MOST_SEARCHED = 4  # with the learning rates, so that no loss gets a larger space than another
ANOTHER = f"write another loss, such as {PREFIX}SupConLoss"
SPREAD = 3  # auto: from a third of a default to three times it

_BASE = "it is a base of losses, and none itself"
_WRAPPER = "it wraps another loss"
LEFT_OUT = {
    "BaseLossWrapper": _BASE,
    "BaseMetricLossFunction": _BASE,
    "EmbeddingRegularizerMixin": _BASE,
    "GenericPairLoss": _BASE,
    "WeightRegularizerMixin": _BASE,
    "CrossBatchMemory": _WRAPPER,
    "MultipleLosses": _WRAPPER,
    "SelfSupervisedLoss": _WRAPPER,
    "ManifoldLoss": "it takes no labels",
    "VICRegLoss": "it takes no labels, but two views of each image",
    "DynamicSoftMarginLoss": "its histogram keeps the gradients of earlier steps, and a second step fails",
    "HistogramLoss": "it lists every triplet to find the pairs: seconds a step with batches of 256",
    "InstanceLoss": "with labels it takes the first images of a batch for the classes, and learns nothing",
    "SmoothAPLoss": "it is right only for batches sorted by class, with as many classes as images of each",
}
REQUIRED: dict[str, dict[str, tuple[Value, str]]] = {  # where the constructor has no default
    "RankedListLoss": {
        "margin": (0.4, "a start of ours, for the loss has no default"),
        "Tn": (5, "the largest that the loss takes without a warning"),
    }
}
LIMITS = {  # (low, high) that the formula itself sets
    ("AngularLoss", "alpha"): (1.0, 89.0),
    ("ArcFaceLoss", "margin"): (0.0, 180.0),
    ("SubCenterArcFaceLoss", "margin"): (0.0, 180.0),
    ("TupletMarginLoss", "margin"): (0.0, 180.0),
    ("RankedListLoss", "imbalance"): (0.0, 1.0),
    ("RankedListLoss", "Tn"): (0.0, 5.0),
    ("RankedListLoss", "Tp"): (0.0, 5.0),
}
DEGREES = {key for key, limit in LIMITS.items() if limit[1] in (89.0, 180.0)}
WHOLE = re.compile(
    r"(num|n|sub)_.*|.*_per_.*"
)  # names of what is counted; other whole defaults are factors, such as 64
WHOLE_TOO = {("LargeMarginSoftmaxLoss", "margin"), ("SphereFaceLoss", "margin")}  # multiples of an angle
CONDITIONS: dict[tuple[str, str], tuple[str, Value]] = {  # read only if that other setting has that value
    ("MarginLoss", "nu"): ("learn_beta", True),
    ("PNPLoss", "alpha"): ("variant", "Dq"),
    ("PNPLoss", "b"): ("variant", "Ib"),
}


@dataclass(frozen=True)
class Whole(Setting):
    """A setting that counts something: 3, and not 3.0, which a constructor would take for a length."""

    def refusal(self, value: Value) -> tuple[str, str] | None:
        if isinstance(value, float) and isinstance(self.valid, Range):
            return "must be a whole number", f"write {self.valid.clipped(value):.0f}"
        return super().refusal(value)


def is_installed() -> bool:
    """Whether pytorch-metric-learning is; nothing of it is imported."""
    return pml_source.folder() is not None


def names() -> list[str]:
    """The heads that the installed package offers, such as pml.ArcFaceLoss; none where it is not installed."""
    losses = pml_source.folder()
    return [*_names(losses)] if losses else []


@functools.cache
def _names(losses: Path) -> tuple[str, ...]:
    found = (name for name in pml_source.exported(losses) if name not in LEFT_OUT and not _missing(name))
    return tuple(sorted(PREFIX + name for name in found))


def refusal(head: str) -> tuple[str, str] | None:
    """(rule, fix) for the name of a loss that cannot be had; None for a supported one, and for what is no loss."""
    prefix, dot, loss = head.partition(".")
    if prefix + "." != PREFIX:
        return None
    if not is_installed():
        return "losses of pytorch-metric-learning come with an extra", EXTRA
    if not dot or not loss:
        return "a loss of pytorch-metric-learning is one key with its name", f"write {PREFIX}ProxyAnchorLoss:"
    if loss in LEFT_OUT:
        return f"{loss} is left out: {LEFT_OUT[loss]}", ANOTHER
    if missing := _missing(loss):
        return f"{loss} needs {', '.join(missing)}, without a default", ANOTHER
    return None


def _missing(loss: str) -> list[str]:
    """What a loss of a newer version may need that nobody here knows."""
    losses = pml_source.folder()
    if losses is None or loss not in pml_source.exported(losses):
        return []
    return [name for name in pml_source.constructor(losses, loss).required if name not in REQUIRED.get(loss, {})]


def space(head: str) -> HeadSpace:
    """What a loss lets one search, its training apart; KeyError for what is no supported loss."""
    losses, loss = pml_source.folder(), head.removeprefix(PREFIX)
    if losses is None or head not in names():
        raise KeyError(head)
    known = pml_source.constructor(losses, loss)
    filled = REQUIRED.get(loss, {})
    defaults = {name: value for name, (value, _) in filled.items()} | known.defaults
    head_lr = {"head_lr": HEAD_LR} if known.needs else {}
    searched = _searched(loss, defaults)[: MOST_SEARCHED - 1 - len(head_lr)]
    ordered = sorted(defaults, key=lambda name: not isinstance(defaults[name], bool | str))  # conditions first
    own = {name: _setting(loss, name, defaults[name], known, name in searched) for name in ordered}
    return HeadSpace(head_lr | own | _learned_on_demand(defaults))


def _learned_on_demand(defaults: dict[str, Value]) -> dict[str, Setting]:
    if "learn_beta" not in defaults:
        return {}
    return {"head_lr": Setting(HEAD_LR.valid, HEAD_LR.unit, fixed(0.05, "beta is one number"), ("learn_beta", True))}


def _searched(loss: str, defaults: dict[str, Value]) -> list[str]:
    """The positive numbers that count nothing: margins first, then scales, each in the constructor's order."""
    found = [
        name
        for name, value in defaults.items()
        if not isinstance(value, bool | str) and value > 0 and not _is_whole(loss, name, value)
    ]
    return sorted((name for name in found if (loss, name) not in CONDITIONS), key=lambda name: not _is_margin(name))


def _is_margin(name: str) -> bool:
    return "margin" in name or name == "m"


def _is_whole(loss: str, name: str, default: Value) -> bool:
    return isinstance(default, int) and ((loss, name) in WHOLE_TOO or WHOLE.fullmatch(name) is not None)


def _setting(loss: str, name: str, default: Value, known: Constructor, searched: bool) -> Setting:
    when = CONDITIONS.get((loss, name))
    source = REQUIRED.get(loss, {}).get(name, (default, "the loss's own default"))[1]
    if isinstance(default, bool):
        return Setting(SWITCH, "yes or no", fixed(default, source), when)
    if isinstance(default, str):
        return Setting(Choice(known.choices.get(name, (default,))), "a rule", fixed(default, source), when)
    if _is_whole(loss, name, default):
        return Whole(Range(1, 1e4, integer=True), "a whole number", fixed(default, source), when)
    valid = _valid(loss, name, default)
    unit = "degrees" if (loss, name) in DEGREES else "a number"
    auto = _around(default, valid, source) if searched else fixed(default, source)
    return Setting(valid, unit, auto, when, _role(name))


def _role(name: str) -> Role | None:
    return "margin" if _is_margin(name) else "scale" if name == "scale" else None


def _valid(loss: str, name: str, default: float) -> Range:
    if (loss, name) in LIMITS:
        return Range(*LIMITS[loss, name])
    return Range(1e-9, 1e9) if default > 0 and not _is_margin(name) else Range(-1e9, 1e9)


def _around(default: float, valid: Range, source: str) -> AutoRule:
    low, high = default / SPREAD, min(default * SPREAD, valid.high)
    reason = f"a third to three times {source} {short(default)}"
    if source != "the loss's own default":
        reason = f"a third to three times {short(default)}, {source}"
    if high < default * SPREAD:
        reason += f"; {valid.high:g} is the largest there is"
    return lambda classes, dimensions: Auto(Range(low, high, log=True), float(default), reason)
