"""The static page answers as Python does, and does what the page of the demo does, without a server of its own."""

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from demo.texts import LANGUAGES
from tests.builders import drawn_picture, tiny_repo
from tests.web.conftest import COUNT
from visim_models import OutputError, VisimError, VisualSimilarity
from visim_models.cli.__main__ import main
from visim_models.galleries.site import SitePage, find_assets, find_runtime, write_site
from visim_models.repo_folder import RepoFolder

# Ask the worker as the page does, once, with a picture given as base64.
ASK = """async ({ picture, mime, way, judge }) => {
  const worker = new Worker("worker.js", { type: "module" });
  let asked = 0;
  const ask = (task, values) => new Promise((resolve, reject) => {
    const id = ++asked;
    worker.addEventListener("message", ({ data }) => {
      if (data.id !== id || data.progress) return;
      "error" in data ? reject(new Error(data.error + data.detail)) : resolve(data.result);
    });
    worker.postMessage({ id, task, ...values });
  });
  const blob = new Blob([Uint8Array.from(atob(picture), letter => letter.charCodeAt(0))], { type: mime });
  await ask("take", { key: "cars", blobs: [blob] });
  const found = await ask("search", { key: "cars", way, judge, from: null, topK: 4, label: null });
  worker.terminate();
  return { ...found, classes: found.classes };
}"""


