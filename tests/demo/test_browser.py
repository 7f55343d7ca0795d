"""The page in a real browser: headless Chromium through Playwright, at the width of a laptop and of a phone."""

import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from axe_playwright_python.sync_playwright import Axe
from gradio.route_utils import delete_files_created_by_app
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from tests.demo.conftest import drawn_picture, noise, png_bytes

PERCENT = re.compile(r"similarity: -?\d+ %")
WARNED = "This is probably not a car."
PATIENCE = 30_000  # milliseconds


def open_page(browser: Browser, address: str, *, width: int = 1280, height: int = 900) -> Page:
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.get_by_role("tab", name="Cars").wait_for()
    return page


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    opened = open_page(browser, address)
    yield opened
    opened.close()


def upload(page: Page, tab: str, content: bytes, name: str = "picture.png", kind: str = "image/png") -> None:
    if tab == "cars":
        page.get_by_role("tab", name="Cars").click()
    chooser = page.locator(f"#{tab}-upload input[type=file]")
    chooser.set_input_files({"name": name, "mimeType": kind, "buffer": content})


def captions(page: Page, tab: str) -> Locator:
    return page.locator(f"#{tab}-gallery .visim-caption")


@pytest.mark.parametrize("tab", ["cifar10", "cars"])
def test_an_upload_gives_four_tiles_with_percents(page: Page, tab: str) -> None:
    upload(page, tab, png_bytes(drawn_picture(7)))
    expect(captions(page, tab)).to_have_count(4, timeout=PATIENCE)
    texts = captions(page, tab).all_inner_texts()
    assert all(PERCENT.match(text) for text in texts)
    assert texts[0] == "similarity: 100 % · sedan"
    assert page.locator(f"#{tab}-gallery .visim-badge").all_inner_texts() == ["drawn"] * 4
    expect(page.locator(f"#{tab}-gallery .visim-note")).to_contain_text("drawn from their codes")
    said = page.locator(f"#{tab}-gallery .visim-means")
    if tab == "cars":
        expect(said).to_have_text("What the percentage means: about 96 in 100 matches at 100 % are the same body.")
        expect(page.locator("#cars-verdict .visim-classes")).to_contain_text("Body:")
    else:
        expect(said).to_have_count(0)  # where it was not measured
    for picture in page.locator(f"#{tab}-gallery img").all():
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    page.locator(f"#{tab}-inside").get_by_text("How it looks inside").click()
    expect(page.locator(f"#{tab}-kept img")).to_be_visible(timeout=PATIENCE)


def test_noise_is_warned_of_and_shown_on_demand(page: Page) -> None:
    upload(page, "cars", png_bytes(noise(5)))
    expect(page.locator("#cars-verdict")).to_contain_text(WARNED, timeout=PATIENCE)
    expect(page.locator("#cars-verdict")).to_contain_text("About one in 20 real cars gets this warning.")
    expect(page.locator("#cars-verdict")).not_to_contain_text("Body:")
    expect(page.locator("#cars-gallery")).to_be_hidden()
    page.get_by_text("How sure is this?").click()
    expect(page.locator("#cars-sure")).to_contain_text(
        re.compile(r"stranger than [\d.]+ % of 60 cars that were held out; the warning is set for 5 % false alarms")
    )
    page.get_by_role("button", name="Show me the nearest anyway").click()
    expect(captions(page, "cars")).to_have_count(4, timeout=PATIENCE)
    expect(page.locator("#cars-verdict")).to_contain_text(WARNED)
    expect(page.get_by_role("button", name="Show me the nearest anyway")).to_be_hidden()


def test_the_slider_changes_how_many_are_shown(page: Page) -> None:
    upload(page, "cars", png_bytes(drawn_picture(7)))
    expect(captions(page, "cars")).to_have_count(4, timeout=PATIENCE)
    slider = page.locator("#cars-top-k input[type=range]")
    for key, count in (("ArrowRight", 5), ("End", 12), ("Home", 1)):
        slider.press(key)
        expect(captions(page, "cars")).to_have_count(count, timeout=PATIENCE)


