"""How an embedding unfolds over the epochs, as a GIF."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from orchestrator.plots.embedding import Panel, embeddings_png

FRAME_MS, LAST_FRAME_MS = 600, 2500
COLOURS = 32


def gif(frames: Sequence[bytes]) -> bytes:
    """A looping GIF of PNG frames; the last one stays longer."""
    pictures = [
        Image.open(io.BytesIO(frame)).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE) for frame in frames
    ]
    stream = io.BytesIO()
    durations = [FRAME_MS] * (len(pictures) - 1) + [LAST_FRAME_MS]
    pictures[0].save(stream, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    return stream.getvalue()


def unfolding(panels: Sequence[Panel], inches: float = 4.2, dpi: int = 80) -> bytes:
    """A GIF of one embedding after epoch upon epoch, all frames with the same limits around the origin."""
    limits = max(float(np.quantile(np.abs(panel.points.astype(np.float32)), 0.999)) for panel in panels)
    shown = [Panel(panel.points, panel.labels, panel.title, limits=limits) for panel in panels]
    return gif([embeddings_png([panel], inches=inches, dpi=dpi) for panel in shown])
