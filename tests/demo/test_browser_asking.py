"""Further ways to ask, in a browser: with a part, with several pictures, less like a match, for one label."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.demo.browser_page import (
    KNOWN,
    OTHER_LOOKS,
    assert_answer_in_window,
    assert_in_window,
    give,
    next_answer,
    open_page,
)
from tests.demo.conftest import drawn_picture, png_bytes


@pytest.mark.parametrize(("window", "theme"), OTHER_LOOKS)
def test_a_part_can_be_searched_with(browser: Browser, address: str, window: str, theme: str) -> None:
    page = open_page(browser, f"{address}?__theme={theme}", window)
    next_answer(page, lambda: give(page, png_bytes(drawn_picture(KNOWN))))
    frame = next_answer(page, page.locator("#cars-crop").click, part="#cars-frame")
    expect(frame).to_be_focused()
    box, go = frame.locator(".visim-crop-box"), frame.locator(".visim-crop-go")
    assert_in_window(page, box, go)
    area = frame.locator(".visim-crop-stage").bounding_box()
    assert area is not None
    page.mouse.move(area["x"] + 0.25 * area["width"], area["y"] + 0.25 * area["height"])
    page.mouse.down()
    page.mouse.move(area["x"] + 0.75 * area["width"], area["y"] + 0.75 * area["height"], steps=3)
    page.mouse.up()
    expect(box).to_be_focused()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Shift+ArrowDown")
    shape = box.evaluate("box => [box.style.left, box.style.top, box.style.width, box.style.height].map(parseFloat)")
    assert shape == pytest.approx([20, 25, 50, 55], abs=1)
    answer = next_answer(page, lambda: page.keyboard.press("Tab") or page.keyboard.press("Enter"))
    assert_answer_in_window(page, answer)
    expect(page.locator("#cars-frame")).to_be_hidden()
    size = page.locator("#cars-upload img").evaluate(
        "image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])"
    )
    assert size == [32, 26]  # of 64 x 48
    expect(next_answer(page, page.go_back)).to_contain_text("a car")
    page.close()


def test_the_average_of_several_pictures_can_be_searched_with(browser: Browser, address: str) -> None:
    page = open_page(browser, address)
    page.locator("#cars-several-fold button").first.click()
    chooser = page.locator("#cars-several input[type=file]")
    files = [
        {"name": f"{number}.png", "mimeType": "image/png", "buffer": png_bytes(drawn_picture(number))}
        for number in (KNOWN, KNOWN + 1)
    ]
    answer = next_answer(page, lambda: chooser.set_input_files(files))
    expect(answer).to_contain_text("Searched with the average of 2 pictures")
    assert_answer_in_window(page, answer)
    expect(page.locator("#cars-crop")).to_be_hidden()
    answer = next_answer(page, page.get_by_label("by look").check)
    expect(answer).to_contain_text("Searched with the average of 2 pictures")
    answer = next_answer(page, page.locator("#cars-examples button").first.click)
    expect(answer).not_to_contain_text("average")
    expect(next_answer(page, page.go_back)).to_contain_text("Searched with the average of 2 pictures")
    page.close()


def test_a_file_among_several_that_is_no_picture_is_refused(browser: Browser, address: str) -> None:
    page = open_page(browser, address)
    page.locator("#cars-several-fold button").first.click()
    chooser = page.locator("#cars-several input[type=file]")
    letter = {"name": "letter.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.4"}
    picture = {"name": "a.png", "mimeType": "image/png", "buffer": png_bytes(drawn_picture(KNOWN))}
    answer = next_answer(page, lambda: chooser.set_input_files([picture, letter]))
    expect(answer).to_contain_text("That is not a picture.")
    false = {"name": "b.jpg", "mimeType": "image/jpeg", "buffer": b"no picture"}
    answer = next_answer(page, lambda: chooser.set_input_files([picture, false]))
    expect(answer).to_contain_text("Use a JPEG, PNG")
    page.close()


def test_matches_can_be_less_like_one_of_them(browser: Browser, address: str) -> None:
    page = open_page(browser, f"{address}?cars=suv/suv_0001.jpg")
    names = page.locator("#cars-card .visim-file bdi")
    tiles = page.locator("#cars-gallery .visim-tiles button")
    expect(tiles).to_have_count(4)
    next_answer(page, tiles.nth(1).click, part="#cars-card")
    unwanted = names.inner_text()
    answer = next_answer(page, page.locator("#cars-less").click)
    expect(answer).to_contain_text("come later")
    assert_answer_in_window(page, answer)
    expect(page).to_have_url(re.compile("less="))
    page.locator("#cars-table-fold button").first.click()
    expect(page.locator("#cars-table")).to_contain_text("suv/suv_0001.jpg")
    expect(page.locator("#cars-table")).not_to_contain_text(unwanted)
    expect(next_answer(page, page.reload)).to_contain_text("come later")
    answer = next_answer(page, page.locator("#cars-all-again").click)
    expect(answer).not_to_contain_text("come later")
    expect(page.locator("#cars-all-again")).to_be_hidden()
    expect(next_answer(page, page.go_back)).to_contain_text("come later")
    page.close()


def test_a_label_can_be_asked_for(browser: Browser, photo_address: str) -> None:
    page = open_page(browser, photo_address)
    next_answer(page, lambda: give(page, png_bytes(drawn_picture(KNOWN))))
    page.locator("#cars-label input").click()
    next_answer(page, page.get_by_role("option", name="truck").click)
    captions = page.locator("#cars-gallery .visim-caption")
    expect(captions.first).to_contain_text("truck")
    assert {text.split(" · ")[1] for text in captions.all_inner_texts()} == {"truck"}
    page.close()


def test_axe_finds_no_serious_fault_in_the_further_ways_to_ask(browser: Browser, address: str) -> None:
    page = open_page(browser, address, "phone")
    next_answer(page, lambda: give(page, png_bytes(drawn_picture(KNOWN))))
    page.locator("#cars-several-fold button").first.click()
    next_answer(page, page.locator("#cars-crop").click, part="#cars-frame")
    page.add_style_tag(content="* { transition: none !important }")
    for is_dark in (False, True):
        page.evaluate("isDark => document.body.classList.toggle('dark', isDark)", is_dark)
        faults = Axe().run(page, context={"exclude": [["footer"], ["#cars-upload"], ["#cars-several"]]})
        serious = [fault for fault in faults.response["violations"] if fault["impact"] in ("serious", "critical")]
        assert [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in serious] == []
    page.close()
