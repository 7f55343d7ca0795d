"""Where a visitor's eyes are: every answer is in the window, on any size of it, by mouse, touch or keyboard alone."""

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, expect

from tests.demo.browser_page import (
    KNOWN,
    LISTEN,
    LOOKS,
    OTHER_LOOKS,
    PATIENCE,
    assert_answer_in_window,
    assert_in_window,
    give,
    next_answer,
    open_page,
)
from tests.demo.conftest import drawn_picture, noise, png_bytes


@pytest.mark.parametrize(("window", "theme"), LOOKS)
def test_every_answer_comes_into_view(browser: Browser, address: str, window: str, theme: str) -> None:
    is_touched = window != "laptop"
    page = open_page(browser, f"{address}?__theme={theme}", window, has_touch=is_touched)

    def press(part: Locator) -> Callable[[], object]:
        return part.tap if is_touched else part.click

    answer = next_answer(page, lambda: give(page, png_bytes(drawn_picture(KNOWN))))
    assert_answer_in_window(page, answer)
    expect(answer).to_be_focused()
    tile = page.locator("#cars-gallery .visim-tiles button").nth(1)
    card = next_answer(page, press(tile), part="#cars-card")
    assert_in_window(page, card, *(page.locator(f"#cars-{act}") for act in ("again", "why", "less")))
    expect(card).to_be_focused()
    expect(tile).to_have_attribute("aria-pressed", "true")
    answer = next_answer(page, press(page.locator("#cars-again")))
    expect(answer).to_contain_text("Searching with a picture of the gallery")
    assert_answer_in_window(page, answer)
    answer = next_answer(page, press(page.get_by_label("by look")))
    assert_answer_in_window(page, answer)
    assert_answer_in_window(
        page, next_answer(page, lambda: page.locator("#cars-top-k input[type=range]").press("ArrowRight"))
    )
    answer = next_answer(page, lambda: give(page, png_bytes(noise(5))))
    expect(answer).to_contain_text("gets this warning")
    assert_answer_in_window(page, answer)
    answer = next_answer(page, press(page.locator("#cars-reveal")))
    assert_answer_in_window(page, answer)
    answer = next_answer(page, press(page.locator("#cars-examples button").first))
    assert_answer_in_window(page, answer)
    assert_in_window(page, next_answer(page, lambda: give(page, b"%PDF-1.4", name="page.pdf", kind="application/pdf")))
    page.close()


@pytest.mark.parametrize(("window", "theme"), OTHER_LOOKS)
def test_a_shared_link_opens_at_its_answer(browser: Browser, address: str, window: str, theme: str) -> None:
    page = open_page(browser, f"{address}?cars=suv/suv_0001.jpg&way=by+look&top_k=4&__theme={theme}", window)
    answer = page.locator("#cars-verdict [data-answer]")
    answer.wait_for()
    assert_answer_in_window(page, answer)
    expect(answer).to_be_focused()
    page.close()


def test_an_answer_is_announced_once(browser: Browser, address: str) -> None:
    page = open_page(browser, address)
    page.evaluate(LISTEN)
    expect(next_answer(page, lambda: give(page, png_bytes(drawn_picture(KNOWN))))).to_be_focused()
    page.wait_for_timeout(300)
    assert page.evaluate("heard") == ["focus"]
    slider = page.locator("#cars-top-k input[type=range]")
    next_answer(page, lambda: slider.press("ArrowRight"))
    expect(page.locator("#visim-status")).to_have_text("5 matches are shown.")
    expect(slider).to_be_focused()  # it can be moved on
    assert page.evaluate("heard") == ["focus", "5 matches are shown."]
    page.close()


