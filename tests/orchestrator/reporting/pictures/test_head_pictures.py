"""Pictures of the best of each head: in any number of dimensions, at any time, and each with its words."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from orchestrator.figures.style import Picture
from orchestrator.reporting import pictures
from orchestrator.reporting.pictures import head_pictures
from orchestrator.reporting.pictures.head_pictures import Best
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder

MadeStudy = Callable[..., Results]
BuildStudy = Callable[..., StudyFolder]
MEASURED = ["confusion", "mahalanobis", "volumes"]
DIMENSIONS = pytest.mark.parametrize("dimensions", [2, 3, 5])


def names(best: Best) -> list[str]:
    """The names of a head's pictures without the head."""
    return [picture.name.removeprefix(best.head).lstrip("-") for picture in head_pictures.pictures(best)]


def only(results: Results) -> Best:
    (best,) = head_pictures.bests(results)
    return best


def titles(figure: Any) -> str:
    heading = figure.get_suptitle()
    return " ".join([heading, *(axes.get_title() or axes.get_title("left") for axes in figure.axes)])


def has_its_words(picture: Picture) -> None:
    assert picture.title
    assert picture.alt
    assert picture.caption.endswith((".", "%"))
    assert re.search(r"\b80 (of 80 )?validation images|n = 1", f"{picture.caption} {titles(picture.figure)}"), (
        f"{picture.name} does not say its n: {picture.caption}"
    )
    assert not re.search(r"None|nan|\{|\}|  ", picture.caption + picture.alt + picture.title)


def is_drawn(picture: Picture) -> None:
    assert Image.open(io.BytesIO(picture.png(dpi=30))).size > (50, 50)


@DIMENSIONS
@pytest.mark.parametrize("head", ["softmax", "arcface"])
def test_each_head_gets_the_pictures_that_its_geometry_allows(
    made_study: MadeStudy, head: str, dimensions: int
) -> None:
    best = next(best for best in head_pictures.bests(made_study(dimensions)) if best.head == head)
    own = ["projections"] if dimensions == 5 else ["sphere"] if head == "arcface" else []
    assert names(best) == ["", *own, "nearest", *MEASURED]


@DIMENSIONS
def test_every_picture_has_a_title_a_caption_a_description_and_its_n(made_study: MadeStudy, dimensions: int) -> None:
    results = made_study(dimensions)
    found = head_pictures.bests(results)
    for picture in [
        head_pictures.side_by_side(results, found),
        *(each for best in found for each in head_pictures.pictures(best)),
    ]:
        has_its_words(picture)


def test_captions_of_a_sample_say_of_how_many_images_it_is(tmp_path: Path, build_study: BuildStudy) -> None:
    folder = build_study(tmp_path, ["softmax"], examined=False, data={"validation_images": 5000})
    best = only(Results(folder.root))
    assert best.number == "80 of 5,000 validation images"
    assert all("80 of 5,000 validation images" in picture.caption for picture in head_pictures.pictures(best))


def test_all_heads_on_one_sheet_stand_by_rank_with_how_they_were_measured(made_study: MadeStudy) -> None:
    results = made_study(3, "softmax", "triplet", "arcface", "cosface", "sphereface", "hybrid")
    found = head_pictures.bests(results)
    picture = head_pictures.side_by_side(results, found)
    assert [best.head for best in found] == [row.head for row in results.leaderboard]
    assert [axes.get_title() for axes in picture.figure.axes] == [
        f"{best.head}: 0.9000\nby {'angle' if best.spherical else 'distance'}; {best.trial.name}, epoch 3"
        for best in found
    ]
    assert {best.head for best in found if not best.spherical} == {"softmax", "triplet"}
    assert all(best.head in picture.alt for best in found)
    is_drawn(picture)


def test_learned_centres_are_used_where_the_model_has_any(made_study: MadeStudy) -> None:
    softmax, arcface = sorted(head_pictures.bests(made_study(3)), key=lambda best: best.head, reverse=True)
    assert arcface.learned_centres is not None
    assert arcface.learned_centres.shape == (4, 3)
    assert (arcface.centres_are, softmax.centres_are) == ("learned class centres", "class means")
    assert softmax.learned_centres is None
    cosines = (arcface.learned_centres * arcface.means).sum(1) / np.linalg.norm(arcface.means, axis=1)
    assert cosines.min() > 0.99


def test_class_means_are_of_directions_where_the_geometry_is_the_spheres(made_study: MadeStudy) -> None:
    for best in head_pictures.bests(made_study(3)):
        points = best.points / np.linalg.norm(best.points, axis=1, keepdims=True) if best.spherical else best.points
        for label in range(4):
            assert np.allclose(best.means[label], points[best.labels == label].mean(0))


@pytest.mark.parametrize("normalise", [True, False])
def test_a_triplet_is_shown_by_angle_only_if_it_normalises(
    tmp_path: Path, build_study: BuildStudy, normalise: bool
) -> None:
    best = only(Results(build_study(tmp_path, ["triplet"], params={"triplet": {"normalise": normalise}}).root))
    shown = {picture.name.removeprefix("triplet").lstrip("-"): picture for picture in head_pictures.pictures(best)}
    assert ("sphere" in shown) is normalise
    label = shown["nearest"].figure.axes[0].get_xlabel()
    assert label == ("to centre of 0 (°)" if normalise else "to centre of 0 (distance)")
    assert "dashed" not in shown["nearest"].caption
    if normalise:
        assert "class means" in shown["sphere"].caption
        assert "sector" not in shown["sphere"].caption
        assert "Ring" not in shown["sphere"].caption
    for picture in shown.values():
        has_its_words(picture)
        is_drawn(picture)


