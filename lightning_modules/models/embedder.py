"""A kept model to take away: vectors of images, and whether two images are of one identity. Nothing is retrained.

A folder that `model_config.save` has written is enough; nothing in it is unpickled. The thresholds that come with a
kept model are calibrated on validation images of classes that training has seen. For identities that it has not seen
the real false-accept rate is usually higher: calibrate on images of your own.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from lightning_modules.heads.base import EmbeddingModule
from lightning_modules.metrics import verification
from lightning_modules.metrics.verification import Calibration, CalibrationError
from lightning_modules.models import model_config
from lightning_modules.models.model_config import Blueprint


class ImageError(ValueError):
    """Images of the wrong kind or shape; the message says what came and what the model takes."""


@dataclass(frozen=True)
class Verdict:
    """Whether two images are said to be of one identity: `similarity` reaches `threshold` or not."""

    same: bool
    similarity: float
    threshold: float


class Embedder:
    """Embeds uint8 images and compares them: by cosine for spherical heads, by negative distance for the others.

    calibration: the thresholds in use, or None; those of `Embedder.load` come from the model's folder.
    """

    def __init__(
        self,
        design: Blueprint,
        module: EmbeddingModule,
        calibration: Calibration | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        self.design, self.calibration, self.about = design, calibration, about or {}
        self._module = module.eval()

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> Embedder:
        """The model in a folder, on a torch device. Raises ModelError for what is no whole model."""
        folder = Path(folder)
        design, module = model_config.load(folder)
        return cls(design, module.to(device), model_config.calibration(folder), model_config.about(folder))

    def save(self, folder: str | Path) -> None:
        """Writes the model with its present calibration to a folder that `load` reads."""
        model_config.save(Path(folder), self.design, self._module.state_dict(), self.about, self.calibration)

    @property
    def spherical(self) -> bool:
        """Is similarity the cosine, or the negative Euclidean distance?"""
        return self._module.spherical

    @property
    def dimensions(self) -> int:
        """D, the length of a vector."""
        return self.design.embedding_dim

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what makes the vectors; vectors of models with different ones cannot be compared."""
        found = hashlib.sha256()
        for name, tensor in sorted(self._module.state_dict().items()):
            if name.startswith(("body.", "pixel_")):
                found.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return found.hexdigest()

    def embed(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors (N, D) of images (N, H, W[, channels]) uint8, or (1, D) of one image (H, W[, channels]).

        They are as the body gives them, not normalised. Raises ImageError.
        """
        images_NHW = self._checked(images)
        if not len(images_NHW):
            return np.empty((0, self.dimensions), np.float32)
        vectors: NDArray[np.float32] = model_config.embed(self._module, images_NHW).cpu().numpy()
        return vectors

    def similarity(self, image: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
        """How alike two images (H, W[, channels]) uint8 are; more is more alike. Raises ImageError."""
        vectors = [self.embed(each) for each in (image, other)]
        if any(len(vector_1D) != 1 for vector_1D in vectors):
            lengths = " and ".join(str(len(each)) for each in vectors)
            raise ImageError(f"one image is compared with one other, but {lengths} came: compare them one by one")
        return float(self.similarities(*vectors)[0, 0])

    def similarities(self, vectors_ND: NDArray[Any], others_MD: NDArray[Any]) -> NDArray[np.float64]:
        """Similarities (N, M) of vectors that `embed` has given."""
        points, others = (torch.from_numpy(np.array(each, np.float64)) for each in (vectors_ND, others_MD))
        found: NDArray[np.float64] = verification.similarity(points, others, spherical=self.spherical).numpy()
        return found

    def verify(self, image: NDArray[np.uint8], other: NDArray[np.uint8], false_accept_rate: float = 1e-3) -> Verdict:
        """Are two images of one identity? At the threshold that accepts such a share of pairs of different ones.

        Raises ImageError, and CalibrationError where there is no calibration or the rate is finer than it supports.
        """
        threshold = self.threshold(false_accept_rate)
        similarity = self.similarity(image, other)
        return Verdict(similarity >= threshold, similarity, threshold)

    def threshold(self, false_accept_rate: float) -> float:
        """The similarity from which a pair is accepted. Raises CalibrationError, as `verify` does."""
        if self.calibration is None:
            raise CalibrationError(
                "this model was kept without a calibration, so no similarity is known to be enough: "
                "call calibrate(images, labels) with several images of several identities"
            )
        return self.calibration.at(false_accept_rate).threshold

    def calibrate(self, images: NDArray[np.uint8], labels: ArrayLike) -> Calibration:
        """Finds the thresholds on all pairs of these images (N, H, W[, channels]) and uses them from now on.

        labels: the identity of each image, whole numbers or texts (N,). Identities that training has not seen give
        the rates that new ones will have. Raises ImageError, ValueError and CalibrationError.
        """
        names = np.asarray(labels)
        vectors_ND = self.embed(images)
        if names.shape != (len(vectors_ND),):
            raise ValueError(
                f"labels must be one for each of {len(vectors_ND)} images, but their shape is {names.shape}"
            )
        numbers = np.unique(names, return_inverse=True)[1].astype(np.int64)
        points, identities = torch.from_numpy(vectors_ND), torch.from_numpy(numbers)
        self.calibration = verification.calibrate(points, identities, spherical=self.spherical)
        return self.calibration

    def _checked(self, images: Any) -> NDArray[np.uint8]:
        """The images as (N, H, W[, channels]), of the model's own shape."""
        shape = rows, columns, channels = self.design.image_shape
        takes = f"this model takes uint8 images of {rows} × {columns} × {channels}, one or (N, …) of them"
        if not isinstance(images, np.ndarray):
            raise ImageError(f"{takes}, as a numpy array, but got {type(images).__name__}: use numpy.asarray")
        if images.dtype != np.uint8:
            raise ImageError(f"{takes}, but got {images.dtype}: give pixels 0 … 255 as uint8; they are scaled inside")
        known = [shape] if channels > 1 else [shape, (rows, columns)]
        if images.shape in known:
            return images[None]
        if images.shape[1:] in known:
            return images
        raise ImageError(f"{takes}, but got shape {images.shape}: resize them")