def encoded(seed: int, kind: str = "PNG", *, size: int = 150, **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(drawn_picture(seed, size=size)).save(file, kind, **options)
    return file.getvalue()


def odd_files() -> list[bytes]:
    """Files whose reading takes more than decoding: turned, transparent, of other formats, small and large."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(drawn_picture(8, size=120)).resize((120, 90))
    clear = picture.copy()
    clear.putalpha(Image.linear_gradient("L").resize(picture.size))
    files = [io.BytesIO() for _ in range(2)]
    picture.save(files[0], "JPEG", quality=90, exif=exif)
    clear.save(files[1], "PNG")
    odd = [encoded(9, "WEBP", lossless=True), encoded(10, "GIF"), encoded(11, "BMP"), encoded(12, size=20)]
    return [*(file.getvalue() for file in files), *odd, encoded(13, "JPEG", size=1200, quality=80)]


def give(page: Page, content: bytes, name: str = "photo.png", mime: str = "image/png") -> Locator:
    page.locator("#file").set_input_files({"name": name, "mimeType": mime, "buffer": content})
    verdict = page.locator("#verdict .message:not(.plain)")
    verdict.wait_for()
    return verdict


@pytest.mark.parametrize("way", ["by body", "by look"])
def test_the_browser_answers_as_python_does(page: Page, repos: dict[str, Path], way: str) -> None:
    similarity = VisualSimilarity.from_pretrained(repos["cars" if way == "by body" else "look"])
    folder = f"cars-{0 if way == 'by body' else 1}"
    files = [(encoded(seed), "image/png") for seed in range(4)]
    files += [(encoded(seed, "JPEG", size=190, quality=88), "image/jpeg") for seed in range(4, 8)]
    files += [(content, "image/unknown") for content in odd_files()]
    for content, mime in files:
        values = {"picture": base64.b64encode(content).decode(), "mime": mime, "way": folder, "judge": folder}
        answer, expected = page.evaluate(ASK, values), similarity.search(content, top_k=4)
        assert [each["fileName"] for each in answer["matches"]] == [each.file_name for each in expected.matches]
        assert [each["label"] for each in answer["matches"]] == [each.label for each in expected.matches]
        scores = [each.score for each in expected.matches]
        assert [each["score"] for each in answer["matches"]] == pytest.approx(scores, abs=0.002)
        assert answer["verdict"]["word"] == expected.ood.word
        assert answer["verdict"]["pValue"] == pytest.approx(expected.ood.p_value, abs=0.04)  # one of 30 pictures
        if way == "by body":
            shares = similarity.classify(content)
            assert dict(answer["classes"]) == pytest.approx(shares, abs=0.002)


def test_a_picture_gets_a_verdict_and_matches_and_nothing_leaves(page: Page) -> None:
    give(page, encoded(1))
    expect(page.locator("#verdict")).to_contain_text(re.compile("look|probably"))
    if page.locator("#reveal").is_visible():
        page.locator("#reveal").click()
    expect(page.locator("#tiles li")).to_have_count(4)
    expect(page.locator("#tiles li").first).to_contain_text("similarity: ")
    expect(page.locator("#tiles .badge").first).to_have_text("drawn")
    assert page.outside == []  # type: ignore[attr-defined]


def test_a_tile_is_searched_with_and_back_returns(page: Page) -> None:
    page.locator("#examples button").first.click()
    expect(page.locator("#verdict")).to_contain_text("It finds itself first.")
    page.locator("#tiles button").nth(1).click()
    expect(page.locator("#chosen")).to_contain_text("Name in the gallery")
    first = page.url
    page.get_by_role("button", name="Search with this one").click()
    page.wait_for_function("before => location.href !== before", arg=first)
    page.go_back()
    page.wait_for_function("before => location.href === before", arg=first)
    expect(page.locator("#tiles li")).to_have_count(4)


def test_a_link_opens_its_search(page: Page, address: str) -> None:
    page.goto("about:blank")
    page.goto(f"{address}#gallery=own&picture=coupe%2F0001.png&k=3")
    page.locator("body[data-ready=own]").wait_for()
    expect(page.locator("#tiles li")).to_have_count(3)
    expect(page.get_by_role("tab", selected=True)).to_have_attribute("id", "tab-own")


def test_labels_number_way_and_less_like_this(page: Page) -> None:
    page.locator("#examples button").first.click()
    expect(page.locator("#tiles li")).to_have_count(4)
    page.locator("#label").select_option("suv")
    expect(page.locator("#tiles li bdi")).to_have_text(["suv"] * 4)
    page.locator("#label").select_option("")
    page.locator("#top-k").fill("9")
    expect(page.locator("#tiles li")).to_have_count(9)
    page.locator("#tiles button").nth(2).click()
    page.get_by_role("button", name="Less like this").click()
    expect(page.locator("#verdict")).to_contain_text("Marked “less like this”: 1.")
    page.locator("#way").select_option("by look")
    expect(page.locator("#tiles li").first).to_be_visible()


def test_several_pictures_a_part_and_why(page: Page) -> None:
    files = [{"name": f"{seed}.png", "mimeType": "image/png", "buffer": encoded(seed)} for seed in (1, 2)]
    page.locator("#file").set_input_files(files)
    expect(page.locator("#verdict")).to_contain_text("the average of 2 pictures")
    give(page, encoded(3))
    page.locator("#crop").click()
    page.locator("#box").press("Shift+ArrowLeft")
    page.locator("#crop").click()
    expect(page.locator("#whole")).to_be_visible()
    if page.locator("#reveal").is_visible():
        page.locator("#reveal").click()
    page.locator("#tiles button").first.click()
    page.get_by_role("button", name="Why do these match?").click()
    page.locator(".why canvas").first.wait_for()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello", "That is not a picture"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"8BPS\0\1" + bytes(40), "does not read that kind"),
        (encoded(1)[:60], "That is not a picture"),
    ],
)
def test_what_is_no_picture_is_one_plain_message_and_it_goes_on(page: Page, content: bytes, said: str) -> None:
    give(page, content)
    expect(page.locator("#verdict .error")).to_contain_text(said)
    give(page, encoded(1))
    expect(page.locator("#verdict .error")).to_have_count(0)


def test_a_part_that_does_not_load_is_one_plain_message(page: Page, address: str) -> None:
    page.context.route(re.compile(r"own-0/embeddings"), lambda route: route.abort())
    page.get_by_role("tab").nth(1).click()
    expect(page.locator("#verdict .error")).to_contain_text("could not be loaded")
    page.context.unroute(re.compile(r"own-0/embeddings"))
    page.get_by_role("tab").nth(0).click()
    page.get_by_role("tab").nth(1).click()
    page.locator("body[data-ready=own]").wait_for()


@pytest.mark.parametrize(("width", "height", "scheme"), [(390, 844, "light"), (390, 844, "dark"), (1280, 900, "dark")])
def test_it_fits_the_window_and_everyone_can_use_it(page: Page, width: int, height: int, scheme: str) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.locator("#examples button").first.click()
    expect(page.locator("#tiles li")).to_have_count(4)
    inside = """id => {
      const { top } = document.querySelector(id).getBoundingClientRect();
      return top >= 0 && top < innerHeight;
    }"""
    assert page.evaluate(inside, "#verdict .message")
    assert page.evaluate(inside, "#tiles li")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []


def test_the_keyboard_is_enough(page: Page) -> None:
    page.locator("#examples button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#tiles li")).to_have_count(4)
    page.locator("#tiles button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#chosen")).to_be_focused()
    page.get_by_role("tab", selected=True).focus()
    page.keyboard.press("ArrowRight")
    page.locator("body[data-ready=own]").wait_for()


def test_it_speaks_german(page: Page) -> None:
    page.locator("#language").click()
    expect(page.locator("#query-head")).to_have_text("Dein Bild")
    assert page.evaluate("document.documentElement.lang") == "de"


def test_it_works_without_a_network_once_it_was_loaded(page: Page, address: str) -> None:
    page.wait_for_function("navigator.serviceWorker.controller !== null")
    page.reload()  # now every part passes through the service worker, which keeps it
    page.locator("body[data-ready=cars]").wait_for()
    page.locator("#examples button").first.click()
    page.context.set_offline(True)
    page.reload()
    page.locator("body[data-ready=cars]").wait_for()
    give(page, encoded(2))
    page.context.set_offline(False)


def test_the_texts_are_those_of_the_demo() -> None:
    texts = json.loads((find_assets() / "texts.json").read_text(encoding="utf-8"))
    assert texts["en"].keys() == texts["de"].keys()
    for language, source in LANGUAGES.items():
        shared = texts[language].keys() & source.keys()
        assert len(shared) > 40
        assert {key: texts[language][key] for key in shared} == {key: source[key] for key in shared}


def test_every_text_that_the_page_says_is_there() -> None:
    texts = json.loads((find_assets() / "texts.json").read_text(encoding="utf-8"))
    page = (find_assets() / "page.js").read_text(encoding="utf-8")
    assert set(re.findall(r'say\("([a-z_]+)"', page)) - texts["en"].keys() == set()


def test_the_page_is_small_enough_to_read() -> None:
    sources = list(find_assets().glob("*.js"))
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in sources) <= 1500


def test_a_site_is_replaced_and_files_of_others_stay(tmp_path: Path) -> None:
    assets = find_assets()
    repo = RepoFolder(tiny_repo(tmp_path / "gallery"))
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "CNAME").write_text("mine", encoding="utf-8")
    page = SitePage(key="own", ways={"by features": repo})
    broken = SitePage(key="broken", ways={"by features": RepoFolder(tiny_repo(tmp_path / "broken"))})
    (tmp_path / "broken" / "ood.json").unlink()
    with pytest.raises(OutputError, match="holds files that visim did not write"):
        write_site([page], tmp_path / "site", assets=assets, runtime=find_runtime(assets), progress=False)
    (tmp_path / "site" / "CNAME").unlink()
    with pytest.raises(VisimError):
        write_site([page, broken], tmp_path / "site", assets=assets, runtime=find_runtime(assets), progress=False)
    assert list((tmp_path / "site").iterdir()) == []  # what was written before the fault is gone
    write_site([page], tmp_path / "site", assets=assets, runtime=find_runtime(assets), progress=False)
    (tmp_path / "site" / "CNAME").write_text("mine", encoding="utf-8")
    write_site([page], tmp_path / "site", assets=assets, runtime=find_runtime(assets), title="Mine", progress=False)
    assert (tmp_path / "site" / "CNAME").read_text(encoding="utf-8") == "mine"
    assert json.loads((tmp_path / "site" / "site.json").read_text(encoding="utf-8"))["title"] == "Mine"
    (tmp_path / "site" / "other-0").mkdir()
    (tmp_path / "site" / "other-0" / "model.onnx").write_text("mine", encoding="utf-8")
    other = SitePage(key="other", ways={"by features": repo})
    with pytest.raises(OutputError, match="which visim did not write"):
        write_site([other], tmp_path / "site", assets=assets, runtime=find_runtime(assets), progress=False)
    assert (tmp_path / "site" / "other-0" / "model.onnx").read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "site" / "own-0" / "model.onnx").is_file()
    with pytest.raises(OutputError):
        write_site([page], tmp_path / "gallery" / "site", assets=assets, runtime=find_runtime(assets), progress=False)


def test_the_command_writes_a_site_with_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(COUNT):
        file = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(drawn_picture(number, size=400)).save(file)
    network, gallery, out = tiny_repo(tmp_path / "network"), tmp_path / "chairs", tmp_path / "site"
    assert main(["build", str(tmp_path / "photos"), "--model", str(network), "--out", str(gallery)]) == 0
    assert main(["web", str(gallery), "--with-pictures", "--out", str(out)]) == 0
    assert "python -m http.server" in capsys.readouterr().out
    assert "<title>chairs</title>" in (out / "index.html").read_text(encoding="utf-8")
    pictures = sorted((out / "gallery-0" / "pictures").iterdir())
    assert len(pictures) == COUNT
    with Image.open(pictures[0]) as small:
        assert max(small.size) == 320


def test_the_page_may_ask_the_host_of_its_pictures_and_no_other(tmp_path: Path) -> None:
    assets = find_assets()
    similarity = VisualSimilarity.from_pretrained(tiny_repo(tmp_path / "gallery"))
    similarity.gallery.image_root = "https://pictures.example/mine/"
    similarity.save_pretrained(tmp_path / "gallery")
    repo = RepoFolder(tmp_path / "gallery")
    page = SitePage(key="own", ways={"by features": repo})
    write_site([page], tmp_path / "site", assets=assets, runtime=find_runtime(assets), progress=False)
    policy = re.findall(r'Content-Security-Policy" content="([^"]+)"', (tmp_path / "site/index.html").read_text())[0]
    assert "img-src 'self' blob: data: https://pictures.example;" in policy
    assert "connect-src 'self' https://pictures.example;" in policy
    assert "http:" not in policy.replace("https:", "")
