"""What W&B's own variables leave of what a study asks for: they may keep it from being sent, or from being kept.

WANDB_MODE=disabled and WANDB_DISABLED=true switch W&B off; WANDB_MODE=offline, or dryrun as it was called, keeps a
search from sending. Whoever calls `sync` asks for sending, and gets it unless W&B is off.
"""

from __future__ import annotations

import os

from orchestrator.study.schema import Study

OFF, OFFLINE = ("disabled",), ("offline", "dryrun")
YES = ("1", "true", "yes", "on")


def off() -> str:
    """The variable that switches W&B off here, and its value; "" where none does."""
    if os.environ.get("WANDB_MODE", "").lower() in OFF:
        return "WANDB_MODE=disabled"
    return "WANDB_DISABLED=true" if os.environ.get("WANDB_DISABLED", "").lower() in YES else ""


def mode_of(study: Study) -> str:
    """off, offline or online: how a study is kept for W&B, here and now."""
    if off():
        return "off"
    offline = os.environ.get("WANDB_MODE", "").lower() in OFFLINE
    return "offline" if offline and study.tracking.mode == "online" else study.tracking.mode


def said(study: Study) -> str:
    """That mode, and what made it another than the study's."""
    mode = mode_of(study)
    return mode if mode == study.tracking.mode else f"{mode}, as {off() or 'WANDB_MODE=offline'} says"
