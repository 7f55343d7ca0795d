"""Image stores: folders, zips, web addresses and data sets, with real HTTP servers on the loopback interface."""

import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.builders import flat_png, write_pictures
from tests.loopback import FileServer, running
from visim_models import ImageDecodeError, ImageHostError, ImageProcessor, ImageSourceError, ImageStore, decode_image
from visim_models.images.kinds import unread_summary

PROCESSOR = ImageProcessor(size=8)


RED, BLUE = flat_png("red"), flat_png("blue")


@pytest.fixture
def start() -> Iterator[Callable[[], FileServer]]:
    with ExitStack() as stack:
        yield lambda: stack.enter_context(running(FileServer()))


@pytest.fixture
def server(start: Callable[[], FileServer]) -> FileServer:
    return start()


def zipped(path: Path, files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture(params=["folder", "zip"])
def local_root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    files = {"suv/suv_0001.jpg": RED, "coupe_0001.jpg": BLUE, "0002.JPG": BLUE, "notes.txt": b"text", "big.png": RED}
    if request.param == "zip":
        return zipped(tmp_path / "photos.zip", {**files, "../outside.jpg": RED, "suv/empty/": b""})
    for name, content in files.items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(content)
    (tmp_path / "outside.jpg").write_bytes(RED)
    return tmp_path / "photos"


# --- folders and zips


def test_a_local_store(local_root: Path) -> None:
    store = ImageStore(local_root)
    assert (store.root, store.is_remote) == (str(local_root), False)
    names = ["0002.JPG", "big.png", "coupe_0001.jpg", "suv/suv_0001.jpg"]
    assert [name for name in store.list() if not name.startswith("..")] == names
    assert store.read("suv/suv_0001.jpg") == RED
    assert store.hash("suv/suv_0001.jpg") == hashlib.sha256(RED).hexdigest()
    assert store.read_many(["suv/suv_0001.jpg", "suv/missing.jpg", "../outside.jpg"]) == {"suv/suv_0001.jpg": RED}


def test_a_base_name_is_tried_only_where_it_says_its_folder(local_root: Path) -> None:
    store = ImageStore(local_root)
    assert store.read("coupe/coupe_0001.jpg") == BLUE
    assert store.fingerprint("coupe/coupe_0001.jpg") == store.fingerprint("coupe_0001.jpg") != ""
    with pytest.raises(ImageSourceError, match=r"There is no airplane/0002\.JPG") as caught:
        store.read("airplane/0002.JPG")
    assert caught.value.path == "airplane/0002.JPG"


@pytest.mark.parametrize("name", ["../outside.jpg", "suv/../../outside.jpg", "/etc/hostname", "", "suv//suv_0001.jpg"])
def test_a_name_that_leads_out_of_the_root_is_refused(local_root: Path, name: str) -> None:
    store = ImageStore(local_root)
    for ask in (store.read, store.hash, store.fingerprint):
        with pytest.raises(ImageSourceError, match="file name"):
            ask(name)


def test_a_fingerprint_changes_with_the_file(local_root: Path) -> None:
    store = ImageStore(local_root)
    before = store.fingerprint("big.png")
    assert store.fingerprint("missing.png") == ""
    if local_root.is_dir():
        (local_root / "big.png").write_bytes(BLUE)
    else:
        local_root.unlink()  # the open store goes on with the old file
        zipped(local_root, {"big.png": BLUE})
        assert store.fingerprint("big.png") == before
        store = ImageStore(local_root)
    assert store.fingerprint("big.png") not in ("", before)


def test_links_are_followed_but_not_out_of_a_gallery(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "8f3a").write_bytes(RED)
    photos = tmp_path / "repo" / "photos"
    photos.mkdir(parents=True)
    (photos / "link.png").symlink_to(tmp_path / "blobs" / "8f3a")  # as the Hub's cache, DVC and git-annex do
    (photos / "inside.png").symlink_to("link.png")
    (photos / "loop.png").symlink_to("loop.png")
    (photos / "more").symlink_to(tmp_path / "blobs")
    store = ImageStore(photos)
    assert store.list() == ["inside.png", "link.png"]
    assert store.read("link.png") == store.read("inside.png") == RED
    assert store.fingerprint("link.png")
    assert store.unreadable == {
        "loop.png": "it is no regular file, or a broken link",
        "more": "it is a link to a folder, which is not followed: name that folder itself",
    }
    (tmp_path / "repo" / "gallery").mkdir()
    (tmp_path / "repo" / "gallery" / "metadata.csv").write_text("file_name,label\n")  # it may come from anyone
    store = ImageStore(photos)
    for name in ("link.png", "inside.png", "loop.png"):
        with pytest.raises(ImageSourceError):
            store.read(name)


JUNK = [
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", ".thumbnails/1.png", "2020/._a.png", "__MACOSX/2020/._a.png",
    ".Trash-1000/files/a.png", "#recycle/a.png", "$RECYCLE.BIN/S-1/a.png", "2020/.stversions/a.png", ".git/a.png",
    "Catalog Previews.lrdata/a.png", "System Volume Information/a.png", ".trashed-17-a.jpg",
]  # fmt: skip


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_what_programs_keep_beside_pictures_is_left_out(form: str, tmp_path: Path) -> None:
    files = dict.fromkeys(["2020/a.png", "2020/raw/b.png", "2020/c.PNG", *JUNK, ".git/config"], RED)
    if form == "zip":
        root = zipped(tmp_path / "photos.zip", files)
    else:
        root = tmp_path / "photos"
        for name, content in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
    store = ImageStore(root)
    assert store.list() == ["2020/a.png", "2020/c.PNG", "2020/raw/b.png"]
    assert store.left_out.startswith(f"{len(JUNK)} picture files left out")
    assert "--all takes them" in store.left_out
    assert len(ImageStore(root, everything=True).list()) == 3 + len(JUNK)
    chosen = ImageStore(root, exclude=["raw/", "*.PNG"])
    assert chosen.list() == ["2020/a.png"]
    assert "*.PNG" in chosen.left_out
    assert ImageStore(root, exclude=["2020/*"]).list() == []


def test_visims_own_quarantine_is_left_out(tmp_path: Path) -> None:
    quarantine = tmp_path / "a-quarantine"
    (quarantine / "cars").mkdir(parents=True)
    (quarantine / "cars" / "x.png").write_bytes(RED)
    (tmp_path / "b.png").write_bytes(RED)
    journal = quarantine / "journal-20260101-120000.jsonl"
    journal.write_text('{"other": 1}\n')
    assert ImageStore(tmp_path).list() == ["a-quarantine/cars/x.png", "b.png"]
    journal.write_text('{"visim_journal": 1, "roots": {}}\n')
    store = ImageStore(tmp_path)
    assert store.list() == ["b.png"]
    assert "visim's quarantine" in store.left_out
    assert ImageStore(tmp_path, everything=True).list() == ["a-quarantine/cars/x.png", "b.png"]
    assert ImageStore(quarantine).list() == ["cars/x.png"]  # by its name


def test_kinds_that_are_not_read_are_named_and_counted(tmp_path: Path) -> None:
    files = {
        "a.cr2": b"II*\0\x10\0\0\0CR\2\0",
        "b.NEF": b"MM\0*\0\0\0\x08",
        "c.psd": b"8BPS\0\1",
        "d.mov": b"\0\0\0\x14ftypqt  \0\0\0\0qt  ",
        "e.jxl": RED,  # a picture under a wrong name
        "f.dng": b"",
        "notes.txt": b"text",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for store in (ImageStore(tmp_path), ImageStore(zipped(tmp_path / "all.zip", files))):
        assert store.list() == ["e.jxl"]
        assert sorted(store.unreadable) == ["a.cr2", "b.NEF", "c.psd", "d.mov", "f.dng"]
        line = unread_summary(store.unreadable.values())
        assert line.startswith("5 files of kinds that visim does not read: ")
        assert {"1 CR2", "1 NEF", "1 PSD", "1 MOV", "1 DNG"} == set(line.partition(": ")[2].split(", "))
        assert "Develop it" in store.unreadable["b.NEF"]


def test_pictures_of_a_root_that_is_not_trusted_are_decoded_within_limits(
    server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["/a.png"] = RED
    calls: list[int] = []

    def decode(content: bytes, *, max_pixels: int) -> Image.Image:
        calls.append(max_pixels)
        return decode_image(content)

    monkeypatch.setattr("visim_models.sources.store.decode_untrusted", decode)
    monkeypatch.setattr("visim_models.sources.download.is_public", lambda _: True)
    assert ImageStore(server.address, trusted=False).decode("a.png").size == decode_image(RED).size
    assert calls == [25_000_000] * 2  # when it came, and when it was asked for
    assert ImageStore(server.address, max_pixels=10**9).decode("a.png")
    assert len(calls) == 2


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    store = ImageStore(tmp_path)
    for name in ("pipe.png", "folder.png"):
        with pytest.raises(ImageSourceError):
            store.read(name)
    assert store.list() == []
    assert list(store.unreadable) == ["pipe.png"]


@contextmanager
def without_rights() -> Iterator[Path]:
    """A new folder, and until the block ends, the rights of a user who is not root."""
    folder = Path(tempfile.mkdtemp(prefix="visim-test-"))
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.chown(folder, 65534, 65534)
            os.seteuid(65534)
        if not os.access(folder, os.X_OK, effective_ids=True):
            pytest.skip("the folder for temporary files is closed to other users")
        yield folder
    finally:
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir():
                path.chmod(0o700)
        if is_root:
            os.seteuid(0)
        shutil.rmtree(folder)


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o600])
def test_folders_without_permission(mode: int) -> None:
    with without_rights() as folder:
        photos = write_pictures(folder / "photos", 1, classes=("open", "closed"))
        (photos / "open" / "secret.png").write_bytes(RED)
        (photos / "open" / "secret.png").chmod(0)
        (photos / "closed").chmod(mode)
        store = ImageStore(photos)
        assert store.list() == ["open/0000.png", "open/secret.png"]
        assert store.unreadable == {"closed": "the folder cannot be read (Permission denied)"}
        for name in ("closed/0000.png", "open/secret.png"):
            with pytest.raises(ImageSourceError, match="Permission denied"):
                store.read(name)
        assert store.fingerprint("closed/0000.png") == ""
        photos.chmod(mode)
        with pytest.raises(ImageSourceError, match="check its permissions"):
            ImageStore(photos).list()
        with pytest.raises(ImageSourceError, match="check its permissions"):
            ImageStore(photos / "open")


def test_a_zip_that_has_a_name_twice(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", RED)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.png", BLUE)
    store = ImageStore(tmp_path / "a.zip")
    assert store.list() == ["a.png"]
    assert store.read("a.png") == BLUE
    assert "2 times" in store.unreadable["a.png"]


def damaged(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    at = content.index(RED[:200]) + 30
    content[at : at + 20] = bytes(20)
    path.write_bytes(content)
    return path


def with_encrypted_flag(path: Path) -> Path:
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    path.write_bytes(content)
    return path


def with_false_size(path: Path, size: int) -> Path:
    """The size that the directory of a zip states for its first member."""
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02") + 24
    content[at : at + 4] = size.to_bytes(4, "little")
    path.write_bytes(content)
    return path


BAD_MEMBERS: dict[str, Callable[[Path], Path]] = {
    "encrypted": lambda path: with_encrypted_flag(zipped(path, {"a.png": RED})),
    "larger than": lambda path: with_false_size(zipped(path, {"a.png": RED}), 2**31),
    "Bad CRC": lambda path: with_false_size(zipped(path, {"a.png": bytes(40 * 2**20)}), 1000),
    "rare method": lambda path: zipped(path, {"a.png": bytes(2**20)}, method=zipfile.ZIP_BZIP2),
    "cannot be read": lambda path: damaged(zipped(path, {"a.png": RED}, method=zipfile.ZIP_STORED)),
}


@pytest.mark.parametrize("reason", BAD_MEMBERS)
def test_a_bad_member_of_a_zip_is_its_own_failure(tmp_path: Path, reason: str) -> None:
    path = BAD_MEMBERS[reason](tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("good.png", RED)
    store = ImageStore(path)
    with pytest.raises(ImageSourceError, match=reason):
        store.read("a.png")
    assert store.read("good.png") == RED


def test_a_damaged_zip_is_a_clear_error(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": RED})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"PK\x01\x02", b"PK\x01\x03"))
    with pytest.raises(ImageSourceError, match="damaged zip"):
        ImageStore(path)


def test_a_zip_is_read_by_several_threads(tmp_path: Path) -> None:
    files = {f"{number}.bin": bytes([number]) * (1000 + 5000 * number) for number in range(60)}
    store = ImageStore(zipped(tmp_path / "a.zip", files))
    wrong: list[str] = []

    def read_all() -> None:
        wrong.extend(name for name in files if store.read(name) != files[name])

    threads = [threading.Thread(target=read_all) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    "root", ["ftp://host/a", "file:///a", "https://", "http://name:secret@host/a", "nowhere", "a\0b", "hf://models/a/b"]
)
def test_a_root_that_is_none_is_refused(root: str) -> None:
    with pytest.raises(ImageSourceError):
        ImageStore(root)


def test_a_gallery_from_elsewhere_cannot_point_to_this_machine(tmp_path: Path, server: FileServer) -> None:
    with pytest.raises(ImageSourceError, match="--images"):
        ImageStore(tmp_path, trusted=False)
    server.files["/a.png"] = RED
    with pytest.raises(ImageSourceError, match="private or local"):
        ImageStore(server.address, trusted=False).read("a.png")
    assert server.asked == []


# --- decoding


def test_pictures_are_decoded_and_hashed(tmp_path: Path) -> None:
    photos = write_pictures(tmp_path / "photos", 3, classes=("a", "b"))
    (photos / "a" / "bad.png").write_bytes(b"no picture")
    (photos / "a" / "gone.png").symlink_to(photos / "nowhere.png")
    store = ImageStore(photos)
    names = [*store.list(), "a/gone.png", "../b.png"]
    batches = list(store.decode_many(iter(names), PROCESSOR, at_once=4))
    assert [len(batch) for batch in batches] == [4, 4, 1]
    found = dict(pair for batch in batches for pair in batch)
    assert list(found) == names
    assert {name for name, result in found.items() if isinstance(result, Exception)} == {
        "a/bad.png", "a/gone.png", "../b.png",
    }  # fmt: skip
    assert isinstance(found["a/bad.png"], ImageDecodeError)
    assert isinstance(found["a/gone.png"], ImageSourceError)
    pixels, sha256 = found["b/0001.png"]  # type: ignore[misc]
    content = (photos / "b" / "0001.png").read_bytes()
    assert np.array_equal(pixels, PROCESSOR.resize(decode_image(content)))
    assert sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("reason", BAD_MEMBERS)
def test_a_bad_member_does_not_stop_the_others(tmp_path: Path, reason: str) -> None:
    path = BAD_MEMBERS[reason](tmp_path / "a.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("good.png", RED)
    store = ImageStore(path)
    [[(_, bad), (_, good)]] = store.decode_many(store.list(), PROCESSOR, at_once=8)
    assert isinstance(bad, ImageSourceError)
    assert not isinstance(good, Exception)


def test_remote_pictures_are_decoded_while_others_are_fetched(server: FileServer, tmp_path: Path) -> None:
    names = [f"{number}.png" for number in range(24)]
    server.files = {f"/{name}": RED for name in names}
    server.statuses["/3.png"] = 403
    server.delay = 0.2
    store = ImageStore(server.address, cache_dir=tmp_path / "cache")
    begin = time.monotonic()
    found = dict(pair for batch in store.decode_many(names, PROCESSOR, at_once=4) for pair in batch)
    assert time.monotonic() - begin < 2.4  # one after another, they would take 4.8 s
    assert [name for name, result in found.items() if isinstance(result, Exception)] == ["3.png"]
    assert found["5.png"][1] == hashlib.sha256(RED).hexdigest()  # type: ignore[index]


def test_who_stops_early_asks_for_no_more(server: FileServer) -> None:
    names = [f"{number}.png" for number in range(400)]
    server.files = {f"/{name}": RED for name in names}
    batches: Any = ImageStore(server.address).decode_many(names, PROCESSOR, at_once=4)
    next(batches)
    batches.close()
    time.sleep(0.2)
    assert len(server.asked) < 40
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("visim-decode")]


# --- the network


def test_a_remote_picture_is_fetched_once(server: FileServer, tmp_path: Path) -> None:
    server.files["/pictures/airplane/a%20b.png"] = RED
    for _ in range(2):
        store = ImageStore(f"{server.address}/pictures/", cache_dir=tmp_path / "cache")
        assert store.is_remote
        assert store.read("airplane/a b.png") == RED
    assert server.asked == ["/pictures/airplane/a%20b.png"]
    assert [file.read_bytes() for file in (tmp_path / "cache").iterdir()] == [RED]
    assert store.fingerprint("airplane/a b.png") == ""
    with pytest.raises(ImageSourceError, match="cannot be listed"):
        store.list()


def test_a_flat_remote_root_is_learnt(server: FileServer) -> None:
    server.files = {"/suv_1.png": RED, "/suv_2.png": BLUE}
    store = ImageStore(server.address)
    assert (store.read("suv/suv_1.png"), store.read("suv/suv_2.png")) == (RED, BLUE)
    assert server.asked == ["/suv/suv_1.png", "/suv_1.png", "/suv_2.png"]


def test_a_data_set_of_the_hub(
    start: Callable[[], FileServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub, storage = start(), start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.files["/datasets/someone/cars/resolve/main/my%20pictures/suv/a%20b.png"] = RED
    hub.redirects["/datasets/someone/cars/resolve/refs%2Fpr%2F1/b.png"] = f"{storage.address}/b.png"
    storage.files["/b.png"] = BLUE
    store = ImageStore("hf://datasets/someone/cars/my pictures", cache_dir=tmp_path / "cache")
    with pytest.raises(ImageSourceError, match=r"There is no suv/none\.png"):
        store.read("suv/none.png")
    assert store.read("suv/a b.png") == store.read("suv/a b.png") == RED
    assert sum("a%20b.png" in path for path in hub.asked) == 1
    asked = [path for path in hub.asked if "someone" in path]  # huggingface_hub asks for a list of agents, too, once
    assert {path.partition("/my%20pictures")[0] for path in asked} == {
        "/datasets/someone/cars/resolve/main",
        "/api/datasets/someone/cars/tree/main",  # a picture that is missing may be in a packed file
    }
    assert {hub.tokens[path] for path in asked} == {"Bearer hf_secret"}
    with pytest.raises(ImageSourceError, match="private or local"):
        ImageStore("hf://datasets/someone/cars@refs%2Fpr%2F1").read("b.png")
    monkeypatch.setattr("visim_models.sources.download.is_public", lambda _: True)
    assert ImageStore("hf://datasets/someone/cars@refs%2Fpr%2F1").read("b.png") == BLUE
    assert storage.tokens == {"/b.png": ""}  # a token for the Hub does not go where the Hub redirects
    hub.tokens.clear()
    assert ImageStore("hf://datasets/someone/cars/my pictures", trusted=False).read("suv/a b.png") == RED
    assert set(hub.tokens.values()) == {""}  # a gallery from elsewhere cannot show what only the token's owner may see


@pytest.mark.parametrize("trusted", [True, False])
def test_a_data_set_can_be_listed(server: FileServer, monkeypatch: pytest.MonkeyPatch, trusted: bool) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    entries = [
        {"type": "directory", "oid": "1", "path": "my pictures/suv"},
        {"type": "file", "oid": "2" * 40, "size": 9, "path": "my pictures/suv/a b.png"},
        {"type": "file", "oid": "3" * 40, "size": 9, "path": "my pictures/a.jpg"},
        {"type": "file", "oid": "4" * 40, "size": 9, "path": "my pictures/README.md"},
    ]
    tree = "/api/datasets/someone/cars/tree/refs%2Fpr%2F1/my%20pictures?recursive=true&expand=false"
    server.files[tree] = json.dumps(entries).encode()
    store = ImageStore("hf://datasets/someone/cars@refs%2Fpr%2F1/my pictures", trusted=trusted)
    assert store.fingerprint("a.jpg") == ""
    assert store.list() == ["a.jpg", "suv/a b.png"]
    assert store.fingerprint("a.jpg") == "3" * 40
    assert server.tokens[tree] == ("Bearer hf_secret" if trusted else "")
    with pytest.raises(ImageSourceError, match="cannot be listed"):
        ImageStore("hf://datasets/someone/other").list()


@pytest.mark.parametrize(
    ("status", "content"),
    [(404, RED), (403, RED), (500, RED), (503, RED), (200, b"<html>Log in"), (200, RED[:40])],
    ids=["404", "403", "500", "503", "a log-in page", "half a picture"],
)
def test_a_bad_file_is_its_own_failure(server: FileServer, tmp_path: Path, status: int, content: bytes) -> None:
    server.files = {"/a.png": content, "/b.png": BLUE}
    server.statuses["/a.png"] = status
    store = ImageStore(server.address, cache_dir=tmp_path / "cache")
    with pytest.raises(ImageSourceError) as caught:
        store.read("a.png")
    assert not isinstance(caught.value, ImageHostError)
    assert store.read_many(["a.png", "b.png"]) == {"b.png": BLUE}
    assert len(server.asked) == 3
    assert [file.read_bytes() for file in (tmp_path / "cache").iterdir()] == [BLUE]


def test_one_slow_file_is_its_own_failure(server: FileServer) -> None:
    server.files = {f"/{number}.png": RED for number in range(4)}
    server.delays["/0.png"] = 1.0
    server.delays["/1.png"] = 0.1  # it arrives after the slow one was asked for
    store = ImageStore(server.address, timeout=0.4)
    assert list(store.read_many(["0.png", "1.png"])) == ["1.png"]
    assert list(store.read_many(["2.png", "3.png"])) == ["2.png", "3.png"]


def test_a_host_that_does_not_answer_is_left_alone_for_a_while(server: FileServer) -> None:
    server.files["/a.png"] = RED
    server.delay = 1.0
    store = ImageStore(server.address, timeout=0.3, retry_after=0.5)
    with pytest.raises(ImageHostError, match="too slow"):
        store.read("a.png")
    server.delay = 0.0
    with pytest.raises(ImageHostError, match="a while ago"):
        store.read("a.png")
    assert store.read_many(["a.png"]) == {}
    assert len(server.asked) == 1
    time.sleep(0.55)
    with pytest.raises(ImageHostError, match="a while ago"):
        store.read("a.png")  # does not wait, but starts a request behind it
    deadline = time.monotonic() + 5
    while store.read_many(["a.png"]) != {"a.png": RED}:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_host_that_refuses_connections_is_left_alone_for_a_while() -> None:
    with running(FileServer()) as gone:
        store = ImageStore(gone.address)
    with pytest.raises(ImageHostError, match="cannot be reached"):
        store.read("a.png")
    with pytest.raises(ImageHostError, match="a while ago"):
        store.read("b.png")


def test_a_query_waits_no_longer_than_the_timeout(server: FileServer) -> None:
    names = [f"{number}.png" for number in range(30)]
    server.files = {f"/{name}": RED for name in names}
    server.delay = 1.5
    store = ImageStore(server.address, timeout=0.4)
    begin = time.monotonic()
    assert store.read_many(names) == {}
    assert store.read_many(names) == {}
    with pytest.raises(ImageHostError):
        store.read(names[0])
    assert time.monotonic() - begin < 1.2


def test_all_pictures_are_fetched_at_once(server: FileServer) -> None:
    names = [f"{number}.png" for number in range(12)]
    server.files = {f"/{name}": RED for name in names}
    server.delay = 0.4
    begin = time.monotonic()
    assert set(ImageStore(server.address, timeout=5).read_many(names)) == set(names)
    assert time.monotonic() - begin < 2.4  # one after another, they would take 4.8 s


def test_a_cache_that_cannot_be_written_only_keeps_nothing(
    server: FileServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.files["/a.png"] = RED
    (tmp_path / "file").write_bytes(b"")
    store = ImageStore(server.address, cache_dir=tmp_path / "file")
    assert store.read("a.png") == RED
    assert "cannot be written" in caplog.text
