"""Identities by name, enrolled from a few images each and found again in others. Enrolling never retrains.

An identity's template is the mean of its vectors: for spherical heads of the vectors at length 1, brought to length 1
again; for the others the plain mean (the prototypes of Snell et al. 2017, arXiv:1703.05175).
"""

from __future__ import annotations

import io
import json
import os
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightning_modules.formats import json_text, npy
from lightning_modules.metrics.verification import CalibrationError
from lightning_modules.models.embedder import Embedder

SLACK = 1e-6  # of lengths, relative: rounding
ZIP_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, OverflowError),
    *(KeyError, RuntimeError, NotImplementedError, UnicodeDecodeError),
)


class GalleryError(ValueError):
    """An identity that is not there, or a file that is no gallery of this model; the message says what to do."""


@dataclass(frozen=True)
class Match:
    """Who an image shows. name: None if unknown. nearest: the most similar identity, also where it is not enough.

    runner_up: the second most similar, with its similarity; None in a gallery of one. threshold: None in a closed set.
    """

    name: str | None
    nearest: str
    similarity: float
    runner_up: str | None
    runner_up_similarity: float | None
    threshold: float | None


class Gallery:
    """The enrolled identities of one model. names: in the order in which they were first enrolled."""

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._sums: dict[str, NDArray[np.float64]] = {}  # of each name the sum of its vectors, and how many they are
        self._counts: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._sums)

    @property
    def names(self) -> list[str]:
        return [*self._sums]

    def images_of(self, name: str) -> int:
        """How many images an identity was enrolled from. Raises GalleryError."""
        self._known(name)
        return self._counts[name]

    def enroll(self, name: str, images: NDArray[np.uint8]) -> None:
        """Adds images, one or several, to an identity, which is new if its name is. Raises ImageError, GalleryError."""
        vectors_ND = self.embedder.embed(images).astype(np.float64)
        if not len(vectors_ND):
            raise GalleryError(f"{name} cannot be enrolled from no image: give at least one")
        if not np.isfinite(vectors_ND).all():
            raise GalleryError(f"{name} cannot be enrolled: the model gives vectors that are not finite")
        added_D = (_units(vectors_ND) if self.embedder.spherical else vectors_ND).sum(0)
        self._sums[name] = self._sums.get(name, 0.0) + added_D
        self._counts[name] = self._counts.get(name, 0) + len(vectors_ND)

    def remove(self, name: str) -> None:
        """Forgets an identity. Raises GalleryError for one that is not there."""
        self._known(name)
        del self._sums[name], self._counts[name]

    def templates(self) -> NDArray[np.float64]:
        """The templates (K, D) of the identities, in the order of `names`."""
        if not self._sums:
            return np.empty((0, self.embedder.dimensions))
        means_KD = np.stack([self._sums[name] / self._counts[name] for name in self._sums])
        return _units(means_KD) if self.embedder.spherical else means_KD

    def identify(self, images: NDArray[np.uint8], false_accept_rate: float | None = None) -> list[Match]:
        """Who is on each image: the identity with the most similar template.

        false_accept_rate: None for a closed set, in which everyone is enrolled and nobody unknown. In an open set it
        is the share of images of strangers that may be taken for anyone enrolled. A stranger is compared with all K
        identities and may pass for each, so the threshold is not the one of `verify` but that of the rate over K
        (Bonferroni: it holds however the comparisons depend on each other). Two things keep it from being exact: it
        was calibrated on pairs of images, while a template of several images is a little more similar to everyone;
        and on identities that training may have seen. Raises ImageError, GalleryError for an empty gallery, and
        CalibrationError where the rate over K is finer than the calibration supports.
        """
        return self.identify_vectors(self.embedder.embed(images), false_accept_rate)

    def identify_vectors(self, vectors_ND: NDArray[np.float32], false_accept_rate: float | None = None) -> list[Match]:
        """As `identify`, of vectors (N, D) that the embedder has given."""
        if not self._sums:
            raise GalleryError("nobody is enrolled yet: call enroll(name, images) first")
        threshold = None if false_accept_rate is None else self._threshold(false_accept_rate)
        similarity_NK = self.embedder.similarities(vectors_ND, self.templates())
        order_NK = np.argsort(-similarity_NK, axis=1, kind="stable")
        return [self._match(*ranked, threshold) for ranked in zip(similarity_NK, order_NK, strict=True)]

    def save(self, path: str | Path) -> None:
        """Writes the gallery as .npz, whole or not at all; no pickle is in it."""
        path, stream = Path(path), io.BytesIO()
        about = {"names": self.names, "model": self.embedder.fingerprint}
        np.savez(
            stream,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            sums=np.stack([*self._sums.values()]) if self._sums else np.empty((0, self.embedder.dimensions)),
            counts=np.array([*self._counts.values()], np.int64),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_bytes(stream.getvalue())
        os.replace(beside, path)

    @classmethod
    def load(cls, path: str | Path, embedder: Embedder) -> Gallery:
        """The gallery in a file that `save` has written with this model. Raises GalleryError; nothing is unpickled."""
        gallery = cls(embedder)
        try:
            about, sums_KD, counts_K = _parts(Path(path).read_bytes())
            names, model = about["names"], about["model"]
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise GalleryError(f"{path} holds no gallery that can be read: {error}") from error
        if model != embedder.fingerprint:
            raise GalleryError(f"{path} was made with another model, whose vectors mean other things: enroll again")
        if wrong := _contradiction(names, sums_KD, counts_K, embedder):
            raise GalleryError(f"{path} holds no gallery that can be read: {wrong}; enroll again")
        gallery._sums = dict(zip(names, sums_KD, strict=True))
        gallery._counts = dict(zip(names, map(int, counts_K), strict=True))
        return gallery

    def _known(self, name: str) -> None:
        if name not in self._sums:
            raise GalleryError(f"nobody called {name} is enrolled; there are {', '.join(self.names) or 'none'}")

    def _threshold(self, false_accept_rate: float) -> float:
        if not 0 < false_accept_rate < 1:
            raise ValueError(f"false_accept_rate must be above 0 and below 1, but got {false_accept_rate}")
        try:
            return self.embedder.threshold(false_accept_rate / len(self))
        except CalibrationError as error:
            rate = f"{false_accept_rate:g} over {len(self)} identities"
            raise CalibrationError(f"a search at {rate}: {error}") from error

    def _match(self, similarity_K: NDArray[np.float64], order_K: NDArray[np.intp], threshold: float | None) -> Match:
        names, first = self.names, int(order_K[0])
        best = float(similarity_K[first])
        found = names[first] if threshold is None or best >= threshold else None
        if len(names) == 1:
            return Match(found, names[first], best, None, None, threshold)
        second = int(order_K[1])
        return Match(found, names[first], best, names[second], float(similarity_K[second]), threshold)


def _units(vectors_ND: NDArray[np.float64]) -> NDArray[np.float64]:
    """At length 1; a zero vector stays one."""
    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return vectors_ND / np.where(lengths_N1 > 0, lengths_N1, 1.0)


def _parts(content: bytes) -> tuple[dict[str, Any], NDArray[Any], NDArray[Any]]:
    """Names and model, sums and counts of a gallery's file. Raises ValueError; nothing is larger than the file."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            parts = {name: file.getinfo(f"{name}.npy") for name in ("about", "sums", "counts")}
            if any(
                part.file_size > len(content) or part.compress_type != zipfile.ZIP_STORED for part in parts.values()
            ):
                raise ValueError("its parts are larger than the file")
            about, sums_KD, counts_K = (npy.decode(file.read(part)) for part in parts.values())
    except ZIP_ERRORS as error:
        raise ValueError(str(error)) from error
    known = json_text.parse(about.tobytes())
    if not isinstance(known, dict):
        raise ValueError("it names nobody and no model")
    return known, sums_KD, counts_K


def _contradiction(names: Any, sums_KD: NDArray[Any], counts_K: NDArray[Any], embedder: Embedder) -> str:
    """What of a gallery cannot be as it says; nothing where all fits."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len({*names}) != len(names):
        return "its names are not texts, each once"
    shape = len(names), embedder.dimensions
    if sums_KD.dtype != np.float64 or sums_KD.shape != shape:
        return f"its sums are {sums_KD.dtype} of shape {sums_KD.shape}, not float64 of {shape}"
    if counts_K.dtype != np.int64 or counts_K.shape != shape[:1] or (counts_K < 1).any():
        return f"its {len(names)} counts of images are not whole numbers from 1"
    lengths_K = np.linalg.norm(sums_KD, axis=1)
    if not np.isfinite(lengths_K).all():
        return "its sums are not finite"
    if embedder.spherical and (lengths_K > counts_K * (1 + SLACK)).any():
        return "its sums are longer than as many vectors of length 1"
    return ""
