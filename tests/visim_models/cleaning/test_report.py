"""report.html in headless Chromium: 300 groups, the slider, paging, hostile names, no network, axe-core, a phone."""

import base64
import io
import json
import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from visim_models.cleaning.plan import PlanRow
from visim_models.cleaning.report import FindTexts, ReportedFind, shown_rows, thumbnails_for, write_report
from visim_models.sources.store import ImageStore

HOSTILE = "</script><img src=x onerror=alert(1)>.png"
GROUPS = 300


def row(name: str, group: int, score: float | None, *, find: str = "duplicates", remove: bool = False) -> PlanRow:
    return PlanRow(
        file_name=name, root="photos", find=find, action="remove" if remove else "keep", group=group, score=score,
        reason="kept: the most pixels" if score is None else "nearly the same picture", size="64 x 64", bytes=100,
    )  # fmt: skip


def reported() -> list[ReportedFind]:
    duplicates = []
    for number in range(1, GROUPS + 1):
        score = round(1 - 0.2 * number / GROUPS, 4)
        name = HOSTILE if number == 1 else f"cars/{number:04d}.png"
        duplicates += [row(name, number, None), row(f"copies/{number:04d}.png", number, score, remove=score >= 0.9)]
    broken = [row(f"bad{number}.jpg", 0, None, find="broken", remove=True) for number in range(3)]
    return [
        ReportedFind("duplicates", FindTexts("Duplicates", "group", "About duplicates."), duplicates, 0.9),
        ReportedFind("broken", FindTexts("Broken files", "file", "About broken files."), broken),
    ]


def report_text(finds: list[ReportedFind], picture: str = "") -> str:
    file = io.StringIO()
    write_report(
        file,
        finds,
        title=f"Clean {HOSTILE}",
        summary=[f"603 files & {HOSTILE}"],
        command="visim clean photos --duplicates --out clean",
        apply_command="visim clean --apply clean/plan.csv",
        thumbnail=lambda _: picture,
    )
    return file.getvalue()


def test_nothing_of_a_name_is_markup() -> None:
    text = report_text(reported())
    assert "<img" not in text
    assert text.count("</script>") == text.count("<script")
    assert "http://" not in text
    assert "https://" not in text
    assert "default-src &#x27;none&#x27;" in text
    data = re.findall(r'<script type="application/json" id="[\w-]+">(.*?)</script>', text)
    assert HOSTILE in [name for page in data[:1] for group in json.loads(page) for name, *_ in group]


def test_thumbnails_come_in_the_order_of_the_report(tmp_path: Path) -> None:
    finds = reported()
    rows = shown_rows(finds)
    Image.new("RGB", (400, 200), "red").save(tmp_path / "cars.png")
    (tmp_path / "cars").mkdir()
    for each in rows[2:6]:
        (tmp_path / each.file_name).parent.mkdir(exist_ok=True)
        shutil.copyfile(tmp_path / "cars.png", tmp_path / each.file_name)
    thumbnail = thumbnails_for(rows, {"photos": ImageStore(tmp_path)})
    found = [thumbnail(each) for each in rows]
    assert [bool(address) for address in found[:7]] == [False, False, True, True, True, True, False]
    assert found[2].startswith("data:image/webp;base64,")
    assert len(found[2]) < 2000


def test_ten_thousand_groups_are_written_in_pages() -> None:
    rows = [row(f"{n}/{k}.png", n, None if k == 0 else 0.95, remove=k > 0) for n in range(1, 10_001) for k in range(2)]
    find = ReportedFind("duplicates", FindTexts("Duplicates", "group", "About."), rows, 0.9)
    text = report_text([find], picture="data:image/webp;base64,AAAA")
    assert text.count('id="page-0-') == 250
    assert len(text) < 8_000_000


def test_in_a_browser(tmp_path: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium here: install Debian's package `chromium` to test the report in a browser")
    picture = io.BytesIO()
    Image.new("RGB", (32, 24), "teal").save(picture, "WEBP")
    address = f"data:image/webp;base64,{base64.b64encode(picture.getvalue()).decode()}"
    (tmp_path / "report.html").write_text(report_text(reported(), address), encoding="utf-8")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        asked: list[str] = []
        errors: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: errors.append(dialog.message))
        page.goto((tmp_path / "report.html").as_uri())
        section = page.locator("#find-0")
        assert section.locator("li").count() == 40
        assert HOSTILE in section.locator("li").first.inner_text()
        assert section.locator(".takes").inner_text() == "0.90 takes 150 of 300 files, in 150 groups"
        assert section.locator(".page").first.inner_text() == "page 1 of 4"
        assert section.locator("figure img").first.evaluate("image => image.naturalWidth") == 32
        section.get_by_role("button", name="next page of Duplicates").first.click()
        assert "group 41" in section.locator("li").first.inner_text()
        slider = section.get_by_label("threshold")
        slider.fill("0.95")
        assert "takes 75 of 300" in section.locator(".takes").inner_text()
        assert section.locator("figure.remove").count() == 40
        assert page.locator("#again-command").inner_text() == (
            "visim clean photos --duplicates --out clean --at duplicates=0.95"
        )
        slider.fill("0.8")
        assert section.locator(".page").first.inner_text() == "page 1 of 8"
        faults = axe.Axe().run(page).response["violations"]
        assert [fault["id"] for fault in faults if fault["impact"] in ("serious", "critical")] == []
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert errors == []
        assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
        browser.close()
