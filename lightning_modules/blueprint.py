"""All that is needed to build a head again, and its weights on disk: safetensors and JSON, never a pickle."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from lightning_modules.embedding import EmbeddingModule
    from lightning_modules.geometry.verification import Calibration

WEIGHTS, CONFIG = "model.safetensors", "config.json"
IMAGES_AT_A_TIME = 1024


class ModelError(ValueError):
    """A model's folder that is missing, damaged or of another kind; the message says what and where."""


@dataclass(frozen=True)
class Blueprint:
    """A head with its settings, a body and the images that it takes. params: those of the recipe and of the head."""

    head: str
    params: dict[str, Any]
    body: str
    body_options: dict[str, int]
    embedding_dim: int
    num_classes: int
    image_shape: tuple[int, int, int]
    pixel_mean: float
    pixel_std: float

    def build(self) -> EmbeddingModule:
        """The module, with fresh weights: parameters of the recipe go there, the others to the head."""
        from lightning_modules import bodies, head_class
        from lightning_modules.embedding import Recipe, Trunk

        recipe_names = {field.name for field in fields(Recipe)}
        recipe = Recipe(**{name: value for name, value in self.params.items() if name in recipe_names})
        body = bodies.build(self.body, self.image_shape, self.embedding_dim, **self.body_options)
        trunk = Trunk(body, self.num_classes, self.embedding_dim, recipe, self.pixel_mean, self.pixel_std)
        own = {name: value for name, value in self.params.items() if name not in recipe_names}
        return head_class(self.head)(trunk, **own)


def save(
    folder: Path,
    blueprint: Blueprint,
    weights: dict[str, Tensor],
    about: dict[str, Any],
    calibration: Calibration | None = None,
) -> None:
    """Writes `model.safetensors` and `config.json`, which also says what the model is `about`, and its thresholds."""
    from safetensors.torch import save as packed

    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).unlink(missing_ok=True)  # written last: a folder with one is whole
    (folder / WEIGHTS).write_bytes(packed({name: tensor.contiguous() for name, tensor in weights.items()}))
    content: dict[str, Any] = {"about": about, "blueprint": asdict(blueprint)}
    if calibration is not None:
        content["verification"] = calibration.as_dict()
    beside = folder / f".{CONFIG}"
    beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(beside, folder / CONFIG)


def about(folder: Path) -> dict[str, Any]:
    """What a model's folder says of where it comes from; empty where there is no model."""
    path = folder / CONFIG
    known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["about"] if path.exists() else {}
    return known


def calibration(folder: Path) -> Calibration | None:
    """The thresholds that were kept with a model; None where there are none. Raises ModelError."""
    from lightning_modules.geometry.verification import Calibration, CalibrationError

    try:
        known = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("verification")
        return None if known is None else Calibration.from_dict(known)
    except (OSError, ValueError, AttributeError, CalibrationError) as error:
        raise ModelError(f"{folder} holds no calibration that can be read: {error}") from error


def load(folder: Path) -> tuple[Blueprint, EmbeddingModule]:
    """The module in a folder that `save` has written, ready to embed. Raises ModelError. Nothing is unpickled."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        known = json.loads((folder / CONFIG).read_text(encoding="utf-8"))["blueprint"]
        blueprint = Blueprint(**{**known, "image_shape": tuple(known["image_shape"])})
        module = blueprint.build()
        module.load_state_dict(load_file(folder / WEIGHTS))
    except (
        OSError,
        ImportError,
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        RuntimeError,
        SafetensorError,
    ) as error:
        raise ModelError(f"{folder} holds no model that can be loaded: {error}") from error
    return blueprint, module.eval()


def centres(folder: Path) -> NDArray[np.float32] | None:
    """The class centres (C, D) of the model in a folder; None where there is no model, or none in it. No torch."""
    from safetensors import SafetensorError, safe_open

    if not (folder / CONFIG).exists():
        return None
    try:
        with safe_open(folder / WEIGHTS, "numpy") as weights:
            return weights.get_tensor("centres") if "centres" in weights.keys() else None  # noqa: SIM118
    except (OSError, SafetensorError):
        return None


def embed(module: EmbeddingModule, images: NDArray[np.uint8]) -> Tensor:
    """Embeddings (N, D) float32 of images (N, H, W[, channels]), on the module's device."""
    import torch

    module.eval()
    with torch.inference_mode():
        starts = range(0, len(images), IMAGES_AT_A_TIME)
        blocks = (torch.tensor(images[start : start + IMAGES_AT_A_TIME]) for start in starts)
        return torch.cat([module(block.to(module.device)) for block in blocks])
