"""What all pictures share: colours for any colour vision, plain axes, and how a figure becomes PNG or SVG."""

from __future__ import annotations

import io
import math
import threading
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from PIL import Image

# Ten and six colours told apart with any colour vision (Petroff 2021, arXiv:2107.02270): of classes, and of heads
COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
HEAD_COLOURS = ("#5790fc", "#f89c20", "#e42536", "#964a8b", "#9c9ca1", "#7a21dd")
MARKERS = "osD^vP"  # beside the colours, so that no head is told by colour alone
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))
INK, FAINT, GRID = "#222222", "#8a8a8a", "#dddddd"
SEQUENTIAL, REVERSED = "cividis_r", "cividis"  # perceptually even with any colour vision; dark is much, or good
DPI = 110


@dataclass(frozen=True)
class Picture:
    """A figure and what it says in words. name: of its files; alt: for those who do not see it."""

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure

    def png(self, dpi: int = DPI) -> bytes:
        return rendered(self.figure, "png", dpi)

    def svg(self) -> bytes:
        return rendered(self.figure, "svg", DPI)


@dataclass(frozen=True)
class HeadStyle:
    """How a head looks in every picture of a study."""

    colour: str
    marker: str
    dashes: Any


def head_styles(heads: list[str]) -> dict[str, HeadStyle]:
    """One look for each head, by its place in the study."""
    return {
        head: HeadStyle(
            HEAD_COLOURS[place % len(HEAD_COLOURS)],
            MARKERS[place % len(MARKERS)],
            DASHES[place % len(DASHES)],
        )
        for place, head in enumerate(heads)
    }


def class_colour(label: int) -> str:
    """The colour of a class; with more than ten classes colours are used again."""
    return COLOURS[label % len(COLOURS)]


def new_figure(width: float, height: float, layout: Any = "constrained") -> Figure:
    """An empty figure, in inches."""
    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def plain(axes: Any, x: str = "", y: str = "", title: str = "", grid: bool = True) -> None:
    """Axes without a box, with quiet lines behind the data."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(FAINT)
    if grid:
        axes.grid(True, color=GRID, linewidth=0.6)
        axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, color=FAINT)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    if title:
        axes.set_title(title, fontsize=10, loc="left")


def log_ticks(axis: Any, low: float, high: float) -> None:
    """Numbers on a logarithmic axis as people write them, few enough to be read: 0.02, 0.05, 0.1."""
    decades = math.log10(high / low)
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2 else (1.0,), numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    axis.set_minor_formatter(NullFormatter())


def few_colours(image: Image.Image, number: int) -> Image.Image:
    """The image with a palette of so many colours, those that mean something kept: a third of the bytes.

    A strip of them is added before the palette is chosen, so that a class of few points keeps its own.
    """
    meaning = [*COLOURS, *HEAD_COLOURS, INK]
    width, height = image.size
    each = max(8, height // len(meaning))
    strip = Image.new("RGB", (width, height + each * len(meaning)), "white")
    strip.paste(image.convert("RGB"), (0, 0))
    for place, colour in enumerate(meaning):
        strip.paste(colour, (0, height + each * place, width, height + each * (place + 1)))
    return strip.quantize(number, dither=Image.Dither.NONE).crop((0, 0, width, height))


DRAWING = threading.Lock()  # matplotlib draws in one thread at a time; searches may run in several of one process


def rendered(figure: Figure, kind: str, dpi: int) -> bytes:
    """The figure as PNG or SVG; the same figure gives the same bytes."""
    stream = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with DRAWING, matplotlib.rc_context({"svg.hashsalt": "embedding-heads", "svg.fonttype": "none"}):
        figure.savefig(stream, format=kind, dpi=dpi, metadata=metadata)
    figure.set_layout_engine(None)  # it is laid out now; a second drawing, as SVG after PNG, keeps that
    return stream.getvalue()
