"""A gallery of drawn things in a real browser: with title, columns and links, and with texts that want to be markup."""

import csv
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from demo.collection import load_collections
from demo.heading import make_heading, read_logo
from demo.page import build_demo
from demo.settings import Settings
from tests.builders import drawn_picture, tiny_repo, write_pictures
from tests.demo.conftest import png_bytes, served
from visim_models.galleries import Description, MetadataTable, build

PATIENCE = 30_000  # milliseconds
HOSTILE = "<img src=x onerror=\"document.title='owned'\"> [click](javascript:alert(1)) ${alert(1)} {{1+1}} **bold**"
KINDS = ["chairs", "lamps", "tables"]


def write_gallery(folder: Path, model: Path, *, url: str, price: str, **about: str) -> Path:
    """Build a gallery of 24 drawn pictures with the columns price and url, and give its folder back."""
    pictures = write_pictures(folder / "pictures", 8, classes=KINDS)
    names = sorted(path.relative_to(pictures).as_posix() for path in pictures.rglob("*.png"))
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file_name", "price", "url"], *([name, price, url] for name in names)])
    shown = {"columns": ("price",), "link": "url", **about}
    description = Description(metadata=MetadataTable.read(folder / "table.csv"), about=shown)
    build(pictures, folder / "workshop", model=model, description=description, progress=False)
    return folder / "workshop"


@pytest.fixture(scope="module")
def shop(repos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve a gallery that describes itself, alone and with a logo."""
    folder = tmp_path_factory.mktemp("shop")
    about = {
        "title": "Oak & Sons",
        "one": "a chair",
        "many": "chairs",
        "description": "From our workshop.\nSince 1960.",
    }
    repo = write_gallery(
        folder, repos["car-extractor"], url="https://shop.example/a?b=1&c=2", price="120 € & up", **about
    )
    Image.new("RGBA", (96, 64), (180, 40, 40, 128)).save(folder / "logo.png")
    settings = Settings(galleries=(str(repo),), only=True, logo=str(folder / "logo.png"))
    collections = load_collections(settings)
    with served(
        build_demo(collections, heading=make_heading(settings, collections, logo=read_logo(settings.logo)))
    ) as url:
        yield url


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve two galleries whose texts want to be markup; the links were put into the table by hand."""
    folder = tmp_path_factory.mktemp("hostile")
    words = {"title": HOSTILE, "one": HOSTILE[:60], "many": HOSTILE[:60], "description": HOSTILE}
    repo = write_gallery(folder, tiny_repo(folder / "model"), url="https://shop.example/", price=HOSTILE, **words)
    table = repo / "gallery" / "metadata.csv"
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    for row in rows[1:]:
        row[1], row[3] = HOSTILE, "javascript:document.title='owned'"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file_name", "label", HOSTILE[:100], "url"], *rows[1:]])
    about = json.loads((repo / "gallery" / "about.json").read_text(encoding="utf-8"))
    about["columns"] = [HOSTILE[:100]]
    (repo / "gallery" / "about.json").write_text(json.dumps(about), encoding="utf-8")
    settings = Settings(galleries=(str(repo), str(repo)), only=True)
    collections = load_collections(settings)
    with served(
        build_demo(collections, heading=make_heading(settings, collections, logo=read_logo(settings.logo)))
    ) as url:
        yield url


def search(browser: Browser, address: str, *, width: int = 1280) -> Page:
    """Open the page, give it the first picture of the gallery, and choose the first tile."""
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    content = png_bytes(Image.fromarray(drawn_picture(1000)))
    picture = {"name": "picture.png", "mimeType": "image/png", "buffer": content}
    page.locator("#workshop-upload input[type=file]").set_input_files(picture)
    expect(page.locator("#workshop-gallery .visim-caption")).to_have_count(4, timeout=PATIENCE)
    page.locator("#workshop-gallery .visim-tiles button").first.click()
    expect(page.locator("#workshop-card")).to_be_visible(timeout=PATIENCE)
    return page


@pytest.mark.parametrize("width", [1280, 390])
def test_a_gallery_describes_itself(browser: Browser, shop: str, width: int) -> None:
    page = search(browser, shop, width=width)
    expect(page).to_have_title("Oak & Sons")
    expect(page.get_by_role("heading", level=1)).to_have_text("Oak & Sons")
    expect(page.locator("#visim-heading")).to_contain_text("Since 1960.")
    assert page.locator("#visim-heading img").evaluate("image => image.naturalWidth") == 96
    expect(page.get_by_role("tab")).to_have_count(0)
    below = page.locator("#workshop-gallery .visim-facts-line").first
    expect(below).to_contain_text("price: 120 € & up")
    expect(page.locator("#workshop-verdict")).to_contain_text(re.compile("(looks like|whether this is|not) a chair"))
    page.get_by_text("How sure is this?").click()
    expect(page.locator("#workshop-sure")).to_contain_text("the verdict finds")
    expect(page.locator("#workshop-card dd")).to_have_text("120 € & up")
    expect(below.get_by_role("link")).to_have_attribute("href", "https://shop.example/a?b=1&c=2")
    link = page.locator("#workshop-card a")
    expect(link).to_have_text("Open its page at shop.example ↗")
    assert link.get_attribute("href") == "https://shop.example/a?b=1&c=2"
    assert (link.get_attribute("target"), link.get_attribute("rel")) == ("_blank", "noopener nofollow")
    expect(page.locator("#workshop-examples button")).to_have_count(5)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_long_texts_do_not_widen_a_phones_page(browser: Browser, hostile: str) -> None:
    page = search(browser, hostile, width=390)
    expect(page.locator("#workshop-verdict")).to_contain_text("Cannot tell whether this is")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


def test_no_text_of_a_gallery_becomes_markup(browser: Browser, hostile: str) -> None:
    page = search(browser, hostile)
    page.get_by_text("The matches as a table").first.click()
    expect(page.locator("#workshop-table")).to_contain_text("onerror", timeout=PATIENCE)
    expect(page.locator("#workshop-about")).to_contain_text(HOSTILE)
    expect(page.locator("#workshop-gallery .visim-caption").first).to_contain_text("<img src=x")
    expect(page.locator("#workshop-card dt")).to_have_text(HOSTILE[:100])
    expect(page.locator("#workshop-card dd")).to_have_text(HOSTILE)
    shown = "img[src='x'], a[href^='javascript:' i], strong:has-text('bold'), b:has-text('bold')"
    assert page.locator(shown).count() == 0
    assert page.locator("#workshop-card a").count() == 0
    assert page.title() == "visim: visual similarity"
    page.get_by_role("button", name="Use via API").click()
    expect(page.get_by_text("/search_workshop_2").first).to_be_visible(timeout=PATIENCE)
    assert page.locator(shown).count() == 0
    page.close()
