"""Rows: the static page in Chromium beside Python, on the same pictures: the same answers, its size and its speed."""

import base64
import functools
import gzip
import shutil
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import hub
from benchmarks.measuring import Row, median, share_row
from benchmarks.scale import Scale, are_photographs, jpegs, upload
from hub.web import SiteHandler, bundled_pages
from visim_models.galleries.site import find_assets, find_runtime, write_site

__all__ = ["web_rows"]

_SAMPLES: Final = (
    ("cars", "cars/photos.zip", 400),
    ("cars", "cars/wild.zip", 800),
    ("cars", "not_cars/caltech101.zip", 300),
    ("cifar10", "cifar10/test.zip", 1000),
)
"""Tab, archive of real pictures, how many of them."""
_REPOS: Final = {"cars": "car-extractor", "cifar10": "cifar10-extractor"}
_SUFFIXES: Final = (".jpg", ".jpeg", ".png", ".webp")
_SAME_MATCHES, _SAME_WORDS = 99.0, 99.7
_MOST_MEGABYTES, _MOST_SECONDS, _MOST_MILLISECONDS = 30.0, 4.0, 150.0

_ASK: Final = """async ({ picture, folder }) => {
  window.worker ??= Object.assign(new Worker("worker.js", { type: "module" }), { asked: 0 });
  const ask = (task, values) => new Promise((resolve, reject) => {
    const id = ++worker.asked;
    worker.onmessage = ({ data }) => {
      if (data.id !== id || data.progress) return;
      "error" in data ? reject(new Error(data.error + data.detail)) : resolve(data.result);
    };
    worker.postMessage({ id, task, ...values });
  });
  const blob = new Blob([Uint8Array.from(atob(picture), letter => letter.charCodeAt(0))]);
  const start = performance.now();
  await ask("take", { key: "q", blobs: [blob] });
  const found = await ask("search", { key: "q", way: folder, judge: folder, from: null, topK: 4, label: null });
  return { ...found, milliseconds: performance.now() - start };
}"""
"""Ask the worker of the page, as the page does."""


def web_rows(scale: Scale) -> Iterator[Row]:
    """Compare the page's answers with Python's, and measure its size, its start and a query; none without Chromium."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None or shutil.which("npm") is None:
        print("web: left out, for it takes Chromium and npm", file=sys.stderr)
        return
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(prefix="visim-bench-") as name, sync_playwright() as playwright:
        site, assets = Path(name) / "site", find_assets()
        write_site(bundled_pages(), site, assets=assets, runtime=find_runtime(assets), progress=False)
        with _served(site) as address:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            seconds = []
            for _ in range(scale.long_rounds):
                page = browser.new_page()
                page.route(lambda url: not url.startswith(address), lambda route: route.abort())
                start = time.perf_counter()
                page.goto(address)
                page.locator("body[data-ready=cars]").wait_for(timeout=120_000)
                seconds.append(time.perf_counter() - start)
            yield from _size_and_start_rows(site, median(seconds))
            yield _query_row(page, scale)
            for tab, archive, count in _SAMPLES:
                yield from _same_rows(page, scale, tab, archive, count)
            browser.close()


@contextmanager
def _served(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(SiteHandler, directory=str(site)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _size_and_start_rows(site: Path, seconds: float) -> Iterator[Row]:
    files = [
        path for path in [*site.iterdir(), *(site / "cars-0").iterdir(), *(site / "ort").iterdir()] if path.is_file()
    ]
    plain = sum(path.stat().st_size for path in files) / 1e6
    packed = sum(len(gzip.compress(path.read_bytes(), 6)) for path in files) / 1e6
    yield Row(
        what="the static page: bytes to the first answer, cars, by gzip", measured=packed, unit="MB",
        baseline_name="the same files as they are", baseline=plain, ratio_unit="of it",
        target=f"<= {_MOST_MEGABYTES:g} MB", met=packed <= _MOST_MEGABYTES,
    )  # fmt: skip
    yield Row(
        what="the static page: from opening it on this machine to ready, cars", measured=seconds, unit="s",
        baseline_name="the target", baseline=_MOST_SECONDS, ratio_unit="of it",
        target=f"<= {_MOST_SECONDS:g} s", met=seconds <= _MOST_SECONDS,
    )  # fmt: skip


def _query_row(page: Any, scale: Scale) -> Row:
    picture = upload("cars", data=scale.data)
    similarity = hub.load(_REPOS["cars"], backend="onnx")
    here, there = [], []
    _asked(page, picture, "cars")  # loads the gallery
    for _ in range(max(3, scale.rounds * scale.queries // 4)):
        start = time.perf_counter()
        similarity.search(picture)
        here.append(1e3 * (time.perf_counter() - start))
        there.append(_asked(page, picture, "cars")["milliseconds"])
    return Row(
        what="the static page: one query, JPEG of 640 x 480 to verdict, cars", measured=median(there), unit="ms",
        baseline_name="the library by ONNX Runtime", baseline=median(here), ratio_unit="times as long",
        target=f"<= {_MOST_MILLISECONDS:g} ms", met=median(there) <= _MOST_MILLISECONDS,
    )  # fmt: skip


def _same_rows(page: Any, scale: Scale, tab: str, archive: str, count: int) -> Iterator[Row]:
    """Compare the answers on pictures of an archive; on drawn ones where it is not there."""
    similarity = hub.load(_REPOS[tab], backend="onnx")
    pictures = _sample(scale, tab, archive, 4 if scale.is_quick else count)
    matches = words = 0
    farthest = 0.0
    for picture in pictures:
        expected, found = similarity.search(picture), _asked(page, picture, tab)
        matches += [each["fileName"] for each in found["matches"]] == [each.file_name for each in expected.matches]
        words += found["verdict"]["word"] == expected.ood.word
        pairs = zip(found["matches"], expected.matches, strict=True)
        farthest = max(farthest, abs(found["verdict"]["pValue"] - expected.ood.p_value))
        score = max(abs(one["score"] - other.score) for one, other in pairs)
        farthest = max(farthest, score)
    name = f"{len(pictures):,} pictures of {Path(archive).stem}"
    note = f"scores and p-values at most {farthest:.2g} apart"
    for what, same, least in (("matches in order", matches, _SAME_MATCHES), ("verdicts", words, _SAME_WORDS)):
        share = 100 * same / len(pictures)
        yield share_row(
            f"the static page: the same {what} as Python's, {name}", share, "all", 100.0,
            target=f">= {least:g} %", met=share >= least, note=note,
        )  # fmt: skip


def _sample(scale: Scale, tab: str, archive: str, count: int) -> list[bytes]:
    if not are_photographs(tab, data=scale.data) or not (scale.data / archive).is_file():
        return jpegs(tab, count, data=scale.data)
    with zipfile.ZipFile(scale.data / archive) as file:
        names = sorted(name for name in file.namelist() if name.lower().endswith(_SUFFIXES))
        return [file.read(name) for name in names[:: max(1, len(names) // count)][:count]]


def _asked(page: Any, picture: bytes, tab: str) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(_ASK, {"picture": base64.b64encode(picture).decode(), "folder": f"{tab}-0"})
    return found
