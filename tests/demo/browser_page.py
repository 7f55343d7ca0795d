"""The page in a browser, as tests see it: open it, give it a picture, wait for the answer, say where that is."""

import re
from collections.abc import Callable

from playwright.sync_api import Browser, Locator, Page, expect

PATIENCE = 30_000  # milliseconds
WINDOWS = {"laptop": (1280, 900), "phone": (390, 844), "small phone": (320, 640)}
LOOKS = [("laptop", "light"), ("phone", "dark"), ("small phone", "light")]
OTHER_LOOKS = [("laptop", "dark"), ("phone", "light"), ("small phone", "dark")]
KNOWN = 7
"""Number of a drawn picture that the tiny network knows."""

# Counts what a screen reader would say of answers: where the focus goes, and what the status says.
LISTEN = """
window.heard = [];
document.addEventListener("focusin", event => { if (event.target.dataset.answer) heard.push("focus"); });
new MutationObserver(changes => {
  for (const change of changes) {
    const region = change.target.closest?.("[role=status], [role=alert], [aria-live]");
    if (region?.textContent.trim() && !region.closest("footer")) heard.push(region.textContent.trim());
  }
}).observe(document, { childList: true, subtree: true });
"""


def open_page(browser: Browser, address: str, window: str = "laptop", **options: object) -> Page:
    width, height = WINDOWS[window]
    page = browser.new_page(viewport={"width": width, "height": height}, **options)  # type: ignore[arg-type]
    page.set_default_timeout(PATIENCE)
    page.goto(address)
    page.locator(".visim-verdict .visim-message").first.wait_for(state="attached")
    if "cars=" not in address and page.get_by_role("tab").count():  # a link opens its tab itself
        page.get_by_role("tab", name=re.compile("Cars|Autos")).click()
    page.locator("#cars-examples button").first.wait_for()
    return page


def give(page: Page, content: bytes, name: str = "picture.png", kind: str = "image/png") -> None:
    clear = page.locator("#cars-upload").get_by_role("button", name=re.compile("clear|remove", re.IGNORECASE))
    if clear.count():
        clear.first.click()
        expect(page.locator("#cars-verdict")).to_contain_text("Choose a picture.", timeout=PATIENCE)
    page.locator("#cars-upload input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": content})


def next_answer(page: Page, act: Callable[[], object], *, part: str = "#cars-verdict") -> Locator:
    """Do something, wait for the new answer that it gives, and return it."""
    before = page.locator(f"{part} [data-answer]")
    old = before.get_attribute("data-answer") if before.count() else None
    act()
    new = page.locator(f"{part} [data-answer]:not([data-answer='{old}'])")
    new.wait_for(timeout=PATIENCE)
    return new


def assert_in_window(page: Page, *parts: Locator) -> None:
    """Wait until the parts are wholly in the window; a part that is too high for it begins there."""
    inside = """(part, wait) => new Promise(resolve => {
      const end = performance.now() + wait;
      const look = () => {
        const { top, bottom } = part.getBoundingClientRect();
        const fits = top >= -1 && bottom <= innerHeight + 1 && bottom > top;
        fits || performance.now() > end ? resolve([fits, top, bottom, innerHeight]) : requestAnimationFrame(look);
      };
      look();
    })"""
    for part in parts:
        fits, *where = part.evaluate(inside, PATIENCE)
        assert fits, f"{part} is at {where}"


def assert_answer_in_window(page: Page, answer: Locator) -> None:
    first = page.locator("#cars-gallery .visim-tiles li:visible, #cars-reveal:visible").first
    assert_in_window(page, answer, first)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
