"""What all pictures share: the same bytes each time, SVG whose words stay words, looks that are told apart."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import pytest
from PIL import Image

from orchestrator.figures.style import (
    COLOURS,
    HEAD_COLOURS,
    Picture,
    class_colour,
    head_styles,
    new_figure,
    plain,
    rendered,
)
from search_spaces.heads import HEADS

SVG = "{http://www.w3.org/2000/svg}"


def picture() -> Picture:
    figure = new_figure(3, 2)
    axes = figure.add_subplot()
    axes.scatter([1, 2, 3], [1, 4, 9], rasterized=True, label="points ● ▲")
    axes.plot([1, 3], [1, 9])
    axes.legend()
    plain(axes, "angle θ (°)", "a & b < c", "− title ×")
    return Picture("name", "title", "caption", "alt", figure)


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_figure_gives_the_same_bytes(kind: str) -> None:
    once = picture()
    first = getattr(once, kind)()
    assert first == getattr(once, kind)() == getattr(picture(), kind)()


def test_a_png_has_its_size_in_inches_times_the_resolution() -> None:
    assert Image.open(io.BytesIO(picture().png(dpi=50))).size == (150, 100)


def test_an_svg_is_xml_whose_words_stay_words() -> None:
    root = ElementTree.fromstring(picture().svg())
    assert root.tag == f"{SVG}svg"
    words = {"".join(text.itertext()).strip() for text in root.iter(f"{SVG}text")}
    assert {"angle θ (°)", "a & b < c", "− title ×", "points ● ▲"} <= words


def test_an_svg_needs_nothing_from_elsewhere_and_bears_no_date() -> None:
    root = ElementTree.fromstring(picture().svg())
    links = {value for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")}
    assert all(link.startswith(("#", "data:")) for link in links)
    assert not [element for element in root.iter() if element.tag.endswith("}date")]


def test_every_head_looks_like_no_other_even_without_colour() -> None:
    styles = head_styles([*HEADS])
    assert list(styles) == list(HEADS)
    for seen in ("colour", "marker", "dashes"):
        assert len({str(getattr(style, seen)) for style in styles.values()}) == len(HEADS)


def test_more_heads_than_looks_begin_again() -> None:
    names = [f"head {number}" for number in range(len(HEAD_COLOURS) + 1)]
    styles = head_styles(names)
    assert styles[names[-1]] == styles[names[0]]


def test_classes_take_their_colours_in_turn() -> None:
    assert [class_colour(label) for label in range(10)] == list(COLOURS)
    assert len(set(COLOURS)) == 10
    assert class_colour(27) == COLOURS[7]


def test_a_rendered_figure_leaves_matplotlibs_settings_as_they_were() -> None:
    import matplotlib

    before = dict(matplotlib.rcParams)
    rendered(picture().figure, "svg", 50)
    assert dict(matplotlib.rcParams) == before