def test_the_keyboard_is_enough(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.get_by_role("tab", name="CIFAR-10").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Cars")).to_be_focused()
    expect(page.get_by_role("tab", name="Cars")).to_have_attribute("aria-selected", "true")
    expect(page.locator("#cars-examples button").first).to_be_visible()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#cars-examples') !== null"):
            break
    expect(next_answer(page, lambda: page.keyboard.press("Enter"))).to_be_focused()
    if page.locator("#cars-reveal").is_visible():
        next_answer(page, lambda: page.locator("#cars-reveal").press("Enter"))
    expect(page.locator("#cars-gallery .visim-tiles li")).to_have_count(4)
    expect(page.locator("#cars-verdict [data-answer]")).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.visim-tiles') !== null"):
            break
    expect(next_answer(page, lambda: page.keyboard.press("Enter"), part="#cars-card")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator("#cars-again")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#cars-verdict [data-answer]")).to_contain_text("a picture of the gallery")
    page.close()


def test_back_returns_to_the_search_before(browser: Browser, address: str) -> None:
    page = open_page(browser, address)
    start = page.url
    next_answer(page, page.locator("#cars-examples button").first.click)
    expect(page).to_have_url(re.compile(r"\?cars=1&of=example&way=by\+body&top_k=4$"))
    next_answer(page, lambda: give(page, png_bytes(drawn_picture(KNOWN))))
    assert page.url == start  # an upload that is not kept has no address
    if page.locator("#cars-reveal").is_visible():
        next_answer(page, page.locator("#cars-reveal").click)
    next_answer(page, page.locator("#cars-gallery .visim-tiles button").first.click, part="#cars-card")
    next_answer(page, page.locator("#cars-again").click)
    expect(page).to_have_url(re.compile(r"\?cars=sedan%2Fsedan_0002\.jpg&way=by\+body&top_k=4$"))
    for expected in ("a car", "a car"):
        expect(next_answer(page, page.go_back)).to_contain_text(expected)
    expect(page).to_have_url(re.compile("of=example"))
    page.go_back()
    expect(page.locator("#cars-verdict")).to_contain_text("Choose a picture.")
    expect(next_answer(page, page.go_forward)).to_contain_text("a car")
    page.close()


def test_the_link_to_an_upload_works_for_others_where_it_is_kept(browser: Browser, photo_address: str) -> None:
    page = open_page(browser, photo_address)
    expect(page.locator("#cars-kept-note")).to_contain_text("kept here for 24 hours")
    next_answer(page, lambda: give(page, png_bytes(drawn_picture(KNOWN))))
    expect(page).to_have_url(re.compile(r"\?cars=[\w-]{22}&of=upload"))
    shared = page.url
    page.close()
    other = open_page(browser, shared)
    expect(other.locator("#cars-verdict [data-answer]")).to_contain_text("a car")
    expect(other.locator("#cars-upload img")).to_be_visible()
    other.goto(f"{photo_address}?cars={'a' * 22}&of=upload")
    expect(other.locator("#cars-verdict .visim-error")).to_contain_text("no longer kept")
    other.close()


def test_copies_share_a_tile_and_parts_are_coloured_on_photographs(browser: Browser, photo_address: str) -> None:
    page = open_page(browser, photo_address)
    next_answer(page, lambda: give(page, png_bytes(drawn_picture(KNOWN))))
    tiles = page.locator("#cars-gallery .visim-tiles li")
    expect(tiles).to_have_count(4)
    next_answer(page, lambda: page.locator("#cars-top-k input[type=range]").press("End"))  # 12 of 10 pictures
    assert set(page.locator("#cars-gallery .visim-badge").all_inner_texts()) == {"2 copies"}
    assert 6 <= tiles.count() <= 10
    expect(page.locator("#cars-gallery .visim-note")).to_have_count(0)
    next_answer(page, tiles.first.get_by_role("button").click, part="#cars-card")
    why = next_answer(page, page.locator("#cars-why").click, part="#cars-why-text")
    expect(why).to_contain_text(re.compile("unrelated pictures"))
    assert_in_window(page, why)
    page.close()


def test_the_page_speaks_german(browser: Browser, address: str) -> None:
    page = open_page(browser, address, locale="de-DE")
    expect(page.locator("#visim-heading")).to_contain_text("Gib ein Bild")
    expect(page.locator("#cars-verdict")).to_contain_text("Wähle ein Bild.")
    expect(page.locator("#cars-way")).to_contain_text("nach Aussehen")
    expect(page.locator("#cars-address button")).to_have_text("Holen")
    expect(next_answer(page, lambda: give(page, png_bytes(drawn_picture(KNOWN))))).to_contain_text(
        "Das sieht aus wie ein Auto."
    )
    expect(page.locator("#cars-gallery .visim-caption").first).to_contain_text("Ähnlichkeit: 100 %")
    words = page.locator("body").inner_text()
    for english in ("similarity:", "Most similar", "Choose a picture", "How sure", "Or try", "Fetch", "Compare"):
        assert english not in words
    page.close()


@pytest.mark.parametrize("window", ["laptop", "small phone"])
def test_what_a_finger_needs(browser: Browser, address: str, window: str) -> None:
    page = open_page(browser, address, window)
    small = page.evaluate("""() => [...document.querySelectorAll(
        "#cars-upload .source-selection button, #cars-address button, #cars-examples button, [role=tab]")]
        .filter(part => part.offsetParent)
        .map(part => [part.getAttribute("aria-label") || part.textContent.trim(), part.getBoundingClientRect()])
        .filter(([, box]) => box.width < 43.5 || box.height < 43.5)
        .map(([name, box]) => [name, box.width, box.height])""")
    assert small == []
    page.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_no_serious_fault_in_a_warning(browser: Browser, photo_address: str, theme: str) -> None:
    page = open_page(browser, f"{photo_address}?__theme={theme}", "phone")
    next_answer(page, lambda: give(page, png_bytes(noise(5))))
    page.add_style_tag(content="* { transition: none !important }")
    faults = Axe().run(page, context={"exclude": [["footer"], ["#cars-upload"]]})
    serious = [fault for fault in faults.response["violations"] if fault["impact"] in ("serious", "critical")]
    assert [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in serious] == []
    page.close()


def test_the_layout_does_not_jump(browser: Browser, address: str) -> None:
    page = open_page(browser, address)
    left = "document.querySelector('#visim-heading').getBoundingClientRect().left"
    before = page.evaluate(left)
    next_answer(page, lambda: give(page, png_bytes(drawn_picture(KNOWN))))
    assert page.evaluate(left) == before
    page.close()


def test_a_link_that_is_passed_on_shows_visims_own_words(browser: Browser, address: str) -> None:
    page = browser.new_page()
    page.goto(address)
    tags = page.evaluate(
        '[...document.querySelectorAll(\'meta[property^="og:"], meta[name^="twitter:"]\')]'
        ".map(tag => [tag.getAttribute('property') || tag.name, tag.content])"
    )
    values = dict(tags)
    assert len(values) == len(tags) == 6
    assert values["og:title"] == "visim: visual similarity"
    assert values["og:description"].startswith("Give it a picture")
    picture = page.request.get(values["og:image"])
    assert (picture.status, picture.headers["content-type"]) == (200, "image/png")
    assert "gradio" not in str(tags).lower()
    page.close()
