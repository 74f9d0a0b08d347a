"""What the margins do: the target cosine of each head over the angle to the own centre."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from orchestrator.figures.style import FAINT, HeadStyle, new_figure, plain

Curve = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def target_logits(margins: Mapping[str, tuple[str, Curve]], styles: Mapping[str, HeadStyle], title: str) -> Figure:
    """margins: for each angular head a label and its target cosine, drawn from 0° to 180° and close up to 60°."""
    figure = new_figure(9.6, 3.9)
    figure.suptitle(title, fontsize=11)
    for axes, most in zip(figure.subplots(1, 2), (180, 60), strict=True):
        angles = np.radians(np.linspace(0, most, 721))
        axes.plot(np.degrees(angles), np.cos(angles), color=FAINT, linewidth=1.2, label="cos θ, no margin")
        for head, (label, curve) in margins.items():
            style = styles[head]
            axes.plot(
                np.degrees(angles),
                curve(angles),
                color=style.colour,
                linestyle=style.dashes,
                linewidth=1.8,
                label=label,
            )
        plain(axes, "angle θ to the own class centre (degrees)", "what replaces cos θ" if most == 180 else "")
    axes.legend(fontsize=8, frameon=False, loc="lower left")
    return figure
