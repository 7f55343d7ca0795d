"""Fetching by address: one deadline, one limit of bytes, one look-up, and public hosts only."""

import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.loopback import FileServer, NameServer, running, scripted
from visim_models import ImageHostError, ImageSourceError
from visim_models.sources import download as module
from visim_models.sources.download import download, hub_address, hub_dataset, origin

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy")
PUBLIC, PRIVATE = "127.0.0.2", "127.0.0.3"
"""Two loopback addresses; the tests that use them take the first for a public one."""


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def start() -> Iterator[Callable[..., FileServer]]:
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(running(FileServer(**options)))


@pytest.fixture
def server(start: Callable[..., FileServer]) -> FileServer:
    return start()


@pytest.fixture
def name_server(monkeypatch: pytest.MonkeyPatch) -> NameServer:
    return NameServer(monkeypatch)


@pytest.fixture
def public_and_private(
    start: Callable[..., FileServer], monkeypatch: pytest.MonkeyPatch
) -> tuple[FileServer, FileServer]:
    """Two servers on one port: one at the address that passes for public, one at another."""
    monkeypatch.setattr(module, "is_public", lambda address: address == PUBLIC)
    public = start(host=PUBLIC)
    private = start(host=PRIVATE, port=public.server_port)
    public.files["/a.png"], private.files["/a.png"] = b"public", b"private"
    return public, private


# --- which hosts


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "[::1]", "10.0.0.1", "192.168.1.1", "169.254.169.254", "[::ffff:127.0.0.1]", "0.0.0.0",
     "127.1", "2130706433", "168.63.129.16", "192.0.0.192", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::127.0.0.1]"],
)  # fmt: skip
def test_private_hosts_are_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it connects"))
    with pytest.raises(ImageSourceError, match="private or local"):
        download(f"http://{host}:9/a.png")


def test_one_private_address_among_public_ones_is_refused(
    public_and_private: tuple[FileServer, FileServer], name_server: NameServer
) -> None:
    public, private = public_and_private
    name_server.names["pictures.example"] = [[PUBLIC, PRIVATE]]
    with pytest.raises(ImageSourceError, match="private or local"):
        download(f"http://pictures.example:{public.server_port}/a.png")
    assert public.asked == private.asked == []


def test_a_name_is_encoded_once(public_and_private: tuple[FileServer, FileServer], name_server: NameServer) -> None:
    """IDNA 2003 makes `fass` of the sharp s, IDNA 2008 keeps it: the two may be two hosts."""
    public, private = public_and_private
    name_server.names = {"fass.example": [[PUBLIC]], "xn--fa-hia.example": [[PRIVATE]]}
    with pytest.raises(ImageSourceError, match="private or local"):
        download(f"http://faß.example:{public.server_port}/a.png")
    assert name_server.asked == ["xn--fa-hia.example"]
    assert public.asked == private.asked == []


@pytest.mark.parametrize("variables", [{}, {"NO_PROXY": "localhost"}, {"ftp_proxy": "http://127.0.0.1:9"}])
def test_a_name_is_looked_up_once(
    public_and_private: tuple[FileServer, FileServer],
    name_server: NameServer,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
) -> None:
    """A name server that gives a public address for the check, and a private one for the connection."""
    public, private = public_and_private
    name_server.names["pictures.example"] = [[PUBLIC], [PRIVATE]]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert download(f"http://pictures.example:{public.server_port}/a.png") == b"public"
    assert public.hosts == [f"pictures.example:{public.server_port}"]
    assert private.asked == []


def test_an_address_that_does_not_answer_leaves_time_for_the_next(server: FileServer, name_server: NameServer) -> None:
    server.files["/a.png"] = b"a"
    name_server.names["pictures.example"] = [[PRIVATE, "127.0.0.1"]]  # nothing listens at the first
    url = f"http://pictures.example:{server.server_port}/a.png"
    assert download(url, trusted_origin=origin(url)) == b"a"


