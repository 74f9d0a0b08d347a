"""The report in a real browser: it opens from disk without a network, can be sorted, copied and read by everyone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orchestrator.reporting import report
from orchestrator.selection.results import Results
from orchestrator.storage.study_folder import StudyFolder

Open = Callable[..., Any]
BOTH = ("softmax", "arcface")


@pytest.mark.parametrize("name", ["flat", "shown", "projected"])
def test_it_opens_from_disk_and_asks_nobody_for_anything(request: pytest.FixtureRequest, name: str) -> None:
    """A report can be sent to anybody: it needs no server and no network, and tells nobody that it is read."""
    found = request.getfixturevalue(name)
    pixels = found.pixels()
    assert sum(found.count(label, pixels=pixels) for label in range(3)) > 100
    found.open_all()
    found.page.evaluate("() => Promise.all([...document.images].map((each) => each.decode()))")
    assert [url for url in found.requests if not url.startswith(("data:", "blob:"))] == [found.page.url]
    assert found.page.url.startswith("file:///")
    assert found.complaints == []


def test_the_page_of_a_study_without_a_trial_opens(
    opened: Open, build_study: Callable[..., StudyFolder], tmp_path: Path
) -> None:
    folder = build_study(tmp_path, trials=dict.fromkeys(BOTH, ()))
    with opened(report.write(Results(folder.root))) as found:
        assert found.page.inner_text("#leaderboard p") == "No trial has ended with a result yet."
        assert found.complaints == []


def test_the_page_of_a_confirmed_study_says_how_sure_it_is_even_on_a_phone(
    opened: Open, build_study: Callable[..., StudyFolder], tmp_path: Path
) -> None:
    """No mean without its interval and its n, on the smallest screen too."""
    folder = build_study(tmp_path, BOTH, confirmed=(2, 3), examined=False)
    with opened(report.write(Results(folder.root))) as found:
        found.page.set_viewport_size({"width": 320, "height": 700})
        found.page.click("nav a[href='#sure']")
        assert "On fresh seeds" in found.page.inner_text("#sure")
        rows = found.page.locator("#sure tbody tr")
        assert rows.count() == len(Results(folder.root).confirmation.asked.configurations)  # type: ignore[union-attr]
        assert found.page.locator("#picture-confirmation img").is_visible()
        assert found.page.evaluate("() => document.scrollingElement.scrollWidth") <= 320
        assert found.complaints == []


def test_without_javascript_the_pictures_and_tables_are_there(opened: Open, path: Path) -> None:
    with opened(path, java_script_enabled=False) as found:
        assert found.page.locator("#look noscript").inner_text()
        assert found.page.locator("#picture-heads img").is_visible()
        assert found.page.locator("#trials-table tbody tr").count() == 6


SENT = """async () => {
  const stopped = [];
  document.addEventListener("securitypolicyviolation", (event) => stopped.push(event.effectiveDirective));
  const fetched = await fetch("https://example.com/").then(() => "sent", () => "refused");
  const image = new Image();
  const loaded = new Promise((done) => { image.onload = () => done("loaded"); image.onerror = () => done("refused"); });
  image.src = "https://example.com/x.png";
  const evaluated = await new Promise((done) => setTimeout(() => { // later: what asks here may evaluate anything
    try { done(new Function("return 'ran'")()); } catch { done("refused"); }
  }));
  return [fetched, await loaded, evaluated, stopped];
}"""


def test_the_policy_stops_whatever_would_load_or_send(flat: Any) -> None:
    *outcome, stopped = flat.page.evaluate(SENT)
    assert outcome == ["refused", "refused", "refused"]
    assert {"connect-src", "img-src"} <= set(stopped)


def column(page: Any, heading: str) -> list[str]:
    """The visible cells below a heading of the table of trials."""
    place = page.locator("#trials-table thead th").all_inner_texts().index(heading)
    rows = page.locator("#trials-table tbody tr:not([hidden])").all()
    return [row.locator("th, td").nth(place).inner_text() for row in rows]


def sort_by(page: Any, heading: str) -> str | None:
    place = page.locator("#trials-table thead th").all_inner_texts().index(heading)
    cell = page.locator("#trials-table thead th").nth(place)
    cell.get_by_role("button").click()
    order: str | None = cell.get_attribute("aria-sort")
    return order


@pytest.mark.parametrize("heading", ["accuracy", "epochs", "seconds", "seed", "lr", "margin_rad", "sep. by angle"])
def test_the_trials_are_sorted_by_number_the_largest_first_and_then_the_other_way(page: Any, heading: str) -> None:
    for wanted in ("descending", "ascending"):
        assert sort_by(page, heading) == wanted
        assert page.locator("#trials-table th[aria-sort]").count() == 1
        shown = column(page, heading)
        known = [float(text) for text in shown if text != "–"]
        assert known == sorted(known, reverse=wanted == "descending")
        assert shown[len(known) :] == ["–"] * (len(shown) - len(known))
    assert len(shown) == 6


@pytest.mark.parametrize("heading", ["trial", "head", "status"])
def test_the_trials_are_sorted_by_their_words(page: Any, heading: str) -> None:
    for wanted in ("ascending", "descending"):
        assert sort_by(page, heading) == wanted
        shown = column(page, heading)
        assert shown == sorted(shown, reverse=wanted == "descending")


def test_the_trials_of_one_head_can_be_shown_alone(page: Any) -> None:
    page.select_option("#trials-head", "arcface")
    assert set(column(page, "head")) == {"arcface"}
    assert page.inner_text("#trials-count") == "3 of 6 trials"
    assert page.locator("#trials-table tbody tr:visible").count() == 3
    sort_by(page, "seed")
    assert set(column(page, "head")) == {"arcface"}
    page.select_option("#trials-head", "")
    assert page.inner_text("#trials-count") == "6 of 6 trials"


def copied(page: Any) -> str:
    page.locator("#head-arcface details").first.evaluate("(each) => { each.open = true; }")
    button = page.locator("button[data-copies=yaml-arcface]")
    button.click()
    page.wait_for_function("(each) => each.textContent === 'Copied'", arg=button.element_handle())
    return str(page.evaluate("() => window.readClipboard ? window.readClipboard() : navigator.clipboard.readText()"))


def test_the_copy_button_copies_the_configuration(page: Any) -> None:
    assert copied(page) == page.locator("#yaml-arcface").text_content()


NO_CLIPBOARD = """
const clipboard = navigator.clipboard;
window.readClipboard = () => clipboard.readText();
clipboard.writeText = () => Promise.reject(new Error("not allowed"));
"""


def test_where_the_clipboard_is_not_allowed_the_older_way_copies_too(opened: Open, path: Path) -> None:
    with opened(path, script=NO_CLIPBOARD, permissions=["clipboard-read", "clipboard-write"]) as found:
        found.page.evaluate("() => navigator.clipboard.write([new ClipboardItem({'text/plain': 'old'})])")
        assert copied(found.page).strip() == found.page.locator("#yaml-arcface").text_content().strip()
        assert found.complaints == []


@pytest.mark.parametrize("width", [320, 390])
def test_on_a_phone_only_tables_and_pictures_scroll_sideways_never_the_page(shown: Any, page: Any, width: int) -> None:
    before = page.viewport_size
    shown.open_all()
    page.set_viewport_size({"width": width, "height": 700})
    assert shown.count(0) > 10
    assert page.evaluate("() => document.scrollingElement.scrollWidth") <= width
    assert page.locator("#scatter").bounding_box()["width"] <= width
    assert page.locator("#scatter .main-svg").first.bounding_box()["width"] <= width
    page.set_viewport_size(before)


def test_on_a_phone_what_is_said_of_a_table_is_read_without_scrolling_sideways(page: Any) -> None:
    before = page.viewport_size
    page.set_viewport_size({"width": 390, "height": 700})
    widths = page.evaluate("() => [...document.querySelectorAll('.note')].map((each) => each.offsetWidth)")
    page.set_viewport_size(before)
    assert len(widths) == 2
    assert max(widths) <= 390


CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const parse = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under, share) => [0, 1, 2].map((n) => share * top[n] + (1 - share) * under[n]);
  const light = (colour) => {
    const linear = (share) => (share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.map((each) => linear(each / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const paper = (element) => {
    if (!element) return [255, 255, 255];
    const own = parse(getComputedStyle(element).backgroundColor);
    return own[3] === 1 ? own.slice(0, 3) : over(own, paper(element.parentElement), own[3]);
  };
  const opacity = (element) =>
    element ? Number(getComputedStyle(element).opacity) * opacity(element.parentElement) : 1;
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const text = walker.currentNode.textContent.trim();
    if (!text || element.closest("script, style, noscript, #scatter, option") || !element.checkVisibility()) continue;
    const under = paper(element);
    const ink = parse(getComputedStyle(element).color);
    const [one, other] = [over(ink, under, ink[3] * opacity(element)), under].map(light).sort((a, b) => b - a);
    found.push([(one + 0.05) / (other + 0.05), text.slice(0, 40), getComputedStyle(document.body).backgroundColor]);
  }
  return found.sort((a, b) => a[0] - b[0]);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_word_stands_out_from_its_ground_by_day_and_by_night(shown: Any, page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    shown.open_all()
    chip = page.locator("#scatter-classes button").first
    chip.click()  # a hidden class's name is still read
    contrasts, pixels = page.evaluate(CONTRASTS), shown.pixels()
    title = "() => getComputedStyle(document.querySelector('#scatter .gtitle')).fill"
    scatters_ink, ink = page.evaluate(title), page.evaluate("() => getComputedStyle(document.body).color")
    chip.click()
    page.emulate_media(color_scheme="light")
    assert scatters_ink == ink
    assert len(contrasts) > 200
    assert [each for each in contrasts if each[0] < 4.5] == []
    ground = [int(part) for part in contrasts[0][2].removeprefix("rgb(").rstrip(")").split(",")]
    assert (max(ground) < 60) if scheme == "dark" else (min(ground) > 230)
    assert all(shown.count(label, max(ground), pixels) > 20 for label in range(1, 4))
    assert bool(np.median(pixels) < 60) is (scheme == "dark")


WHERE = """() => {
  const each = document.activeElement;
  const outline = getComputedStyle(each);
  return [each.tagName.toLowerCase(), each.id || each.parentElement?.id || each.closest("table")?.id || each.className,
          outline.outlineStyle !== "none" && parseFloat(outline.outlineWidth) > 0];
}"""


def test_the_keyboard_reaches_everything_and_its_place_is_seen(page: Any) -> None:
    page.locator("nav a").first.focus()
    page.keyboard.press("Shift+Tab")
    assert page.locator("a.skip").bounding_box()["x"] >= 0
    stops: list[tuple[str, str]] = []
    unseen = []
    for _ in range(150):
        tag, name, outlined = page.evaluate(WHERE)
        if tag == "body":
            break
        stops.append((tag, name))
        unseen += [] if outlined else [(tag, name)]
        page.keyboard.press("Tab")
    assert stops[0] == ("a", "skip")
    wanted = {("select", "scatter-head"), ("button", "scatter-classes"), ("div", "scatter"), ("select", "trials-head")}
    assert wanted <= {*stops}
    assert stops.count(("button", "trials-table")) == page.locator("#trials-table thead button").count()
    assert stops.count(("button", "scatter-classes")) == 4
    assert unseen == []


def test_a_heading_and_a_class_answer_to_the_keyboard(page: Any) -> None:
    chip = page.locator("#scatter-classes button").first
    chip.focus()
    page.keyboard.press("Space")
    assert chip.get_attribute("aria-pressed") == "false"
    page.keyboard.press("Space")
    assert chip.get_attribute("aria-pressed") == "true"
    heading = page.locator("#trials-table thead th").first
    heading.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") in ("ascending", "descending")


def test_nothing_of_all_that_has_made_the_page_complain(shown: Any) -> None:
    assert shown.complaints == []


@pytest.mark.parametrize(("ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_without_a_browser_these_tests_are_skipped_but_fail_in_continuous_integration(
    unavailable: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no Chromium here"):
        unavailable("no Chromium here")
