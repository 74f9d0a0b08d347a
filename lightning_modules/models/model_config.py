"""All that is needed to build a head again, and its weights on disk: safetensors and JSON, never a pickle."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_modules.formats import json_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from lightning_modules.heads.base import EmbeddingModule
    from lightning_modules.metrics.verification import Calibration

WEIGHTS, CONFIG = "model.safetensors", "config.json"
IMAGES_AT_A_TIME = 1024
MOST_CONFIG_BYTES, MOST_SAID = 2**24, 500
MOST_SIZE = 2**24  # of a layer


class ModelError(ValueError):
    """A model's folder that is missing, damaged or of another kind; the message says what and where."""


@dataclass(frozen=True)
class Blueprint:
    """A head with its settings, a body and the images that it takes. params: those of the recipe and of the head."""

    head: str
    params: dict[str, Any]
    body: str
    body_options: dict[str, Any]
    embedding_dim: int
    num_classes: int
    image_shape: tuple[int, int, int]
    pixel_mean: float
    pixel_std: float

    def build(self) -> EmbeddingModule:
        """The module, with fresh weights: parameters of the recipe go there, the others to the head."""
        from lightning_modules.bodies import BODIES
        from lightning_modules.heads import head_class
        from lightning_modules.heads.base import Recipe, Trunk

        recipe_names = {field.name for field in fields(Recipe)}
        recipe = Recipe(**{name: value for name, value in self.params.items() if name in recipe_names})
        body = BODIES.make(self.body, **self.body_options).build(self.image_shape, self.embedding_dim)
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
    written = packed({name: tensor.contiguous() for name, tensor in weights.items()})
    (folder / WEIGHTS).write_bytes(written)
    digest = hashlib.sha256(written).hexdigest()
    content: dict[str, Any] = {"about": about, "blueprint": asdict(blueprint), "weights_sha256": digest}
    if calibration is not None:
        content["verification"] = calibration.as_dict()
    beside = folder / f".{CONFIG}"
    beside.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(beside, folder / CONFIG)


def about(folder: Path) -> dict[str, Any]:
    """What a model's folder says of where it comes from; empty where there is no model, or a broken one."""
    try:
        known: dict[str, Any] = _config(folder)["about"]
    except ModelError:
        return {}
    return known


def is_whole(folder: Path) -> bool:
    """Whether both files of a model are there and as they were written."""
    try:
        _weights(folder, _config(folder))
    except ModelError:
        return False
    return True


def calibration(folder: Path) -> Calibration | None:
    """The thresholds that were kept with a model; None where there are none. Raises ModelError."""
    from lightning_modules.metrics.verification import Calibration, CalibrationError

    known = _config(folder).get("verification")
    try:
        return None if known is None else Calibration.from_dict(known)
    except (ValueError, AttributeError, CalibrationError) as error:
        raise ModelError(f"{folder} holds no calibration that can be read: {error}") from error


def load(folder: Path) -> tuple[Blueprint, EmbeddingModule]:
    """The module in a folder that `save` has written, ready to embed. Raises ModelError. Nothing is unpickled."""
    known = _config(folder)
    weights = _weights(folder, known)
    try:
        blueprint = _checked(known["blueprint"])
        _check_size(blueprint, weights)
        module = blueprint.build()
        module.load_state_dict(weights)
    except (ImportError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise ModelError(f"{folder} holds no model that can be loaded: {str(error)[:MOST_SAID]}") from error
    return blueprint, module.eval()


def _config(folder: Path) -> dict[str, Any]:
    """What a model's config.json says. Raises ModelError."""
    try:
        with open(folder / CONFIG, "rb") as file:
            known = json_text.parse(file.read(MOST_CONFIG_BYTES))
        if not isinstance(known, dict) or not all(isinstance(known.get(key), dict) for key in ("about", "blueprint")):
            raise ValueError("it says nothing about a model")
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder} holds no model that can be loaded: {CONFIG}: {error}") from error
    return known


def _weights(folder: Path, known: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a model, as they were written and finite. Raises ModelError."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = (folder / WEIGHTS).read_bytes()
        if (digest := known.get("weights_sha256")) and digest != hashlib.sha256(content).hexdigest():
            raise ValueError("it is not the file that was written")
        weights = load(content)
        if broken := [name for name, tensor in weights.items() if not tensor.isfinite().all()]:
            raise ValueError(f"{broken[0]} is not finite")
    except (OSError, ValueError, LookupError, TypeError, RuntimeError, SafetensorError) as error:
        raise ModelError(f"{folder} holds no model that can be loaded: {WEIGHTS}: {str(error)[:MOST_SAID]}") from error
    return weights


def _checked(known: dict[str, Any]) -> Blueprint:
    """The blueprint that a config tells of. Raises TypeError or ValueError for one that nobody would build."""
    from lightning_modules.bodies import BODIES

    blueprint = Blueprint(**{**known, "image_shape": tuple(known["image_shape"])})
    sizes = [blueprint.embedding_dim, blueprint.num_classes, *blueprint.image_shape]
    if any(type(size) is not int or not 0 <= size <= MOST_SIZE for size in sizes) or len(blueprint.image_shape) != 3:
        raise ValueError(f"its sizes are whole numbers from 0 to {MOST_SIZE:,}")
    BODIES.make(blueprint.body, **blueprint.body_options)
    if not isinstance(blueprint.head, str) or not isinstance(blueprint.params, dict):
        raise TypeError("it names no head with its settings")
    return blueprint


def _check_size(blueprint: Blueprint, weights: dict[str, Tensor]) -> None:
    """Raises ValueError, before memory is taken for it, where a model is not of the size that its weights are."""
    found = {name: tensor.shape for name, tensor in weights.items()}
    try:
        wanted = _shapes(blueprint)
    except TypeError:  # a loss of another library that computes with its weights when it is made: the body's, then
        wanted = _of_body(_shapes(replace(blueprint, head="softmax", params={})))
        found = _of_body(found)
        if blueprint.num_classes * blueprint.embedding_dim > sum(tensor.numel() for tensor in weights.values()):
            raise ValueError("config and weights are of different models: fewer weights than classes need") from None
    for name in wanted.keys() | found.keys():
        if wanted.get(name) != found.get(name):
            shapes = f"{name} should be of shape {wanted.get(name)}, but it is of {found.get(name)}"
            raise ValueError(f"config and weights are of different models: {shapes}")


def _of_body(shapes: dict[str, Any]) -> dict[str, Any]:
    return {name: shape for name, shape in shapes.items() if name.startswith("body.")}


def _shapes(blueprint: Blueprint) -> dict[str, Any]:
    """Of each tensor of a model that is built without memory for it."""
    import torch

    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in blueprint.build().state_dict().items()}


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
