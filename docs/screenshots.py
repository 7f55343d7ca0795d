"""Draw the page's pictures in docs/: `python docs/screenshots.py`, with Debian's chromium installed.

It starts the demo itself, with image roots that are empty: so every tile is drawn by a decoder, and may be shipped.
"""

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Browser, sync_playwright

DOCS = Path(__file__).resolve().parent
START_SECONDS = 120
TABS = {"cifar10": "CIFAR-10", "cars": "Cars"}


def main() -> int:
    """One picture a tab, after its second example was searched with."""
    with _demo() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for tab, title in TABS.items():
            _shoot(browser, address, tab, title)
            print(f"drawn: docs/{tab}.png")
        browser.close()
    return 0


def _shoot(browser: Browser, address: str, tab: str, title: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(address)
    page.get_by_role("tab", name=title).click()
    page.locator(f"#{tab}-examples button").nth(1).click()
    page.locator(f"#{tab}-gallery .caption-label").nth(3).wait_for()
    page.locator(f"#{tab}-gallery img").evaluate_all("images => Promise.all(images.map(image => image.decode()))")
    page.wait_for_timeout(1000)  # progress bars fade out
    page.screenshot(path=DOCS / f"{tab}.png")
    page.close()


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
