"""Image roots: folders, zips and web addresses, with a real HTTP server on a free port of this machine."""

import io
import os
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from visim_models import ImageSourceError
from visim_models.disk_cache import DiskCache
from visim_models.download import download, origin
from visim_models.image_source import ImageRoot


def picture(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), colour).save(file, "PNG")
    return file.getvalue()


RED, BLUE = picture("red"), picture("blue")


class Server(ThreadingHTTPServer):
    """Serves `files`; a path in `redirects` leads elsewhere; answers wait `delay` seconds."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.asked: list[str] = []
        self.tokens: set[str] = set()
        self.status = 200
        self.delay = 0.0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.tokens.add(self.headers.get("Authorization", ""))
        time.sleep(self.server.delay)
        if self.path in self.server.redirects:
            self.send_response(302)
            self.send_header("Location", self.server.redirects[self.path])
            self.end_headers()
            return
        content = self.server.files.get(self.path)
        self.send_response(404 if content is None else self.server.status)
        self.end_headers()
        if content is not None:
            with suppress(OSError):  # the client has had enough
                self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def start() -> Iterator[Callable[[], Server]]:
    servers: list[Server] = []

    def start_one() -> Server:
        server = Server()
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        return server

    yield start_one
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(start: Callable[[], Server]) -> Server:
    return start()


@pytest.fixture(params=["folder", "zip"])
def local_root(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    files = {"suv/suv_0001.jpg": RED, "coupe_0001.jpg": BLUE, "0002.jpg": BLUE}
    if request.param == "zip":
        with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
            archive.writestr("../outside.jpg", RED)
        return str(tmp_path / "photos.zip")
    for name, content in files.items():
        (tmp_path / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(content)
    (tmp_path / "outside.jpg").write_bytes(RED)
    return str(tmp_path / "photos")


def test_a_local_picture_is_read(local_root: str) -> None:
    root = ImageRoot(local_root, trusted=True)
    assert root.fetch("suv/suv_0001.jpg") == RED
    assert root.fetch_all(["suv/suv_0001.jpg", "suv/missing.jpg"]) == {"suv/suv_0001.jpg": RED}


def test_a_base_name_is_tried_only_where_it_says_its_folder(local_root: str) -> None:
    root = ImageRoot(local_root, trusted=True)
    assert root.fetch("coupe/coupe_0001.jpg") == BLUE
    with pytest.raises(ImageSourceError, match=r"There is no airplane/0002\.jpg"):
        root.fetch("airplane/0002.jpg")


@pytest.mark.parametrize(
    "name", ["../outside.jpg", "suv/../../outside.jpg", "/etc/hostname", "", ".", "suv//a", "a\\b", "C:/a.jpg", "a\0b"]
)
def test_a_name_that_leads_out_of_the_root_is_refused(local_root: str, name: str) -> None:
    with pytest.raises(ImageSourceError, match="not a plain relative file name"):
        ImageRoot(local_root, trusted=True).fetch(name)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outside.png").write_bytes(RED)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "link.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(ImageSourceError, match="link that leads out"):
        ImageRoot(str(tmp_path / "photos"), trusted=True).fetch("link.png")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageSourceError, match="There is no"):
        ImageRoot(str(tmp_path), trusted=True).fetch("pipe.png")


@pytest.mark.parametrize("root", ["ftp://host/a", "file:///a", "https://", "http://name:secret@host/a", "nowhere"])
def test_a_root_that_is_none_is_refused(root: str) -> None:
    with pytest.raises(ImageSourceError):
        ImageRoot(root, trusted=True)


def test_a_gallery_from_elsewhere_cannot_point_to_this_machine(tmp_path: Path, server: Server) -> None:
    with pytest.raises(ImageSourceError, match="--images"):
        ImageRoot(str(tmp_path))
    server.files["/a.png"] = RED
    with pytest.raises(ImageSourceError, match="private or local"):
        ImageRoot(server.address).fetch("a.png")
    assert server.asked == []


def test_a_remote_picture_is_fetched_once(server: Server, tmp_path: Path) -> None:
    server.files["/pictures/airplane/a%20b.png"] = RED
    for _ in range(2):
        root = ImageRoot(f"{server.address}/pictures/", trusted=True, cache_dir=tmp_path / "cache")
        assert root.fetch("airplane/a b.png") == RED
    assert server.asked == ["/pictures/airplane/a%20b.png"]
    assert [file.read_bytes() for file in (tmp_path / "cache").iterdir()] == [RED]


def test_a_flat_remote_root_is_learnt(server: Server) -> None:
    server.files = {"/suv_1.png": RED, "/suv_2.png": BLUE}
    root = ImageRoot(server.address, trusted=True)
    assert (root.fetch("suv/suv_1.png"), root.fetch("suv/suv_2.png")) == (RED, BLUE)
    assert server.asked == ["/suv/suv_1.png", "/suv_1.png", "/suv_2.png"]


def test_a_data_set_of_the_hub(start: Callable[[], Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, storage = start(), start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.files["/datasets/someone/cars/resolve/main/my%20pictures/suv/a%20b.png"] = RED
    hub.redirects["/datasets/someone/cars/resolve/refs%2Fpr%2F1/b.png"] = f"{storage.address}/b.png"
    storage.files["/b.png"] = BLUE
    root = ImageRoot("hf://datasets/someone/cars/my pictures", cache_dir=tmp_path / "cache", trusted=True)
    with pytest.raises(ImageSourceError, match=r"There is no suv/none\.png"):
        root.fetch("suv/none.png")
    assert root.fetch("suv/a b.png") == root.fetch("suv/a b.png") == RED
    assert len(hub.asked) == 2  # one request a picture: no folder is listed
    assert hub.tokens == {"Bearer hf_secret"}
    with pytest.raises(ImageSourceError, match="private or local"):
        ImageRoot("hf://datasets/someone/cars@refs%2Fpr%2F1", trusted=True).fetch("b.png")
    monkeypatch.setattr("visim_models.download._refuse_private_address", lambda *_: None)
    assert ImageRoot("hf://datasets/someone/cars@refs%2Fpr%2F1", trusted=True).fetch("b.png") == BLUE
    assert storage.tokens == {""}  # what belongs to the Hub does not go where it redirects
    hub.tokens.clear()
    assert ImageRoot("hf://datasets/someone/cars/my pictures").fetch("suv/a b.png") == RED
    assert hub.tokens == {""}  # a gallery from elsewhere cannot show what only the token's owner may see


@pytest.mark.parametrize("root", ["hf://datasets/", "hf://datasets/cars", "hf://datasets/a/b/../c", "hf://models/a/b"])
def test_what_is_no_data_set_of_the_hub(root: str) -> None:
    with pytest.raises(ImageSourceError):
        ImageRoot(root, trusted=True)


def test_a_missing_picture_does_not_turn_the_network_off(server: Server) -> None:
    server.files["/b.png"] = BLUE
    root = ImageRoot(server.address, trusted=True)
    with pytest.raises(ImageSourceError, match=r"There is no a\.png"):
        root.fetch("a.png")
    assert root.fetch("b.png") == BLUE


@pytest.mark.parametrize("content", [b"<html>Please log in</html>", RED[:40]])
def test_what_is_no_picture_is_neither_given_nor_kept(server: Server, tmp_path: Path, content: bytes) -> None:
    server.files["/a.png"] = content
    root = ImageRoot(server.address, trusted=True, cache_dir=tmp_path / "cache")
    with pytest.raises(ImageSourceError, match="is not a picture"):
        root.fetch("a.png")
    assert not (tmp_path / "cache").exists()


def test_a_failure_turns_the_network_off_for_a_while(server: Server) -> None:
    server.files["/a.png"] = RED
    server.status = 503
    root = ImageRoot(server.address, trusted=True, retry_after=0.3)
    with pytest.raises(ImageSourceError, match="status 503"):
        root.fetch("a.png")
    server.status = 200
    with pytest.raises(ImageSourceError, match="a while ago"):
        root.fetch("a.png")
    assert len(server.asked) == 1
    time.sleep(0.35)
    with pytest.raises(ImageSourceError, match="a while ago"):
        root.fetch("a.png")  # does not wait, but starts a look-up behind it
    deadline = time.monotonic() + 5
    while root.fetch_all(["a.png"]) != {"a.png": RED}:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_query_waits_no_longer_than_the_timeout(server: Server) -> None:
    names = [f"{number}.png" for number in range(30)]
    server.files = {f"/{name}": RED for name in names}
    server.delay = 1.5
    root = ImageRoot(server.address, trusted=True, timeout=0.4)
    start = time.monotonic()
    assert root.fetch_all(names) == {}
    assert root.fetch_all(names) == {}
    with pytest.raises(ImageSourceError):
        root.fetch(names[0])
    assert time.monotonic() - start < 1.2


def test_all_pictures_are_fetched_at_once(server: Server) -> None:
    names = [f"{number}.png" for number in range(12)]
    server.files = {f"/{name}": RED for name in names}
    server.delay = 0.4
    start = time.monotonic()
    assert set(ImageRoot(server.address, trusted=True, timeout=5).fetch_all(names)) == set(names)
    assert time.monotonic() - start < 2.4  # one after another, they would take 4.8 s


def test_a_redirect_to_a_private_host_is_refused(start: Callable[[], Server]) -> None:
    server, other = start(), start()
    server.redirects = {"/a.png": f"{other.address}/a.png", "/b.png": "/c.png", "/d.png": "/d.png"}
    server.files["/c.png"] = RED
    other.files["/a.png"] = RED
    home = origin(server.address)
    with pytest.raises(ImageSourceError, match="private or local"):
        download(f"{server.address}/a.png", trusted_origin=home)
    assert other.asked == []
    assert download(f"{server.address}/b.png", trusted_origin=home) == RED
    with pytest.raises(ImageSourceError, match="redirects more than"):
        download(f"{server.address}/d.png", trusted_origin=home)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "192.168.1.1", "169.254.169.254", "[::ffff:127.0.0.1]", "0.0.0.0"],
)
def test_private_hosts_are_refused(host: str) -> None:
    with pytest.raises(ImageSourceError, match="private or local"):
        download(f"http://{host}:9/a.png")


def test_an_answer_is_limited_in_size_and_time(server: Server) -> None:
    server.files["/a.png"] = bytes(100_000)
    home = origin(server.address)
    with pytest.raises(ImageSourceError, match="more than 1,000 bytes"):
        download(f"{server.address}/a.png", trusted_origin=home, max_bytes=1000)
    server.delay = 0.5
    with pytest.raises(ImageSourceError, match="cannot be reached"):
        download(f"{server.address}/a.png", trusted_origin=home, timeout=0.2)


def test_a_host_that_is_not_there_is_an_error(server: Server) -> None:
    address = server.address
    server.shutdown()
    server.server_close()
    with pytest.raises(ImageSourceError, match="cannot be reached"):
        download(f"{address}/a.png", trusted_origin=origin(address))


def test_the_cache_stays_within_its_limit(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cache = DiskCache(folder, max_bytes=1000)
    for number in range(450):
        cache.put(f"key{number}", bytes(10))
    assert sum(file.stat().st_size for file in folder.iterdir()) <= 1010
    assert cache.get("key449") == bytes(10)
    assert cache.get("key0") is None


def test_a_cache_that_cannot_be_written_only_keeps_nothing(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.files["/a.png"] = RED
    (tmp_path / "file").write_bytes(b"")
    root = ImageRoot(server.address, trusted=True, cache_dir=tmp_path / "file")
    assert root.fetch("a.png") == RED
    assert "cannot be written" in caplog.text