def test_a_tile_can_be_searched_with(page: Page) -> None:
    upload(page, "cars", png_bytes(drawn_picture(7)))
    expect(captions(page, "cars")).to_have_count(4, timeout=PATIENCE)
    tile = page.get_by_role("button", name=re.compile("similarity")).nth(2)
    tile.focus()
    tile.press("Enter")
    card = page.locator("#cars-card .visim-chosen")
    expect(card).to_be_visible(timeout=PATIENCE)
    expect(card).to_contain_text("Of 100 matches with")
    chosen = card.locator(".visim-file bdi").inner_text()
    page.get_by_role("button", name="Search with this one").click()
    expect(page.locator("#cars-verdict")).to_contain_text("Searching with a picture of the gallery", timeout=PATIENCE)
    expect(captions(page, "cars").first).to_contain_text("similarity: 100 %", timeout=PATIENCE)
    page.get_by_text("The matches as a table").click()
    expect(page.locator("#cars-table")).to_contain_text(chosen, timeout=PATIENCE)


def test_by_look_ranks_by_the_autoencoder(page: Page) -> None:
    upload(page, "cars", png_bytes(drawn_picture(7)))
    expect(captions(page, "cars")).to_have_count(4, timeout=PATIENCE)
    by_body = captions(page, "cars").all_inner_texts()
    page.get_by_label("by look").check()
    expect(captions(page, "cars").nth(1)).not_to_have_text(by_body[1], timeout=PATIENCE)
    expect(captions(page, "cars").first).to_contain_text("similarity: 100 % · sedan")


