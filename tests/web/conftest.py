"""A static page of tiny galleries, served as any host would, and a browser that reaches nothing else."""

import functools
import shutil
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, sync_playwright

from tests.builders import tiny_car_repo, tiny_repo
from visim_models.galleries.site import SitePage, find_assets, find_runtime, write_site
from visim_models.repo_folder import RepoFolder

COUNT = 24


class Quiet(SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
    }

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="session")
def repos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("repos")
    return {
        "cars": tiny_car_repo(folder / "cars", count=COUNT),
        "look": tiny_repo(folder / "look", count=COUNT),
    }


@pytest.fixture(scope="session")
def site(repos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site in a sub-folder of what is served."""
    if shutil.which("npm") is None and not (find_assets() / "node_modules").exists():
        pytest.skip("no npm here: onnxruntime-web cannot be fetched")
    out = tmp_path_factory.mktemp("served") / "deep" / "site"
    out.parent.mkdir()
    cars, look = RepoFolder(repos["cars"]), RepoFolder(repos["look"])
    pages = [
        SitePage(key="cars", ways={"by body": cars, "by look": look}, judge="by body", painter=look, is_own=False),
        SitePage(key="own", ways={"by features": look}),
    ]
    assets = find_assets()
    write_site(pages, out, assets=assets, runtime=find_runtime(assets), progress=False)
    return out


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site.parents[1]))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/deep/site/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium here: install Debian's package `chromium` to test the page in a browser")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The open page. Requests to any other host are refused and listed in `page.outside`."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    opened = context.new_page()
    opened.outside = []  # type: ignore[attr-defined]

    def refuse(route: Route) -> None:
        opened.outside.append(route.request.url)  # type: ignore[attr-defined]
        route.abort()

    context.route(lambda url: not url.startswith(address), refuse)
    opened.set_default_timeout(60_000)
    opened.goto(address)
    opened.locator("body[data-ready=cars]").wait_for()
    yield opened
    context.close()
