"""What is trained: bodies, heads, data and measures on embeddings.

Knows torch and Lightning; never Ray, W&B or the orchestrator. Importing this package loads neither torch nor
Lightning, so that a study can be checked in a fraction of a second.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightning_modules.heads.base import EmbeddingModule


def head_class(name: str) -> type[EmbeddingModule]:
    """The head class that `lightning_modules/heads/<name>.py` defines, or that of a loss such as pml.ProxyAnchorLoss.

    A new head needs no registration: its file is found by its name.
    """
    from lightning_modules.heads.angular import AngularHead
    from lightning_modules.heads.base import EmbeddingModule

    library, dot, loss = name.partition(".")
    if dot and library == "pml":
        from lightning_modules.heads import pml

        return pml.of_loss(loss)
    module = importlib.import_module(f"lightning_modules.heads.{name}")
    bases = (EmbeddingModule, AngularHead)
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, EmbeddingModule) and value not in bases:
            found: type[EmbeddingModule] = value
            return found
    raise ImportError(f"lightning_modules/heads/{name}.py defines no head")
