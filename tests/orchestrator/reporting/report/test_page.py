"""The page: whole HTML that needs nothing but itself, whatever people have written into the study."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from orchestrator.figures.style import COLOURS, HEAD_COLOURS
from orchestrator.printable import visible
from orchestrator.reporting import report
from orchestrator.reporting.report import content, page
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder
from orchestrator.study.schema import Study

BuildStudy = Callable[..., StudyFolder]
MadeStudy = Callable[..., Results]
STUDIES = {"2-D": (2, "arcface"), "3-D": (3, "softmax", "arcface"), "5-D": (5, "softmax")}
VOID = {"meta", "img", "input", "br", "hr", "link"}
HOSTILE = "</script></pre></title><img src=x onerror=alert(1)><script>alert(2)</script>'\"&{{ 7 * 7 }}"


class Page(HTMLParser):
    """A page taken apart; refuses tags that are not closed in order, and text outside of all."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[int, str] = {}  # of each tag by its place, without that of tags inside it
        self.open: list[tuple[str, int]] = []
        self.feed(text)
        self.close()
        assert self.open == [], f"not closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute twice: <{tag} {attrs}>"
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append((tag, len(self.tags) - 1))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1][0] == tag, f"</{tag}> inside of {self.open} at {self.getpos()}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open:
            place = self.open[-1][1]
            self.texts[place] = self.texts.get(place, "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for each, attributes in self.tags if each == tag]

    def text_of(self, tag: str, **wanted: str) -> str:
        """The text in the only such tag."""
        (place,) = [
            place
            for place, (each, attributes) in enumerate(self.tags)
            if each == tag and wanted.items() <= {key.strip("_"): value for key, value in attributes.items()}.items()
        ]
        return self.texts.get(place, "")


@pytest.fixture(scope="module", params=STUDIES.values(), ids=list(STUDIES))
def path(made_report: Callable[..., Path], request: pytest.FixtureRequest) -> Path:
    return made_report(*request.param)


@pytest.fixture(scope="module")
def shown(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def test_the_page_lies_in_the_studys_folder_and_is_smaller_than_ten_megabytes(path: Path) -> None:
    assert path.name == "report.html"
    assert path.read_bytes().startswith(b"<!doctype html>\n<html lang=")
    assert path.stat().st_size < 10_000_000


def test_every_id_is_there_once_and_every_reference_leads_to_one(shown: Page) -> None:
    ids = [attributes["id"] for _, attributes in shown.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    for tag, attributes in shown.tags:
        for key in ("aria-labelledby", "aria-describedby", "for", "data-copies"):
            assert attributes.get(key, ids[0]) in ids, (tag, attributes)
        if tag == "a":
            target = attributes["href"] or ""
            assert target.startswith("#")
            assert target[1:] in ids


def test_every_picture_has_a_description_and_its_size(shown: Page) -> None:
    pictures = shown.all("img")
    assert len(pictures) > 10
    for attributes in pictures:
        assert attributes["alt"]
        kind, _, encoded = (attributes["src"] or "").partition(";base64,")
        assert kind in ("data:image/png", "data:image/gif")
        size = Image.open(io.BytesIO(base64.b64decode(encoded))).size
        assert (int(attributes["width"] or 0), int(attributes["height"] or 0)) == size


def test_every_table_has_headings_with_their_scope_and_as_many_cells_in_every_row(shown: Page) -> None:
    assert all(attributes.get("scope") in ("col", "row") for attributes in shown.all("th"))
    rows: list[list[int]] = []
    for tag, attributes in shown.tags:
        if tag == "table":
            rows.append([])
        elif tag == "tr":
            rows[-1].append(0)
        elif tag in ("td", "th"):
            rows[-1][-1] += int(attributes.get("colspan") or 1)
    assert len(rows) >= 4
    assert all(len(set(table)) == 1 for table in rows)


def test_headings_do_not_skip_a_level(shown: Page) -> None:
    levels = [int(tag[1]) for tag, _ in shown.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_everything_that_can_be_used_has_a_name(shown: Page) -> None:
    buttons = [place for place, (tag, _) in enumerate(shown.tags) if tag == "button"]
    assert all(shown.texts.get(place, "").strip() for place in buttons)
    for tag, attributes in shown.tags:
        if "tabindex" in attributes and tag != "pre":
            assert attributes.get("aria-label"), (tag, attributes)


def loads(shown: Page) -> Iterator[str]:
    """Everything in the page that a browser would fetch, but what scripts might."""
    for tag, attributes in shown.tags:
        for key in ("src", "srcset", "href", "action", "formaction", "poster", "data", "background", "ping"):
            if value := attributes.get(key):
                yield value
        if style := attributes.get("style"):
            yield from re.findall(r"url\(\s*['\"]?([^)'\"]*)", style)
        assert tag not in ("link", "iframe", "object", "embed", "base"), tag
        assert not (tag == "meta" and (attributes.get("http-equiv") or "").lower() == "refresh")
    for place, (tag, _) in enumerate(shown.tags):
        if tag == "style":
            assert "@import" not in shown.texts[place]
            yield from re.findall(r"url\(\s*['\"]?([^)'\"]*)", shown.texts[place])


def test_nothing_is_loaded_from_anywhere(shown: Page) -> None:
    assert all(value.startswith(("#", "data:image/")) for value in loads(shown))


def test_the_browser_is_told_to_load_nothing_before_anything_else(shown: Page) -> None:
    (policy,) = [each for each in shown.all("meta") if each.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().partition(" ")[::2] for rule in (policy["content"] or "").split(";"))
    assert rules["default-src"] == "'none'"
    assert "http" not in (policy["content"] or "")
    assert "*" not in (policy["content"] or "")
    tags = [tag for tag, _ in shown.tags]
    first = next(place for place, (_, attributes) in enumerate(shown.tags) if attributes == policy)
    assert first < min(tags.index(tag) for tag in ("style", "script", "img", "title"))


def test_no_value_is_missing_or_escaped_twice(shown: Page) -> None:
    told = [
        text
        for place, text in shown.texts.items()
        if shown.tags[place][0] in ("td", "dd", "dt", "p", "li", "figcaption", "caption", "h2", "summary", "span")
    ]
    assert not [text for text in told if re.search(r"\bNone\b|\bnan\b|\binf\b|&(amp|lt|gt|quot|#\d+);|\{[{%]", text)]


def test_every_picture_of_the_page_lies_in_plots_as_png_and_svg(path: Path, shown: Page) -> None:
    names = {(each["id"] or "").removeprefix("picture-") for each in shown.all("figure") if each.get("id")}
    kept = {file.name for file in (path.parent / "plots").iterdir()}
    assert len(names) > 10
    unfolding = {f"{head}-epochs.gif" for head in Results(path.parent).best}
    assert kept == {f"{name}.{kind}" for name in names for kind in ("png", "svg")} | unfolding


def nearest(picture: Image.Image, colour: str) -> int:
    """How far (of 255) the picture's nearest pixel is from a colour."""
    wanted = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)])
    return int(np.abs(np.asarray(picture.convert("RGB")).astype(int) - wanted).max(2).min())


def test_classes_and_heads_keep_nearly_their_colours_in_the_page(path: Path, shown: Page) -> None:
    lost = []
    name = ""
    for tag, attributes in shown.tags:
        if tag == "figure":
            name = (attributes.get("id") or "").removeprefix("picture-")
        if tag != "img" or not name.endswith(("s", "accuracy", "-nearest")):
            continue
        kept = Image.open(path.parent / "plots" / f"{name}.png")
        packed = Image.open(io.BytesIO(base64.b64decode((attributes["src"] or "").partition(",")[2])))
        for colour in (*COLOURS[:4], *HEAD_COLOURS[:2]):
            if nearest(packed, colour) > nearest(kept, colour) + 24:
                lost.append((name, colour))
    assert lost == []


def test_the_best_configurations_load_again_as_they_stand_in_the_page(shown: Page, path: Path, tmp_path: Path) -> None:
    results = Results(path.parent)
    for head in results.best:
        copied = tmp_path / "copied.yaml"
        copied.write_text(shown.text_of("pre", id=f"yaml-{head}"))
        assert Study.load(copied) == results.best_study(head)
    copied.write_text(shown.text_of("pre", id="yaml-study"))
    assert Study.load(copied) == results.study


def test_the_table_of_trials_has_every_trial_with_its_values(shown: Page, path: Path) -> None:
    results = Results(path.parent)
    rows = [place for place, (tag, attributes) in enumerate(shown.tags) if tag == "tr" and "data-head" in attributes]
    assert len(rows) == len(results.trials)
    for place, trial in zip(rows, results.trials.values(), strict=True):
        cells = [shown.texts.get(place + offset, "").strip() for offset in range(1, 6)]
        name, *rest = [cell for cell in cells if cell != "best"]
        assert (name, rest[0], rest[1]) == (trial.name, trial.head, trial.status)
        assert rest[2] == ("–" if trial.objective is None else f"{trial.objective:.4f}")


def test_the_page_is_drawn_from_the_folder_alone(path: Path) -> None:
    study = Results(path.parent).study
    assert study.data.path
    assert not Path(study.data.path).exists()


def spoiled(folder: StudyFolder, text: str) -> Page:
    """The page of a study in whose folder this text stands wherever people, or what they use, may write."""
    lines = [json.loads(line) for line in folder.trials_file.read_text().splitlines()]
    for line in lines:
        if "reason" in line:
            line["reason"] = text
        if "params" in line:
            line["params"]["lr"] = text
    folder.trials_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    known = json.loads(folder.provenance_file.read_text())
    known |= {"command": ["orchestrator", text], "processor": text, "platform": text, "git": None}
    known["packages"]["torch"] = text
    folder.provenance_file.write_text(json.dumps(known))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Results, "best_yaml", lambda results, head: text)
        return rendered(folder)