def test_the_matches_download_as_csv(page: Page, tmp_path: Path) -> None:
    upload(page, "cars", png_bytes(drawn_picture(7)))
    expect(captions(page, "cars")).to_have_count(4, timeout=PATIENCE)
    page.get_by_text("The matches as a table").click()
    with page.expect_download() as download:
        page.locator("#cars-csv").click()
    download.value.save_as(tmp_path / "matches.csv")
    lines = (tmp_path / "matches.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "rank,file_name,label,score"
    assert re.fullmatch(r"1,sedan/sedan_0002\.jpg,sedan,(0\.999\d+|1\.000000)", lines[1])
    assert len(lines) == 5


def test_what_is_no_picture_is_refused_in_words_and_the_next_works(page: Page) -> None:
    """After a good picture, too: by then Gradio has made the component anew."""
    upload(page, "cars", png_bytes(drawn_picture(3)))
    expect(captions(page, "cars")).to_have_count(4, timeout=PATIENCE)
    page.locator("#cars-upload").get_by_role("button", name=re.compile("clear|remove", re.IGNORECASE)).first.click()
    expect(page.locator("#cars-verdict")).to_contain_text("Choose a picture", timeout=PATIENCE)
    upload(page, "cars", b"this is no picture", name="text.jpg", kind="image/jpeg")
    verdict = page.locator("#cars-verdict")
    expect(verdict.locator(".visim-error")).to_contain_text("Use a JPEG, PNG", timeout=PATIENCE)
    expect(page.locator("#cars-gallery")).to_be_hidden()
    page.locator("#cars-upload").get_by_role("button", name=re.compile("clear|remove", re.IGNORECASE)).first.click()
    expect(verdict).to_contain_text("Choose a picture.", timeout=PATIENCE)
    upload(page, "cars", png_bytes(drawn_picture(7)))
    expect(captions(page, "cars")).to_have_count(4, timeout=PATIENCE)


def test_a_file_that_no_browser_shows_is_shown_as_the_picture_that_was_searched_with(page: Page) -> None:
    """A TIFF that is stored lying on its side: the preview is upright, and not a broken icon."""
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn it by 90 degrees to the right
    drawn_picture(7).transpose(Image.Transpose.ROTATE_90).save(file, "TIFF", exif=exif)
    upload(page, "cars", file.getvalue(), name="scan.tif", kind="image/tiff")
    expect(captions(page, "cars").first).to_contain_text("similarity: 100 % · sedan", timeout=PATIENCE)
    shown = page.locator("#cars-upload img")
    expect(shown).to_be_visible()
    size = shown.evaluate("image => image.decode().then(() => [image.naturalWidth, image.naturalHeight])")
    assert size == [64, 48]
    page.get_by_label("by look").check()
    expect(captions(page, "cars").first).to_contain_text("similarity: 100 % · sedan")


def test_a_file_without_a_type_is_looked_into_by_the_server(page: Page) -> None:
    """A browser gives a file whose name has no end no type."""
    upload(page, "cars", png_bytes(drawn_picture(7)), name="IMG_0001", kind="")
    expect(captions(page, "cars").first).to_contain_text("similarity: 100 % · sedan", timeout=PATIENCE)
    expect(page.locator("#cars-upload img")).to_be_visible()
    page.locator("#cars-upload").get_by_role("button", name=re.compile("clear|remove", re.IGNORECASE)).first.click()
    expect(page.locator("#cars-verdict")).to_contain_text("Choose a picture.", timeout=PATIENCE)
    upload(page, "cars", b"no picture", name="letter", kind="")
    expect(page.locator("#cars-verdict .visim-error")).to_contain_text("Use a JPEG, PNG", timeout=PATIENCE)


def test_an_example_is_one_click(page: Page) -> None:
    page.get_by_role("tab", name="Cars").click()
    examples = page.locator("#cars-examples button")
    expect(examples).to_have_count(5)
    examples.last.click()
    expect(page.locator("#cars-verdict [data-answer]")).to_be_visible(timeout=PATIENCE)
    expect(page.locator("#cars-upload img")).to_be_visible()


def test_a_phone_needs_no_sideways_scrolling(browser: Browser, address: str) -> None:
    page = open_page(browser, address, width=390, height=844)
    for tab in ("cifar10", "cars"):
        upload(page, tab, png_bytes(drawn_picture(7)))
        expect(captions(page, tab)).to_have_count(4, timeout=PATIENCE)
        captions(page, tab).nth(1).click()
        expect(page.locator(f"#{tab}-again")).to_be_visible(timeout=PATIENCE)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_an_address_is_fetched_and_searched_with(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """The download itself, from real servers, is tested in tests/visim_models/test_download.py."""
    monkeypatch.setattr("demo.uploads.download", lambda url, **_: png_bytes(drawn_picture(7)))
    page.get_by_role("tab", name="Cars").click()
    page.locator("#cars-address input, #cars-address textarea").fill("https://somewhere.example/sedan.png")
    page.locator("#cars-address button").click()
    first = captions(page, "cars").first
    expect(first).to_contain_text("similarity: 100 % · sedan", timeout=PATIENCE)
    expect(page.locator("#cars-upload img")).to_be_visible()
    page.get_by_label("by look").check()  # the fetched picture can be searched with again
    expect(first).to_contain_text("similarity: 100 % · sedan")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("http://127.0.0.1:1/x.png", "leads to a private or local address"),
        ("http://169.254.169.254/latest/meta-data", "leads to a private or local address"),
        ("file:///etc/passwd", "is not a plain http or https address"),
        (" ", "No address was given"),
    ],
)
def test_an_address_that_is_refused(page: Page, given: str, reason: str) -> None:
    page.get_by_role("tab", name="Cars").click()
    field = page.locator("#cars-address input, #cars-address textarea")
    field.fill(given)
    field.press("Enter")
    expect(page.locator("#cars-verdict .visim-error")).to_contain_text(reason, timeout=PATIENCE)


