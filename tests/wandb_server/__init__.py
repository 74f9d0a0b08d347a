"""A W&B server on loopback, for tests with the real client: it keeps what it is sent, and fails in every way on demand.

It knows nothing of the orchestrator. `server` speaks HTTP, `faults` fails, `answers_*` answer GraphQL out of `state`.
"""

from tests.wandb_server.faults import Fault
from tests.wandb_server.server import WandbServer
from tests.wandb_server.state import Artifact, Run, Sweep, View

__all__ = ["Artifact", "Fault", "Run", "Sweep", "View", "WandbServer"]