@pytest.fixture(scope="module")
def written(undrawn: None, tmp_path_factory: pytest.TempPathFactory, build_study: BuildStudy) -> Callable[[str], Page]:
    """written(text): such a page with one head and trials of every end."""

    @cache
    def write(text: str) -> Page:
        ends = {"softmax": [([0.5, 0.6], "completed"), ([0.4], "failed"), ([0.4], "stopped"), ([], "diverged")]}
        parent, data = tmp_path_factory.mktemp("written"), {"path": f"/{text}"}
        return spoiled(build_study(parent, ["softmax"], 2, trials=ends, description=text, data=data), text)

    return write


def test_what_people_write_adds_no_tag_and_no_attribute(written: Callable[[str], Page]) -> None:
    plain, hostile = written("plain"), written(HOSTILE)
    assert [tag for tag, _ in hostile.tags] == [tag for tag, _ in plain.tags]
    assert [set(attributes) for _, attributes in hostile.tags] == [set(attributes) for _, attributes in plain.tags]
    assert not [key for _, attributes in hostile.tags for key in attributes if key.startswith("on")]


def test_what_people_write_is_shown_as_they_wrote_it(written: Callable[[str], Page]) -> None:
    hostile = written(HOSTILE)
    assert hostile.text_of("p", **{"class": "lead"}) == HOSTILE
    assert hostile.text_of("pre", id="yaml-softmax") == HOSTILE
    told = [hostile.texts.get(place) for place, (tag, _) in enumerate(hostile.tags) if tag in ("dd", "li")]
    assert f"orchestrator {HOSTILE}" in told
    assert f"softmax-001 failed: {HOSTILE}" in told


