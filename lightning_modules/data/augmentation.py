"""Images moved by a few whole pixels: the cheapest augmentation, and on digits the one that helps. Numpy only."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray


def shifted(images: NDArray[np.uint8], offsets_N2: NDArray[np.integer], most_px: int) -> NDArray[np.uint8]:
    """Copies of images (N, H, W[, channels]), each seen through a window of its own that is (down, right) px away.

    offsets_N2: from −most_px to most_px. Beyond an edge its pixels are repeated.
    """
    padding = [(0, 0), (most_px, most_px), (most_px, most_px), (0, 0)][: images.ndim]
    windows = sliding_window_view(np.pad(images, padding, mode="edge"), images.shape[1:3], axis=(1, 2))
    down, right = (offsets_N2 + most_px).T
    seen: NDArray[np.uint8] = windows[np.arange(len(images)), down, right]
    return seen if images.ndim == 3 else np.moveaxis(seen, 1, -1)
