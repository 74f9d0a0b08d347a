"""The Weights & Biases mirror: what people look at. The study's own record is the truth, and all here is made from it.

    records ─ follower_process ─ update_queue ─ mirror ─ run    while a study runs: a process beside the driver
    records ─ sync ─ run                                        later: what W&B lacks, and nothing twice
    W&B ─ remote_state ─ records                                back again, to look at a sweep as at a folder

Only this package imports wandb. A trial never does, and no key reaches a worker, a record or a study.
"""

from orchestrator.system.commands import ours


def remedy(folder: object) -> str:
    """What makes up for whatever W&B did not get of a study. folder: where people find it."""
    return f"{ours('sync', folder)} sends what is missing"