@pytest.mark.parametrize("head", ["arcface", "cosface", "sphereface", "hybrid"])
def test_the_margin_is_drawn_where_a_head_has_one(made_study: MadeStudy, head: str) -> None:
    best = next(best for best in head_pictures.bests(made_study(2, "softmax", head)) if best.head == head)
    shown = {picture.name: picture for picture in head_pictures.pictures(best)}
    assert "Shaded sectors" in shown[f"{head}-sphere"].caption
    assert "dashed" in shown[f"{head}-nearest"].caption
    boundary, _ = (line for line in shown[f"{head}-nearest"].figure.axes[0].lines if line.get_linestyle() == "--")
    own, other = np.radians(boundary.get_data())
    assert best.margin
    assert np.cos(other) == pytest.approx(best.margin.target_cosine(own), abs=1e-9)
    assert (own <= other + 1e-9).all()


def test_pictures_of_a_study_that_has_not_been_measured_yet_need_neither_measures_nor_models(
    tmp_path: Path, build_study: BuildStudy
) -> None:
    ends = {
        "softmax": [([0.5, 0.6], "completed"), ([0.9], "running")],
        "arcface": [([0.3], "stopped"), ([], "running")],
        "cosface": [([], "failed"), ([0.2], "diverged")],
        "triplet": [([], "running")],
        "hybrid": [],
    }
    results = Results(build_study(tmp_path, [*ends], trials=ends, examined=False).root)
    found = head_pictures.bests(results)
    assert [(best.head, best.trial.name) for best in found] == [("softmax", "softmax-000"), ("arcface", "arcface-000")]
    assert [names(best) for best in found] == [["", "nearest"], ["", "sphere", "nearest"]]
    for best in found:
        for picture in head_pictures.pictures(best):
            has_its_words(picture)
    is_drawn(head_pictures.side_by_side(results, found))


def test_measures_and_centres_of_another_trial_than_the_best_are_left_out(
    tmp_path: Path, build_study: BuildStudy
) -> None:
    folder = build_study(tmp_path, ["arcface"])
    last = folder.trials_file.read_text()
    better = last.replace("arcface-000", "arcface-007").replace('"objective": 0.9,', '"objective": 0.95,')
    folder.trials_file.write_text(last + better)
    shutil.copytree(folder.embeddings / "arcface-000", folder.embeddings / "arcface-007")
    best = only(Results(folder.root))
    assert best.trial.name == "arcface-007"
    assert best.learned_centres is None
    assert names(best) == ["", "sphere", "nearest"]


def test_a_class_of_which_no_image_is_in_the_sample_breaks_no_picture(tmp_path: Path, build_study: BuildStudy) -> None:
    labels = np.arange(80) % 4
    folder = build_study(tmp_path, ["arcface"], examined=False, sample=np.where(labels == 1, 0, labels))
    for picture in head_pictures.pictures(only(Results(folder.root))):
        is_drawn(picture)


@pytest.mark.parametrize(("dimensions", "classes"), [(2, 25), (3, 25), (3, 2)])
def test_pictures_of_few_and_of_many_classes(
    tmp_path: Path, build_study: BuildStudy, dimensions: int, classes: int
) -> None:
    """Pictures are drawn for two classes and for more than there are colours."""
    best = only(Results(build_study(tmp_path, ["arcface"], dimensions, classes).root))
    for picture in head_pictures.pictures(best):
        has_its_words(picture)
        is_drawn(picture)


def test_a_head_whose_embeddings_are_gone_has_no_pictures(tmp_path: Path, build_study: BuildStudy) -> None:
    folder = build_study(tmp_path)
    shutil.rmtree(folder.embeddings / "arcface-000")
    assert [best.head for best in head_pictures.bests(Results(folder.root))] == ["softmax"]


def frames(gif: bytes | None) -> int:
    return Image.open(io.BytesIO(gif)).n_frames if gif else 0  # type: ignore[attr-defined]


def test_an_embedding_unfolds_over_every_epoch(made_study: MadeStudy) -> None:
    best = head_pictures.bests(made_study(2))[0]
    assert frames(head_pictures.unfolding(best)) == best.trial.last_epoch == 3


def test_nothing_unfolds_in_one_epoch_and_lost_epochs_are_left_out(tmp_path: Path, build_study: BuildStudy) -> None:
    ends = {"softmax": [([0.5], "completed")], "arcface": [([0.5, 0.6, 0.7], "completed")]}
    folder = build_study(tmp_path, trials=ends, examined=False)
    (folder.embeddings / "arcface-000" / "epoch-001.npy").unlink()
    arcface, softmax = head_pictures.bests(Results(folder.root))
    assert head_pictures.unfolding(softmax) is None
    assert frames(head_pictures.unfolding(arcface)) == 2


def test_a_kept_picture_lies_as_png_and_svg_in_plots_and_is_the_same_each_time(
    tmp_path: Path, build_study: BuildStudy
) -> None:
    folder = build_study(tmp_path, ["softmax"], 2, examined=False)
    kept = []
    for _ in range(2):
        picture = next(head_pictures.pictures(only(Results(folder.root))))
        assert pictures.keep(folder, picture) == folder.plots / "softmax.png"
        kept.append({path.name: path.read_bytes() for path in folder.plots.iterdir()})
    assert sorted(kept[0]) == ["softmax.png", "softmax.svg"]
    assert kept[0] == kept[1]