def test_an_address_that_may_not_even_wait(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("demo.uploads.FETCHES._room", 0)
    page.get_by_role("tab", name="Cars").click()
    field = page.locator("#cars-address input, #cars-address textarea")
    field.fill("https://somewhere.example/sedan.png")
    field.press("Enter")
    expect(page.get_by_text("Too many pictures are being fetched").first).to_be_visible(timeout=PATIENCE)


def test_why_two_pictures_match(page: Page) -> None:
    upload(page, "cars", png_bytes(drawn_picture(7)))
    expect(captions(page, "cars")).to_have_count(4, timeout=PATIENCE)
    captions(page, "cars").nth(1).click()
    page.get_by_role("button", name="Why do these match?").click()
    expect(page.locator("#cars-why-text")).to_contain_text("The tile is only drawn", timeout=PATIENCE)
    expect(page.locator("#cars-why-found")).to_be_hidden()
    captions(page, "cars").nth(2).click()  # another tile has other reasons
    expect(page.locator("#cars-why-text")).to_be_hidden(timeout=PATIENCE)


def test_a_link_repeats_a_search(page: Page, address: str) -> None:
    page.goto(f"{address}?cars=suv/suv_0001.jpg&way=by+look&top_k=6")
    expect(captions(page, "cars")).to_have_count(6, timeout=PATIENCE)
    expect(captions(page, "cars").first).to_contain_text("similarity: 100 % · suv")
    expect(page.get_by_label("by look")).to_be_checked()
    again = page.get_by_role("link", name="Link to this search").get_attribute("href")
    assert again == "?cars=suv%2Fsuv_0001.jpg&way=by+look&top_k=6"


@pytest.mark.parametrize(
    "query",
    [
        "cars=none/x.jpg",
        "cars=../../etc/passwd&top_k=-3",
        "cars=<b>&way=none&top_k=1e9",
        f"cars=none&top_k={'9' * 5000}",
    ],
)
def test_a_link_to_nothing_says_so(page: Page, address: str, query: str) -> None:
    page.goto(f"{address}?{query}")
    expect(page.locator("#cars-verdict .visim-error")).to_contain_text("has no picture", timeout=PATIENCE)


def test_axe_finds_no_serious_fault(browser: Browser, address: str) -> None:
    """In what is ours, in both themes: Gradio's own upload area and footer are left out."""
    page = open_page(browser, f"{address}?__theme=light")
    upload(page, "cars", png_bytes(drawn_picture(7)))
    expect(captions(page, "cars")).to_have_count(4, timeout=PATIENCE)
    captions(page, "cars").nth(1).click()
    page.get_by_role("button", name="Why do these match?").click()
    expect(page.locator("#cars-why-text")).to_be_visible(timeout=PATIENCE)
    page.get_by_text("How sure is this?").click()
    page.add_style_tag(content="* { transition: none !important }")  # colours between the themes are nobody's
    for is_dark in (False, True):
        page.evaluate("isDark => document.body.classList.toggle('dark', isDark)", is_dark)
        faults = Axe().run(page, context={"exclude": [["footer"], ["#cars-upload"], ["#cifar10-upload"]]})
        serious = [fault for fault in faults.response["violations"] if fault["impact"] in ("serious", "critical")]
        assert [(fault["id"], [node["html"] for node in fault["nodes"]]) for fault in serious] == []
    page.close()


def test_what_visitors_leave_is_deleted(page: Page, demo: gr.Blocks) -> None:
    """Uploads and finished downloads go when their time is over; here the time is 0 seconds."""
    cache = Path(demo.GRADIO_CACHE)
    before = set(cache.rglob("*.*"))
    upload(page, "cars", png_bytes(noise(os.getpid())), name="left-by-a-visitor.png")
    page.get_by_role("button", name="Show me the nearest anyway").click()
    expect(captions(page, "cars")).to_have_count(4, timeout=PATIENCE)
    tile = re.compile("(photo|drawn)-[0-9a-f]+[.]png")  # of the gallery, not of the visitor
    left = {path for path in set(cache.rglob("*.*")) - before if not tile.fullmatch(path.name)}
    names = sorted(path.name for path in left)
    assert names == ["left-by-a-visitor.png", "visim-matches.csv"]
    assert demo.delete_cache == (900, 3600)
    delete_files_created_by_app(demo, 0)
    assert [path for path in left if path.exists()] == []


def test_the_page_asks_no_other_server(browser: Browser, address: str) -> None:
    page = browser.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    upload(page, "cars", png_bytes(drawn_picture(7)))
    expect(captions(page, "cars")).to_have_count(4, timeout=PATIENCE)
    page.close()
    assert len(asked) > 5
    assert [url for url in asked if not url.startswith((address, "data:", "blob:"))] == []