TURNS = "abc \u202ecba\u2066 \u200f\x07 https://me:secret@host/x"


@pytest.mark.usefixtures("undrawn")
def test_what_files_tell_turns_no_direction_and_tells_no_password(tmp_path: Path, build_study: BuildStudy) -> None:
    ends = {"softmax": [([0.5, 0.6], "completed"), ([0.4], "failed")]}
    shown = spoiled(build_study(tmp_path, ["softmax"], 2, trials=ends), TURNS)
    told = "abc \\u202ecba\\u2066 \\u200f\\x07 https://host/x"
    assert f"softmax-001 failed: {told}" in shown.texts.values()
    assert f"orchestrator {told}" in shown.texts.values()
    assert not [text for text in shown.texts.values() if visible(text) != text]


def rendered(folder: StudyFolder) -> Page:
    return Page(page.render(content.collect(Results(folder.root))))


@pytest.mark.usefixtures("undrawn")
def test_the_page_of_an_empty_study_says_so(tmp_path: Path, build_study: BuildStudy) -> None:
    shown = rendered(build_study(tmp_path, trials={"softmax": [], "arcface": []}))
    told = " ".join(shown.texts.values())
    assert "No trial has ended with a result yet." in told
    assert "interrupted; go on with: orchestrator resume" in told
    assert len(shown.all("script")) == 1
    assert "plotly" not in told.lower()


@pytest.mark.usefixtures("undrawn")
def test_the_page_of_a_running_study_shows_what_is_known(tmp_path: Path, build_study: BuildStudy) -> None:
    ends = {"softmax": [([0.5], "stopped"), ([0.7], "running")], "arcface": [([], "running")]}
    folder = build_study(tmp_path, trials=ends, examined=False)
    with folder.writer():
        shown = rendered(folder)
    told = " ".join(shown.texts.values())
    assert "1 of 4 trials ended; running since" in told
    assert "no trial has ended with a result yet" in told
    assert "(stopped after 1 epoch" in told


@pytest.mark.usefixtures("undrawn")
def test_a_command_in_the_page_names_a_file_that_is_there(tmp_path: Path, build_study: BuildStudy) -> None:
    folder = build_study(tmp_path, ["softmax"], 2, examined=False)
    report.write(Results(folder.root))
    shown = Page(folder.report_file.read_text())
    commands = [shown.texts[place] for place, (tag, _) in enumerate(shown.tags) if tag == "code"]
    (command,) = [command for command in commands if command.startswith("orchestrator launch ")]
    file = Path(command.removeprefix("orchestrator launch "))
    assert file.exists(), command
    assert Study.load(file) == Results(folder.root).best_study("softmax")