def test_a_redirect_to_a_private_host_is_refused(start: Callable[..., FileServer]) -> None:
    server, other = start(), start()
    server.redirects = {"/a.png": f"{other.address}/a.png", "/b.png": "/c.png", "/d.png": "/d.png"}
    server.files["/c.png"] = b"c"
    home = origin(server.address)
    with pytest.raises(ImageSourceError, match="private or local"):
        download(f"{server.address}/a.png", trusted_origin=home)
    assert other.asked == []
    assert download(f"{server.address}/b.png", trusted_origin=home) == b"c"
    with pytest.raises(ImageSourceError, match="redirects more than"):
        download(f"{server.address}/d.png", trusted_origin=home)


@pytest.mark.parametrize("location", ["http://[", "http://[::1", "http://host:port/", "ftp://host/a", "http://a\x7fb/"])
def test_a_redirect_to_no_web_address_is_refused(server: FileServer, location: str) -> None:
    server.redirects["/a.png"] = location
    with pytest.raises(ImageSourceError, match="which is no web address"):
        download(f"{server.address}/a.png", trusted_origin=origin(server.address))


@pytest.mark.parametrize(
    "url", ["", "a.png", "ftp://host/a", "http://", "http://[", "http://name:secret@host/a", "http://host:99999/a"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ImageSourceError, match=r"web address|plain http or https"):
        download(url)


# --- proxies


def test_a_proxy_makes_the_connection(
    start: Callable[..., FileServer], name_server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = start()
    monkeypatch.setenv("http_proxy", proxy.address)
    proxy.files["http://known-to-the-proxy.example/a.png"] = b"a"
    assert download("http://known-to-the-proxy.example/a.png") == b"a"
    name_server.names["inside.example"] = [["10.0.0.1"]]
    with pytest.raises(ImageSourceError, match="private or local"):
        download("http://inside.example/a.png")
    assert len(proxy.asked) == 1
    monkeypatch.setenv("no_proxy", ".example")
    with pytest.raises(ImageHostError, match="cannot be reached"):
        download("http://known-to-the-proxy.example/a.png")
    assert len(proxy.asked) == 1


def test_a_proxy_for_https_is_asked_for_a_tunnel(name_server: NameServer, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[bytes] = []

    def refuse(connection: socket.socket) -> None:
        requests.append(connection.recv(4096))
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with scripted(refuse) as port:
        monkeypatch.setenv("https_proxy", f"http://name:secret@127.0.0.1:{port}")
        with pytest.raises(ImageHostError, match="403"):
            download("https://pictures.example/a.png")
    assert requests[0].startswith(b"CONNECT pictures.example:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic bmFtZTpzZWNyZXQ=" in requests[0]


def test_another_kind_of_proxy_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:9")
    with pytest.raises(ImageSourceError, match="proxy"):
        download("https://pictures.example/a.png")


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and key for secure.example, signed by itself."""
    if not (openssl := shutil.which("openssl")):
        pytest.skip("openssl, which makes the certificate, is missing")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=secure.example", "-addext", "subjectAltName=DNS:secure.example",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    both = folder / "both.pem"
    both.write_bytes(key.read_bytes() + certificate.read_bytes())
    return both


@pytest.fixture
def secure_server(
    certificate: Path, start: Callable[..., FileServer], name_server: NameServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[FileServer, list[str]]]:
    """A server of two names with the certificate of the first, and the names that its handshakes asked for."""
    names: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    server = start(tls=context)
    server.files["/a.png"] = bytes(100_000)
    name_server.names = {"secure.example": [["127.0.0.1"]], "other.example": [["127.0.0.1"]]}
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    module._tls.cache_clear()
    yield server, names
    module._tls.cache_clear()


def test_the_certificate_must_be_of_the_name(secure_server: tuple[FileServer, list[str]]) -> None:
    server, names = secure_server
    server.redirects["/b.png"] = f"http://secure.example:{server.server_port}/a.png"
    secure, other = (f"https://{host}.example:{server.server_port}" for host in ("secure", "other"))
    assert download(f"{secure}/a.png", trusted_origin=origin(secure)) == bytes(100_000)
    assert (names, server.hosts) == (["secure.example"], [f"secure.example:{server.server_port}"])
    with pytest.raises(ImageSourceError, match="without https"):
        download(f"{secure}/b.png", trusted_origin=origin(secure))
    with pytest.raises(ImageHostError, match="certificate"):
        download(f"{other}/a.png", trusted_origin=origin(other))
    assert server.asked == ["/a.png", "/b.png"]


def test_tls_goes_through_the_tunnel_of_a_proxy(
    secure_server: tuple[FileServer, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, names = secure_server

    def pump(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(4096):
                target.sendall(content)

    def tunnel(client: socket.socket) -> None:
        client.recv(4096)
        with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as upstream:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            threading.Thread(target=pump, args=(client, upstream), daemon=True).start()
            pump(upstream, client)
            client.shutdown(socket.SHUT_RDWR)  # the other thread still reads from it, which keeps it open

    secure, other = (f"https://{host}.example:{server.server_port}" for host in ("secure", "other"))
    with scripted(tunnel) as port:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{port}")
        assert download(f"{secure}/a.png", trusted_origin=origin(secure)) == bytes(100_000)
        with pytest.raises(ImageHostError, match="certificate"):
            download(f"{other}/a.png", trusted_origin=origin(other))
    assert names == ["secure.example", "other.example"]


def test_a_missing_file_of_certificates_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    module._tls.cache_clear()
    with pytest.raises(ImageSourceError, match="SSL_CERT_FILE"):
        download("https://127.0.0.1:9/a.png", trusted_origin="https://127.0.0.1:9")


# --- the deadline and the limit of bytes

HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def drip(start: bytes, part: bytes) -> Callable[[socket.socket], None]:
    """A script that sends a start, then one part again and again, without end."""

    def script(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(part)
            time.sleep(0.02)

    return script


def flood(start: bytes, part: bytes) -> Callable[[socket.socket], None]:
    """As `drip`, but without a pause."""

    def script(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(part * 1000)

    return script


SLOW = {
    "silence": drip(b"", b""),
    "a dripped header": drip(HEAD + b"X-Long: ", b"a"),
    "endless 102": drip(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "a dripped chunk extension": drip(CHUNKED + b"5;", b"a"),
    "a dripped body": drip(HEAD + b"Content-Length: 1000000\r\n\r\n", b"a"),
    "a dripped redirect": drip(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/", b"a"),
}


def assert_ends_in_time(url: str) -> None:
    start = time.monotonic()
    with pytest.raises(ImageHostError, match="too slow"):
        download(url, timeout=0.3, trusted_origin=origin(url))
    assert time.monotonic() - start < 1.0


@pytest.mark.parametrize("kind", SLOW)
def test_nothing_outlives_the_deadline(kind: str) -> None:
    with scripted(SLOW[kind]) as port:
        assert_ends_in_time(f"http://127.0.0.1:{port}/a.png")


@pytest.mark.parametrize(
    "script", [drip(b"", b""), drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"a")], ids=["silence", "a dripped record"]
)
def test_a_handshake_does_not_outlive_the_deadline(script: Callable[[socket.socket], None]) -> None:
    with scripted(script) as port:
        assert_ends_in_time(f"https://127.0.0.1:{port}/a.png")


def test_a_name_server_that_hangs_does_not_outlive_the_deadline(name_server: NameServer) -> None:
    name_server.delay = 3.0
    assert_ends_in_time("http://pictures.example/a.png")


def test_a_host_that_drops_connections_does_not_outlive_the_deadline() -> None:
    with socket.socket() as listening, ExitStack() as waiting:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):  # a full queue: the next one gets no answer
            connection = waiting.enter_context(socket.socket())
            connection.setblocking(False)
            connection.connect_ex(listening.getsockname())
        assert_ends_in_time(f"http://127.0.0.1:{listening.getsockname()[1]}/a.png")


@pytest.mark.parametrize(
    ("start", "part"),
    [(b"", b"HTTP/1.1 102 Processing\r\n\r\n"), (CHUNKED, b"1;" + b"x" * 500 + b"\r\na\r\n")],
    ids=["headers", "chunk extensions"],
)
def test_all_bytes_count(start: bytes, part: bytes) -> None:
    with scripted(flood(start, part)) as port:
        url = f"http://127.0.0.1:{port}/a.png"
        began = time.monotonic()
        with pytest.raises(ImageSourceError, match="bytes in all"):
            download(url, timeout=20, max_bytes=10_000, trusted_origin=origin(url))
        assert time.monotonic() - began < 5


def test_an_answer_is_limited_in_size(server: FileServer) -> None:
    server.files["/a.png"] = bytes(100_000)
    home = origin(server.address)
    assert len(download(f"{server.address}/a.png", trusted_origin=home, max_bytes=100_000)) == 100_000
    with pytest.raises(ImageSourceError, match="more than 99,999 bytes"):
        download(f"{server.address}/a.png", trusted_origin=home, max_bytes=99_999)


# --- answers


def test_an_error_of_the_file_is_not_one_of_the_host(server: FileServer) -> None:
    server.files["/b.png"], server.statuses["/b.png"] = b"b", 503
    with pytest.raises(FileNotFoundError):
        download(f"{server.address}/a.png", trusted_origin=origin(server.address))
    with pytest.raises(ImageSourceError, match="status 503") as caught:
        download(f"{server.address}/b.png", trusted_origin=origin(server.address))
    assert not isinstance(caught.value, ImageHostError)


def test_a_host_that_cannot_be_reached(name_server: NameServer) -> None:
    with running(FileServer()) as server:
        address = server.address
    for url in (f"{address}/a.png", "http://nowhere.example/a.png", "http://a..b/a.png", f"http://{'x' * 70}.example/"):
        with pytest.raises(ImageHostError, match="cannot be reached"):
            download(url, trusted_origin=origin(url))


def test_a_host_that_hangs_up(server: FileServer) -> None:
    def hang_up(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"Content-Length: 10\r\n\r\nabc")

    for script in (hang_up, lambda _: None):
        with scripted(script) as port, pytest.raises(ImageHostError, match="cannot be reached"):
            download(f"http://127.0.0.1:{port}/a.png", trusted_origin=f"http://127.0.0.1:{port}")


def test_no_connection_stays_open(server: FileServer) -> None:
    server.files["/a.png"] = b"a"
    before = threading.active_count()
    for _ in range(5):
        download(f"{server.address}/a.png", trusted_origin=origin(server.address))
    deadline = time.monotonic() + 5
    while threading.active_count() > before:  # the server has one thread a connection
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_one_origin_has_one_spelling() -> None:
    spellings = ["http://Host.example", "http://host.example:80/a", "http://host.example./?b", "HTTP://HOST.EXAMPLE/#c"]
    assert {origin(url) for url in spellings} == {"http://host.example:80"}
    assert origin("https://faß.example") == origin("https://xn--fa-hia.example:443")


@pytest.mark.parametrize("root", ["hf://datasets/", "hf://datasets/cars", "hf://datasets/a/b/../c", "hf://models/a/b",
                                  "hf://datasets/../b", "hf://datasets/a/..", "hf://datasets/a/b//c"])  # fmt: skip
def test_a_root_that_is_no_data_set(root: str) -> None:
    with pytest.raises(ImageSourceError, match="is no data set of the Hub"):
        hub_address(root)


def test_the_parts_of_a_data_set() -> None:
    assert hub_dataset("hf://datasets/some.one/cars@refs%2Fpr%2F1/my pictures/") == (
        "some.one/cars", "refs/pr/1", "my pictures",
    )  # fmt: skip
    assert hub_address("hf://datasets/a/b@v1/c d").endswith("/datasets/a/b/resolve/v1/c%20d")
