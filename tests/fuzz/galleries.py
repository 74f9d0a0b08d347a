"""Galleries that are broken: one in which images are found, or a GalleryError."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from lightning_modules.models.embedder import Embedder
from lightning_modules.models.gallery import Gallery, GalleryError
from lightning_modules.models.model_config import Blueprint
from tests.fuzz import mutations
from tests.fuzz.child import Case

CASES = 2500
IMAGES = np.random.default_rng(0).integers(256, size=(12, 8, 8), dtype=np.uint8)


def prepare(folder: Path) -> Case:
    """A gallery of four identities, whose file each case breaks: as bytes, in one of its arrays, or in what it says."""
    design = Blueprint("softmax", {}, "strided", {"width": 2, "hidden": 4}, 3, 4, (8, 8, 1), 100.0, 50.0)
    embedder, path = Embedder(design, design.build()), folder / "people.npz"
    gallery = Gallery(embedder)
    for number, name in enumerate(("Ada", "Grace", "Émilie", "Sofja")):
        gallery.enroll(name, IMAGES[3 * number : 3 * number + 3])
    gallery.save(path)
    whole = path.read_bytes()

    def case(random: Random) -> str:
        path.write_bytes(random.choice((mutations.of_bytes, _with_odd_parts))(whole, random))
        try:
            known = Gallery.load(path, embedder)
        except GalleryError:
            return "refused"
        for match in known.identify(IMAGES) if len(known) else ():
            assert np.isfinite(match.similarity)
        return "loaded"

    return case


def _with_odd_parts(content: bytes, random: Random) -> bytes:
    """The file with one of its parts exchanged; sometimes compressed, as numpy does too."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    name = random.choice([*parts])
    parts[name] = random.choice((mutations.of_bytes(parts[name], random), _saved(_odd(parts[name], random))))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as file:
        for each, part in parts.items():
            file.writestr(each, part)
    return stream.getvalue()


def _odd(part: bytes, random: Random) -> Any:
    """An array of other values, another type or another shape."""
    array = np.load(io.BytesIO(part))
    if array.dtype == np.uint8:
        about = mutations.of_json(json.loads(array.tobytes()), random)
        return np.frombuffer(mutations.written(about), np.uint8)
    if random.random() < 0.5:
        array.flat[random.randrange(array.size)] = random.choice((0, -1, 2**40))
        if array.dtype == np.float64 and random.random() < 0.5:
            array.flat[random.randrange(array.size)] = random.choice((np.nan, np.inf, -np.inf, 1e308, 5e-324))
        return array
    changes = (array[:-1], array[..., None], array.astype(np.float32), array.astype("<U9"), np.zeros(10**7), array.T)
    return random.choice(changes)


def _saved(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
