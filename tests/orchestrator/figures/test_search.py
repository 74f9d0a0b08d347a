"""Pictures of a search: what was measured stands where it belongs, whatever became of the trials."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from lightning_modules.heads.margin_curve import margin_of
from lightning_modules.objectives.accuracy import OBJECTIVE as ACCURACY
from orchestrator.figures import margins, search
from orchestrator.figures.search import Axis, Interval
from orchestrator.figures.style import HEAD_COLOURS, INK, class_colour, head_styles, rendered
from orchestrator.storage.event_log import Trial

HEADS = ["softmax", "arcface"]
STYLES = head_styles(HEADS)
MARGIN, SCALE, DISTANCE = Axis("margin_rad", 0.05, 0.7, False), Axis("scale", 6, 128, True), Axis("d", 0.02, 0.5, True)
ENDINGS = ("completed", "stopped", "diverged", "failed", "running")


def trial(
    index: int, objectives: list[float], status: str = "completed", head: str = "arcface", **params: Any
) -> Trial:
    epochs = [{"epoch": epoch, "objective": value} for epoch, value in enumerate(objectives, start=1)]
    given = {"margin_rad": 0.1 + index / 20, "scale": 10.0 + index, **params}
    return Trial(f"{head}-{index:03d}", head, index, index, given, status, "", epochs)  # type: ignore[arg-type]


MIXED = [trial(n, [0.3, 0.5, 0.6 + n / 20], status) for n, status in enumerate(ENDINGS)]
LOST = [trial(n, [], status) for n, status in enumerate(("diverged", "failed", "running"), start=len(MIXED))]


def interval(head: str, value: float, *others: float) -> Interval:
    return Interval(head, head, value, value - 0.02, value + 0.01, others, f"best of {len(others)}")


def marked(axes: Any, marker: str) -> list[Any]:
    return [line for line in axes.lines if line.get_marker() == marker and len(line.get_xdata())]


def test_heads_stand_at_their_value_between_the_ends_of_their_interval_the_first_on_top() -> None:
    rows = [interval("arcface", 0.97, 0.95, 0.96), interval("softmax", 0.93, 0.92)]
    (axes,) = search.heads(rows, STYLES, "title", ACCURACY).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["arcface\nbest of 2", "softmax\nbest of 1"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    for place, row in enumerate(rows):
        (dot,) = marked(axes, STYLES[row.head].marker)
        assert (dot.get_xdata()[0], dot.get_ydata()[0]) == (row.value, place)
        (band,) = [line for line in axes.lines if line.get_linewidth() == 5 and line.get_ydata()[0] == place]
        assert [*band.get_xdata()] == [row.low, row.high]
        assert band.get_color() == STYLES[row.head].colour
    assert sorted(value for line in marked(axes, "|") for value in line.get_xdata()) == [0.92, 0.95, 0.96]


def test_every_interval_fits_and_far_worse_trials_do_not_squeeze_them() -> None:
    rows = [interval("arcface", 0.97, 0.1, 0.96), interval("softmax", 0.93)]
    low, high = search.heads(rows, STYLES, "title", ACCURACY).axes[0].get_xlim()
    assert 0.5 < low < 0.91
    assert high > 0.98


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_an_extreme_value_of_a_single_head_is_drawn(value: float) -> None:
    row = Interval("softmax", "softmax", value, value, value, (value,), "best of 1")
    assert rendered(search.heads([row], STYLES, "title", ACCURACY), "png", 40)


def curves(*trials: Trial, rungs: tuple[int, ...] = (1, 3), epochs: int = 9, best: Trial | None = None) -> Any:
    return search.curves({"arcface": trials}, {"arcface": best} if best else {}, rungs, epochs, "title", ACCURACY)


def test_every_trial_is_a_line_through_its_epochs_and_the_best_is_dark() -> None:
    axes = curves(*MIXED, *LOST, best=MIXED[0]).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert [[*line.get_ydata()] for line in lines] == [[row["objective"] for row in each.epochs] for each in MIXED]
    assert [*lines[0].get_xdata()] == [1, 2, 3]
    assert [line.get_color() == INK for line in lines] == [True, False, False, False, False]
    assert axes.get_title("left") == "arcface: best arcface-000, 0.6000"


def test_rungs_are_dotted_lines_inside_the_axes() -> None:
    axes = curves(*MIXED).axes[0]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == [1, 3]
    assert axes.get_xlim()[0] < 1
    assert axes.get_xlim()[1] > 9


def test_a_trial_that_did_not_reach_its_end_is_marked_where_it_ended() -> None:
    axes = curves(*MIXED).axes[0]
    crossed = {tuple(np.ravel(line.get_data())) for line in marked(axes, "x")}
    assert crossed == {(3, each.objective) for each in MIXED if each.status in ("stopped", "diverged", "failed")}
    assert [line.get_ydata()[0] for line in marked(axes, ">")] == [MIXED[4].objective]


@pytest.mark.parametrize("status", ENDINGS)
@pytest.mark.parametrize("epochs", [1, 9])
def test_a_trial_of_one_epoch_can_be_seen(status: str, epochs: int) -> None:
    alone = trial(0, [0.7], status)
    axes = curves(alone, epochs=epochs, rungs=(), best=alone if status == "completed" else None).axes[0]
    assert [line for line in axes.lines if line.get_marker() not in ("None", "", None) or len(line.get_xdata()) > 1]


@pytest.mark.parametrize("trials", [[], LOST, [*MIXED, *LOST]], ids=["none", "without an epoch", "of every kind"])
def test_curves_are_drawn_whatever_became_of_the_trials(trials: list[Trial]) -> None:
    figure = search.curves({"softmax": [], "arcface": trials}, {}, [], 3, "title", ACCURACY)
    assert rendered(figure, "png", 40)


def steps(axes: Any) -> dict[str, Any]:
    return {line.get_label(): line for line in axes.lines if line.get_drawstyle() == "steps-post"}


def test_the_best_so_far_never_falls() -> None:
    values = np.random.default_rng(0).uniform(0.5, 0.9, 12)
    series = {"softmax": [(n / 2, value) for n, value in enumerate(values)], "arcface": [(3.0, 0.7)]}
    left, right = search.progress(series, STYLES, "title", ACCURACY).axes
    for axes, at in ((left, np.arange(1, 13)), (right, np.arange(12) / 2)):
        line = steps(axes)["softmax"]
        assert (np.diff(line.get_ydata()) >= 0).all()
        assert np.allclose(line.get_ydata(), [values[: n + 1].max() for n in range(12)])
        assert np.allclose(line.get_xdata(), at)
        assert line.get_color() == STYLES["softmax"].colour
        assert axes.get_ylim()[0] < 0.7
        assert axes.get_ylim()[1] > values.max()


@pytest.mark.parametrize("series", [{}, {"softmax": [], "arcface": []}, {"softmax": [], "arcface": [(0.0, 0.5)]}])
def test_progress_is_drawn_before_there_is_any(series: dict[str, Any]) -> None:
    figure = search.progress(series, STYLES, "title", ACCURACY)
    assert rendered(figure, "png", 40)


def points(axes: Any) -> list[tuple[float, float]]:
    filled = [scatter for scatter in axes.collections if scatter.get_array() is not None]
    return sorted(tuple(map(float, point)) for scatter in filled for point in scatter.get_offsets())


def mapped(trials: list[Trial], x: Axis = MARGIN, y: Axis = SCALE) -> Any:
    return search.maps({"arcface": trials}, {"arcface": (x, y)}, "title", ACCURACY)


def test_every_trial_that_was_measured_stands_at_its_settings() -> None:
    axes = mapped([*MIXED, *LOST]).axes[0]
    wanted = [(each.params["margin_rad"], each.params["scale"]) for each in MIXED]
    assert points(axes) == [pytest.approx(each) for each in sorted(wanted)]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("margin_rad", "scale", "log")


@pytest.mark.parametrize("axis", [MARGIN, SCALE, DISTANCE], ids=lambda axis: axis.name)
def test_a_map_contains_its_whole_space_and_shows_its_borders(axis: Axis) -> None:
    axes = mapped([trial(0, [0.5], d=0.3)], axis, axis).axes[0]
    for low, high in (axes.get_xlim(), axes.get_ylim()):
        assert low < axis.low < axis.high < high
    dotted = [line for line in axes.lines if line.get_linestyle() == ":"]
    assert {line.get_xdata()[0] for line in dotted} >= {axis.low, axis.high}
    assert {line.get_ydata()[0] for line in dotted} >= {axis.low, axis.high}


def test_the_ring_is_around_the_best_that_ran_to_its_end() -> None:
    trials = [trial(0, [0.5]), trial(1, [0.7]), trial(2, [0.9], "stopped"), trial(3, [0.95], "running")]
    axes = mapped(trials).axes[0]
    (ring,) = [scatter for scatter in axes.collections if scatter.get_array() is None]
    assert np.allclose(ring.get_offsets(), [(trials[1].params["margin_rad"], trials[1].params["scale"])])


@pytest.mark.parametrize(
    ("x", "y"),
    [(Axis("head_lr", 0.005, 0.2, True), Axis("lr", 0.002, 0.03, True)), (DISTANCE, DISTANCE), (MARGIN, SCALE)],
    ids=lambda axis: axis.name,
)
def test_the_numbers_along_a_map_do_not_overlap(x: Axis, y: Axis) -> None:
    own = [trial(n, [0.9 + n / 50], d=0.3, head_lr=0.1, lr=0.01) for n in range(4)]
    figure = search.maps(dict.fromkeys("abc", own), dict.fromkeys("abc", (x, y)), "title", ACCURACY)
    figure.draw_without_rendering()
    for axes in figure.axes[:3]:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = axis.get_view_interval()
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            shown = [tick.label1 for tick in ticks if low <= tick.get_loc() <= high and tick.label1.get_text()]
            assert len(shown) >= 2
            boxes = [label.get_window_extent() for label in shown]
            assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]


@pytest.mark.parametrize(
    "trials",
    [[], LOST, [trial(0, [0.5])], [trial(0, [0.5], "failed")], [trial(n, [0.5]) for n in range(3)], [*MIXED, *LOST]],
    ids=["none", "without an epoch", "one", "failed", "all equal", "of every kind"],
)
def test_maps_and_parallel_coordinates_are_drawn_whatever_became_of_the_trials(trials: list[Trial]) -> None:
    assert rendered(mapped(trials), "png", 40)
    logs = {"scale": True}
    assert rendered(search.parallel("arcface", ["margin_rad", "scale"], logs, trials, "title", ACCURACY), "png", 40)


SVG_OF_A_MAP = """
import hashlib
from orchestrator.figures import search, style
from orchestrator.storage.event_log import Trial
from lightning_modules.objectives.accuracy import OBJECTIVE as ACCURACY
trials = [
    Trial(str(n), "arcface", n, n, {"m": 0.1 * n, "s": 2.0}, status, "", [{"epoch": 1, "objective": n / 9}])
    for n, status in enumerate(("completed", "stopped", "failed", "running"), start=1)
]
axes = search.Axis("m", 0, 1, False), search.Axis("s", 1, 9, True)
figure = search.maps({"arcface": trials}, {"arcface": axes}, "", ACCURACY)
print(hashlib.sha256(style.rendered(figure, "svg", 40)).hexdigest())
"""


def test_a_map_is_the_same_in_every_process() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", SVG_OF_A_MAP],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(digests) == 1


def lines_of(figure: Any, settings: int) -> list[Any]:
    return [line for line in figure.axes[0].lines if len(line.get_xdata()) == settings + 1]


def test_parallel_coordinates_lead_each_trial_through_its_settings_to_its_accuracy() -> None:
    trials = [trial(0, [0.5], scale=10.0), trial(1, [0.6], scale=100.0), trial(2, [0.9], "stopped", scale=1000.0)]
    figure = search.parallel("arcface", ["margin_rad", "scale"], {"scale": True}, trials, "title", ACCURACY)
    heights = sorted(tuple(line.get_ydata()) for line in lines_of(figure, 2))
    assert heights == [pytest.approx((0, 0, 0)), pytest.approx((0.5, 0.5, 0.25)), pytest.approx((1, 1, 1))]
    words = {text.get_text() for text in figure.axes[0].texts}
    assert {"margin_rad", "scale", "accuracy", "10", "1e+03", "0.5", "0.9"} <= words
    assert sorted(line.get_linestyle() for line in lines_of(figure, 2)) == ["-", "-", ":"]


def test_the_thick_line_is_the_best_that_ran_to_its_end() -> None:
    trials = [trial(0, [0.5]), trial(1, [0.7]), trial(2, [0.9], "stopped"), trial(3, [0.95], "running")]
    lines = lines_of(search.parallel("arcface", ["margin_rad"], {}, trials, "title", ACCURACY), 1)
    (thick,) = [line for line in lines if line.get_linewidth() == max(each.get_linewidth() for each in lines)]
    assert thick.get_ydata()[0] == pytest.approx(1 / 3)
    assert thick.get_linestyle() == "-"


def test_choices_stand_in_words_and_a_setting_that_was_not_read_below_the_axis() -> None:
    trials = [
        trial(0, [0.5], mining="semi_hard", normalise=True),
        trial(1, [0.6], mining="batch_all", normalise=False, crossover=2),
    ]
    figure = search.parallel("triplet", ["mining", "normalise", "crossover"], {}, trials, "title", ACCURACY)
    assert {"semi_hard", "batch_all", "True", "False"} <= {text.get_text() for text in figure.axes[0].texts}
    first, second = sorted((tuple(line.get_ydata()) for line in lines_of(figure, 3)), key=lambda heights: -heights[0])
    assert first[:2] == (1, 1)
    assert first[2] < 0 < second[2]
    assert rendered(figure, "png", 40)


def test_target_logits_are_the_margins_own_beside_the_plain_cosine() -> None:
    given = {"margin_rad": 0.4, "scale": 8.0}
    margin = margin_of("arcface", given)
    assert margin
    figure = margins.target_logits({"arcface": ("arcface (margin_rad 0.4)", margin.target_cosine)}, STYLES, "title")
    for axes, most in zip(figure.axes, (180, 60), strict=True):
        plain, arcface = axes.lines
        angles, cosines = plain.get_data()
        assert (angles[0], angles[-1]) == (0, pytest.approx(most))
        assert cosines == pytest.approx(np.cos(np.radians(angles)))
        inside = angles < 180 - np.degrees(0.4)
        assert arcface.get_ydata()[inside] == pytest.approx(np.cos(np.radians(angles) + 0.4)[inside])
        assert arcface.get_color() == HEAD_COLOURS[1] == STYLES["arcface"].colour
    assert rendered(figure, "png", 40)


def test_heads_and_classes_do_not_share_their_colours() -> None:
    assert not set(HEAD_COLOURS) & {class_colour(label) for label in range(10)}
