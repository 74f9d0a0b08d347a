"""How an embedding unfolds over the epochs, as a GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from PIL import Image

from orchestrator.figures.embedding import Panel, embedding_png, principal
from orchestrator.figures.style import few_colours

FRAME_MS, LAST_FRAME_MS = 600, 2500
COLOURS = 96


def gif(frames: Sequence[bytes]) -> bytes:
    """A looping GIF of PNG frames; the last one stays longer."""
    pictures = [few_colours(Image.open(io.BytesIO(frame)), COLOURS) for frame in frames]
    stream = io.BytesIO()
    durations = [FRAME_MS] * (len(pictures) - 1) + [LAST_FRAME_MS]
    pictures[0].save(stream, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    return stream.getvalue()


def unfolding(panels: Sequence[Panel], inches: float = 4.2, dpi: int = 80) -> bytes:
    """A GIF of one embedding after epoch upon epoch, all frames on the same axes around the origin.

    From four dimensions on the axes are the first three principal components of the last frame.
    """
    frames = [panel.points.astype(np.float64) for panel in panels]
    names = None
    if frames[-1].shape[1] > 3:
        middle, directions, _ = principal(frames[-1], 3)
        frames = [(points - middle) @ directions for points in frames]
        names = tuple(f"PC {number} of the last" for number in (1, 2, 3))
    limits = max(float(np.quantile(np.abs(points), 0.999)) for points in frames)
    shown = [
        replace(panel, points=points, limits=limits, axes=names) for panel, points in zip(panels, frames, strict=True)
    ]
    return gif([embedding_png(panel, inches=inches, dpi=dpi) for panel in shown])
