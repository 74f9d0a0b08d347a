"""An embedding unfolding as a GIF: a frame an epoch, the same axes in all of them, a rest at the end."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from orchestrator.figures import embedding
from orchestrator.figures.animation import FRAME_MS, LAST_FRAME_MS, gif, unfolding
from orchestrator.figures.embedding import Panel
from orchestrator.figures.style import COLOURS

Array = NDArray[np.float64]
LABELS = np.arange(300) % 3
SPREAD = np.array([5, 4, 3, 2, 1, 0.5])  # no two directions alike, so that they have an order
CLUSTERS = np.random.default_rng(0).normal(size=(300, 6)) * SPREAD + 4 * np.eye(6)[LABELS]


def panel(points: Array, title: str = "title") -> Panel:
    return Panel(points.astype(np.float16), LABELS, title)


def frames(content: bytes) -> tuple[list[NDArray[np.int64]], list[int]]:
    """Pixels and durations of all frames."""
    image = Image.open(io.BytesIO(content))
    pixels, durations = [], []
    for frame in ImageSequence.Iterator(image):
        pixels.append(np.asarray(frame.convert("RGB")).astype(int))
        durations.append(frame.info.get("duration", 0))
    return pixels, durations


@pytest.fixture
def axes_of_frames(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """axes_of_frames(panels…): the axes of each frame as they were drawn."""
    figures = []
    rendered = embedding.rendered
    monkeypatch.setattr(embedding, "rendered", lambda figure, *how: figures.append(figure) or rendered(figure, *how))

    def drawn(*panels: Panel) -> list[Any]:
        unfolding(panels, inches=2, dpi=30)
        return [figure.axes[0] for figure in figures]

    return drawn


def limits(axes: Any) -> list[tuple[float, float]]:
    letters = "xyz" if hasattr(axes, "get_zlim") else "xy"
    return [getattr(axes, f"get_{letter}lim")() for letter in letters]


def places(axes: Any) -> Array:
    """Where the points of a frame stand, in 2-D or 3-D."""
    (scatter,) = axes.collections
    spatial = getattr(scatter, "_offsets3d", None)
    return np.asarray(scatter.get_offsets()) if spatial is None else np.stack([np.asarray(each) for each in spatial], 1)


def test_there_is_a_frame_for_every_epoch_and_the_last_one_stays_longer() -> None:
    panels = [panel(CLUSTERS[:, :2] * size, f"epoch {size}") for size in (1, 2, 3, 4)]
    pixels, durations = frames(unfolding(panels))
    assert durations == [FRAME_MS, FRAME_MS, FRAME_MS, LAST_FRAME_MS]
    assert len({frame.shape for frame in pixels}) == 1


def test_it_goes_on_forever() -> None:
    content = unfolding([panel(CLUSTERS[:, :2]), panel(2 * CLUSTERS[:, :2])], inches=2, dpi=30)
    assert Image.open(io.BytesIO(content)).info["loop"] == 0


@pytest.mark.parametrize("dimensions", [2, 3, 5])
def test_all_frames_have_the_same_limits_around_the_origin(
    axes_of_frames: Callable[..., list[Any]], dimensions: int
) -> None:
    points = CLUSTERS[:, :dimensions]
    first, last = axes_of_frames(panel(points / 4), panel(points))
    assert limits(first) == limits(last)
    for low, high in limits(last):
        assert low == -high
    inside = [np.abs(places(last)[:, axis]) <= high for axis, (_, high) in enumerate(limits(last))]
    assert np.mean(inside) > 0.99


@pytest.mark.parametrize("dimensions", [2, 3, 5])
def test_all_frames_have_the_same_axes_so_that_an_embedding_that_turns_is_seen_to_turn(
    axes_of_frames: Callable[..., list[Any]], dimensions: int
) -> None:
    points = CLUSTERS[:, :dimensions].astype(np.float16).astype(np.float64)
    for axis in (0, 1):  # a quarter around two of its directions, one after the other
        turn = np.eye(dimensions)
        turn[axis : axis + 2, axis : axis + 2] = [[0, -1], [1, 0]]
        before, after = (places(axes) for axes in axes_of_frames(panel(points), panel(points @ turn))[-2:])
        wide = np.column_stack([points, np.ones(len(points))])
        view = np.linalg.lstsq(wide, before)[0]
        assert np.allclose(np.column_stack([points @ turn, np.ones(len(points))]) @ view, after, atol=0.01)
        if dimensions == 2:
            break


def test_a_far_outlier_does_not_shrink_all_frames(axes_of_frames: Callable[..., list[Any]]) -> None:
    labels = np.arange(3000) % 3
    points = np.tile(CLUSTERS[:, :2], (10, 1))
    points[0] = 5000
    (axes, _) = axes_of_frames(Panel(points, labels, "1"), Panel(0.9 * points, labels, "2"))
    assert max(high for _, high in limits(axes)) < 50


@pytest.mark.parametrize("dimensions", [2, 3])
def test_every_class_keeps_nearly_its_colour_in_the_few_colours_of_a_gif(dimensions: int) -> None:
    labels = np.arange(900) % 10
    middles = 5 * np.random.default_rng(1).normal(size=(10, dimensions))
    points = middles[labels] + np.random.default_rng(0).normal(size=(900, dimensions))
    drawn = embedding.embedding_png(Panel(points, labels, "title"), inches=4.2, dpi=80)
    before = np.asarray(Image.open(io.BytesIO(drawn)).convert("RGB")).astype(int)
    ((after,), _) = frames(gif([drawn]))
    lost = []
    for colour in COLOURS:
        wanted = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
        kept, packed = (np.abs(pixels - wanted).max(2).min() for pixels in (before, after))
        lost += [colour] if packed > kept + 24 else []
    assert lost == []


def test_the_same_frames_give_the_same_bytes() -> None:
    panels = [panel(CLUSTERS[:, :2]), panel(CLUSTERS[:, :2] / 2)]
    assert unfolding(panels, inches=2, dpi=30) == unfolding(panels, inches=2, dpi=30)


def test_a_single_frame_is_a_picture_that_stays() -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(stream, "PNG")
    assert Image.open(io.BytesIO(gif([stream.getvalue()]))).size == (8, 8)
