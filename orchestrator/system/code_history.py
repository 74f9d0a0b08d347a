"""Which code has trained for a study: what its provenance tells of the launch and of every time it went on."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from orchestrator.system import fingerprint

Entry = Mapping[str, Any]
PACKAGES = (
    "torch",
    "pytorch-lightning",
    "ray",
    "optuna",
    "wandb",
    "numpy",
    "scipy",
    "matplotlib",
    "pydantic",
)
TRAIN = ("torch", "numpy")  # whose versions a model's last digits depend on


def entries(provenance: Entry) -> list[Entry]:
    """The launch, and every time that the study went on."""
    return [provenance, *provenance.get("resumed", [])]


def accepted(provenance: Entry) -> list[Entry]:
    """Of each code that was meant to train, the first entry: that of the launch, and others where it was asked for.

    An entry of an old version does not tell; then the first one that does counts as the launch's.
    """
    told = [each for each in entries(provenance) if "trains" in each]
    meant = told[:1] + [each for each in told if each.get("other_code")]
    return list({each["trains"]: each for each in reversed(meant)}.values())[::-1]


def is_accepted(provenance: Entry) -> bool:
    """Whether this process's code is one of those, or nobody wrote down which there were."""
    known = {each["trains"] for each in accepted(provenance)}
    return not known or fingerprint.of_code() in known


def caution(provenance: Entry) -> str:
    """What must stand beside the numbers of a study that several codes have trained for; nothing for all others."""
    codes = accepted(provenance)
    if len(codes) < 2:
        return ""
    return f"CAUTION: {len(codes)} versions of the code trained its models: {', then '.join(map(said, codes))}."


def said(entry: Entry) -> str:
    """Which code an entry tells of, in words."""
    git, version = entry.get("git"), f"orchestrator {entry.get('orchestrator')}"
    changed = " with changes on top" if git and git["changed"] else ""
    commit = f", commit {git['commit'][:10]}{changed}" if git else ""
    return f"{version}{commit} ({entry['trains']})" if "trains" in entry else f"{version}{commit}"


def packages() -> dict[str, str | None]:
    """The versions of what this code stands on, as they are installed here."""
    return {name: _version(name) for name in PACKAGES}


def other_packages(provenance: Entry) -> list[str]:
    """What trains here in another version than when the study last went on, in words."""
    then, now = entries(provenance)[-1].get("packages", {}), packages()
    return [f"{name} {then[name]} → {now[name]}" for name in TRAIN if then.get(name, now[name]) != now[name]]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
