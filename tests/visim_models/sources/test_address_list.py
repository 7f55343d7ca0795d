"""Lists of addresses, with real HTTP servers on the loopback interface."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.builders import flat_png
from tests.loopback import FileServer, running
from visim_models import ImageHostError, ImageProcessor, ImageSourceError, ImageStore

RED, BLUE = flat_png("red"), flat_png("blue")
GONE = "http://127.0.0.1:9"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with running(FileServer()) as started:
        yield started


def listed(folder: Path, *lines: str) -> Path:
    path = folder / "photos.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def host_of(address: str) -> str:
    return address.removeprefix("http://").replace(":", "_")


def test_a_list_of_addresses(server: FileServer, tmp_path: Path) -> None:
    server.files = {"/suv/a%20b.png?v=2": RED, "/c.png": BLUE}
    path = listed(tmp_path, "# a comment", "", f"  {server.address}/suv/a%20b.png?v=2#top", f"{server.address}/c.png\r")
    store = ImageStore(path)
    assert (store.is_remote, store.location) == (True, str(path))
    host = host_of(server.address)
    assert store.list() == [f"{host}/c.png", f"{host}/suv/a b.png"]
    assert store.unreadable == {}
    assert store.read_many(store.list()) == {f"{host}/c.png": BLUE, f"{host}/suv/a b.png": RED}
    with pytest.raises(ImageSourceError, match=r"There is no other/c\.png"):
        store.read("other/c.png")
    assert "/other/c.png" not in server.asked


def test_names_are_those_of_hosts_and_paths(tmp_path: Path) -> None:
    store = ImageStore(listed(
        tmp_path, "https://Example.org/a.JPG", "http://example.org:8080/a.JPG", "https://[::1]/x/%C3%BC.png",
        "https://example.org:443/b.webp",
    ))  # fmt: skip
    assert store.list() == ["__1/x/ü.png", "example.org/a.JPG", "example.org/b.webp", "example.org_8080/a.JPG"]


def test_lines_that_are_left_out_are_reported_by_number(tmp_path: Path) -> None:
    store = ImageStore(listed(
        tmp_path, "https://host/a.png", "no address", "ftp://host/b.png", "https://me:secret@host/c.png",
        "https://host/page?id=1", "http://host/a.png?size=2", "https://host/%2E%2E/d.png", "https://host/x%2F%2Fe.png",
    ))  # fmt: skip
    assert store.list() == ["host/a.png"]
    assert list(store.unreadable) == [f"line {number}" for number in range(2, 9)]
    for line, reason in {2: "not a plain http", 3: "not a plain http", 4: "not a plain http", 5: "end like a picture's",
                         6: "line 1 has the same host and path, host/a.png", 8: "no file name"}.items():  # fmt: skip
        assert reason in store.unreadable[f"line {line}"]
    assert "secret" not in str(store.unreadable)


def test_a_list_without_an_address_is_refused(tmp_path: Path) -> None:
    for lines in ([], ["# nothing", ""]):
        with pytest.raises(
            ImageSourceError, match="has no address of a picture: give one http or https address a line"
        ):
            ImageStore(listed(tmp_path, *lines))
    with pytest.raises(ImageSourceError, match=r"\(line 1: it is not a plain http or https address\)"):
        ImageStore(listed(tmp_path, "hello"))
    (tmp_path / "photos.txt").write_bytes(RED)
    with pytest.raises(ImageSourceError, match="it is not UTF-8"):
        ImageStore(tmp_path / "photos.txt")
    with pytest.raises(ImageSourceError, match="--images"):
        ImageStore(listed(tmp_path, "https://host/a.png"), trusted=False)


def test_a_fingerprint_is_of_the_address(tmp_path: Path) -> None:
    first = ImageStore(listed(tmp_path, "https://host/a.png?v=1", "https://host/b.png"))
    again = ImageStore(listed(tmp_path, "https://host/a.png?v=2", "https://host/b.png"))
    assert first.fingerprint("host/b.png") == again.fingerprint("host/b.png") != ""
    assert first.fingerprint("host/a.png") != again.fingerprint("host/a.png")
    assert first.fingerprint("host/c.png") == ""


def test_a_bad_address_is_its_own_failure(server: FileServer, tmp_path: Path) -> None:
    server.files = {
        "/a.png": RED,
        "/page.png": b"<html>",
        "/closed.png?sig=secret": RED,
        "/big.png": b"x" * (2**24 + 1),
    }
    server.statuses["/closed.png?sig=secret"] = 403
    names = ["a.png", "page.png", "closed.png?sig=secret", "big.png", "none.png"]
    store = ImageStore(listed(tmp_path, *(f"{server.address}/{name}" for name in names)))
    reasons = {"page": "not a picture", "closed": "status 403", "big": "more than 16,777,216", "none": "There is no"}
    for name, reason in reasons.items():
        with pytest.raises(ImageSourceError, match=reason) as caught:
            store.read(f"{host_of(server.address)}/{name}.png")
        assert not isinstance(caught.value, ImageHostError)
        assert "secret" not in str(caught.value)
    assert list(store.read_many(store.list())) == [f"{host_of(server.address)}/a.png"]


def test_a_host_that_is_gone_is_the_failure_of_its_pictures_while_others_answer(
    server: FileServer, tmp_path: Path
) -> None:
    server.files = {"/a.png": RED}
    store = ImageStore(listed(tmp_path, f"{GONE}/a.png", f"{server.address}/none.png", f"{server.address}/a.png"))
    with pytest.raises(ImageSourceError, match="cannot be reached") as caught:
        store.read("127.0.0.1_9/a.png")
    assert not isinstance(caught.value, ImageHostError)
    assert store.read(f"{host_of(server.address)}/a.png") == RED


@pytest.mark.parametrize("others", [[], ["http://127.0.0.2:9/b.png"]])
def test_a_network_that_is_down_is_no_failure_of_a_picture(tmp_path: Path, others: list[str]) -> None:
    store = ImageStore(listed(tmp_path, f"{GONE}/a.png?sig=secret", *others))
    with pytest.raises(ImageHostError, match="cannot be reached") as caught:
        store.read("127.0.0.1_9/a.png")
    assert "secret" not in str(caught.value)
    with pytest.raises(ImageHostError, match="a while ago"):
        store.read("127.0.0.1_9/a.png")


def test_addresses_are_fetched_side_by_side(server: FileServer, tmp_path: Path) -> None:
    server.files = {f"/{number}.png": RED for number in range(24)}
    server.delay = 0.1
    store = ImageStore(listed(tmp_path, *(server.address + path for path in server.files)))
    start = time.monotonic()
    found = [
        result for batch in store.decode_many(store.list(), ImageProcessor(size=8), at_once=8) for _, result in batch
    ]
    assert time.monotonic() - start < 1.6  # one after another, they would take 2.4 s
    assert not [result for result in found if isinstance(result, Exception)]
