"""Draw the page's pictures in docs/: `python docs/screenshots.py`, with Debian's chromium installed.

It starts the demo itself, with image roots that are empty: so every tile is drawn by a decoder, and may be shipped.
docs/cars.png and docs/cifar10.png show an answer of each tab; docs/screenshots/ has every state of the page.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

DOCS = Path(__file__).resolve().parent
STATES = DOCS / "screenshots"
START_SECONDS = 600
PATIENCE = 120_000  # milliseconds
TABS = {"cifar10": "CIFAR-10", "cars": "Cars"}
WINDOWS = {"laptop": (1280, 900), "phone": (390, 844)}


def main() -> int:
    """One picture a tab, and one of each state in each window."""
    STATES.mkdir(exist_ok=True)
    with _demo() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for tab, title in TABS.items():
            page = _open(browser, address, "laptop")
            page.get_by_role("tab", name=title).click()
            answer(page, tab)
            _shoot(page, DOCS / f"{tab}.png")
        for window in WINDOWS:
            for name, act in ACTS.items():
                page = _open(browser, address, window)
                act(page)
                _shoot(page, STATES / f"{name}-{window}.png")
            for theme, locale, name in (("dark", "en-US", "dark"), ("light", "de-DE", "german")):
                page = _open(browser, f"{address}/?__theme={theme}", window, locale=locale)
                answer(page)
                _shoot(page, STATES / f"{name}-{window}.png")
        browser.close()
    return 0


def start(page: Page) -> None:
    """The page before the first search."""
    page.locator("#cars-examples button").first.wait_for()


def answer(page: Page, tab: str = "cars") -> None:
    """An answer to the second example."""
    page.locator(f"#{tab}-examples button").nth(1).click()
    page.locator(f"#{tab}-gallery .visim-tiles li").nth(3).wait_for()


def warning(page: Page) -> None:
    """The warning of the last example."""
    page.locator("#cars-examples button").last.click()
    page.locator("#cars-reveal").wait_for()


def revealed(page: Page) -> None:
    """The matches behind the warning."""
    warning(page)
    page.locator("#cars-reveal").click()
    page.locator("#cars-gallery .visim-tiles li").nth(3).wait_for()


def chosen(page: Page) -> None:
    """A chosen tile."""
    answer(page)
    page.locator("#cars-gallery .visim-tiles button").nth(1).click()
    page.locator("#cars-again").wait_for()


def why(page: Page) -> None:
    """Why the chosen tile matches."""
    chosen(page)
    page.locator("#cars-why").click()
    page.locator("#cars-why-text .visim-why").wait_for()


def again(page: Page) -> None:
    """A search with a picture of the gallery."""
    chosen(page)
    page.locator("#cars-again").click()
    page.get_by_text("Searching with a picture of the gallery").wait_for()


def sure(page: Page) -> None:
    """The statistics behind the verdict."""
    answer(page)
    page.locator("#cars-sure-fold button").first.click()
    page.locator("#cars-sure p").first.wait_for()
    page.locator("#cars-sure").scroll_into_view_if_needed()


def inside(page: Page) -> None:
    """The autoencoder's view."""
    answer(page)
    page.locator("#cars-inside button").first.click()
    page.locator("#cars-kept img").wait_for()
    page.locator("#cars-kept").scroll_into_view_if_needed()


def crop(page: Page) -> None:
    """The frame for a part of the picture."""
    answer(page)
    page.locator("#cars-crop").click()
    page.locator("#cars-frame .visim-crop-box").wait_for()


def several(page: Page) -> None:
    """An answer to the average of two examples."""
    addresses = page.locator("#cars-examples img").evaluate_all("images => images.slice(0, 2).map(image => image.src)")
    files = [
        {"name": f"{number}.png", "mimeType": "image/png", "buffer": page.request.get(address).body()}
        for number, address in enumerate(addresses)
    ]
    page.locator("#cars-several-fold button").first.click()
    page.locator("#cars-several input[type=file]").set_input_files(files)  # type: ignore[arg-type]
    page.locator("#cars-gallery .visim-tiles li").nth(3).wait_for()


def less(page: Page) -> None:
    """An answer that is less like one of the tiles."""
    chosen(page)
    page.locator("#cars-less").click()
    page.locator("#cars-all-again").wait_for()


def refused(page: Page) -> None:
    """A file that is no picture."""
    text = {"name": "letter.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.4"}
    page.locator("#cars-upload input[type=file]").set_input_files(text)  # type: ignore[arg-type]
    page.locator("#cars-verdict .visim-error").wait_for()


ACTS: dict[str, Callable[[Page], None]] = {
    "start": start, "answer": answer, "warning": warning, "revealed": revealed, "chosen": chosen, "why": why,
    "again": again, "sure": sure, "inside": inside, "crop": crop, "several": several, "less": less, "refused": refused,
}  # fmt: skip


def _open(browser: Browser, address: str, window: str, **options: Any) -> Page:
    width, height = WINDOWS[window]
    page = browser.new_page(viewport={"width": width, "height": height}, **options)
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.locator("#cars-examples button").first.wait_for(state="attached")
    return page


def _shoot(page: Page, path: Path) -> None:
    images = "images => Promise.all(images.filter(image => image.offsetParent).map(image => image.decode()))"
    page.locator(".visim-tiles img").evaluate_all(images)
    page.mouse.move(0, 0)  # the tile below it would look like a chosen one
    page.wait_for_timeout(1500)  # progress bars fade out
    with Image.open(BytesIO(page.screenshot())) as picture:
        picture.convert("RGB").quantize(256).save(path, optimize=True)
    page.close()
    print(f"drawn: {path.relative_to(DOCS.parent)}")


@contextmanager
def _demo() -> Iterator[str]:
    """The demo, served without any photograph; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as empty:
        command = [sys.executable, str(DOCS.parent / "demo" / "app.py"), "--port", str(port)]
        roots = ["--images", f"cars={empty}", "--images", f"cifar10={empty}"]
        program = subprocess.Popen([*command, *roots])
        try:
            _wait_for(f"http://127.0.0.1:{port}/healthz", program)
            yield f"http://127.0.0.1:{port}"
        finally:
            program.terminate()
            program.wait()


def _wait_for(address: str, program: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while program.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(address).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.5)
    raise SystemExit("The demo did not start: see its message above.")


if __name__ == "__main__":
    sys.exit(main())
