"""Draw the page's pictures in docs/: `python docs/screenshots.py`, with the demo running on http://127.0.0.1:7860.

Start it with `make demo ARGS='--images cars=docs --images cifar10=docs'`: no photograph is found there, so that every
tile is drawn by a decoder, and the pictures may be shipped.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

ADDRESS = "http://127.0.0.1:7860"
DOCS = Path(__file__).resolve().parent


def main() -> int:
    """One picture a tab, after its first example was searched with."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 820})
        page.goto(ADDRESS)
        for tab, title in (("cifar10", "CIFAR-10"), ("cars", "Cars")):
            page.get_by_role("tab", name=title).click()
            page.locator(f"#{tab}-examples button").first.click()
            page.locator(f"#{tab}-gallery .caption-label").nth(3).wait_for()
            page.wait_for_timeout(1500)
            page.screenshot(path=DOCS / f"{tab}.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
