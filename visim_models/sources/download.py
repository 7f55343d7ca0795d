"""Fetch a small file by its web address: within hard limits of time and size, and from public hosts only."""

import functools
import re
import ssl
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple
from urllib.parse import quote, unquote

import httpcore
import httpx
from huggingface_hub import constants

from visim_models.errors import ImageHostError, ImageSourceError
from visim_models.images.decode import STRANGER_BYTES
from visim_models.sources.file_names import check_file_name
from visim_models.sources.network import LimitedBackend, Limits, SocketAddress, is_public, resolve

__all__ = ["HUB_DATASETS", "HubDataset", "download", "hub_address", "hub_dataset", "origin"]

HUB_DATASETS: Final = "hf://datasets/"
"""Begins an image root that is a data set on the Hub."""

_MAX_REDIRECTS: Final = 3
_REDIRECTS: Final = {301, 302, 303, 307, 308}
_PORTS: Final = {"http": 80, "https": 443}
# A compressed answer could unfold beyond every limit; pictures are compressed already.
_HEADERS: Final[dict[bytes | str, bytes | str]] = {
    "Accept": "*/*",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "visim",
}
_HOST: Final = re.compile(rb"[a-z0-9_.-]+|[0-9a-f:.]+")  # a name, or an IPv6 address; httpx lets more pass
_REPO_PART: Final = re.compile(r"\w[\w.-]*", re.ASCII)
_REVISION_WITH_SLASHES: Final = re.compile(r"@refs/(pr/\d+|convert/\w+)(?=/|$)", re.ASCII)
_NETWORK_ERRORS: Final = (
    OSError,  # of sockets and TLS
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.TimeoutException,
)


class HubDataset(NamedTuple):
    """A folder of a data set on the Hub.

    Attributes:
        repo_id: "namespace/name".
        revision: branch, tag or commit.
        folder: path in the data set, or "".
    """

    repo_id: str
    revision: str
    folder: str


def download(
    url: str,
    *,
    timeout: float = 3.0,
    max_bytes: int = STRANGER_BYTES,
    trusted_origin: str | None = None,
    token: str | None = None,
) -> bytes:
    """Return the content behind an http or https address.

    A host is refused, also as the target of a redirect, if any of its addresses is not public (loopback, link-local,
    private, multicast, ...), unless it is `trusted_origin`. Its name is looked up once, and the connection goes to an
    address that was checked. A redirect from https to http is refused.

    Where the environment names a proxy for this scheme and host (https_proxy, http_proxy, all_proxy; no_proxy), the
    proxy makes the connection. The host is then checked if its name can be looked up here; a name that only the proxy
    knows is left to the proxy.

    Args:
        url: the address.
        timeout: longest time for everything together, redirects included, in seconds.
        max_bytes: largest content. All that is read, headers included, may be a sixteenth and 256 KiB more.
        trusted_origin: `origin(...)` of the one host that may be private, because the person who runs this named it.
        token: sent to `trusted_origin` alone, never to the target of its redirects.

    Raises:
        FileNotFoundError: the host answers that it has no such file.
        ImageHostError: the host cannot be reached, its answer is not complete in time, or HF_HUB_OFFLINE is set.
        ImageSourceError: the address is refused, or the answer is too large or is no file.
    """
    if constants.HF_HUB_OFFLINE:
        raise ImageHostError(f"{url} is not fetched: HF_HUB_OFFLINE is set.", path=url)
    limits = Limits(url, seconds=timeout, max_bytes=max_bytes + max_bytes // 16 + 2**18)
    target = _parse(url)
    try:
        for _ in range(_MAX_REDIRECTS + 1):
            trusted = _origin(target) == trusted_origin
            with _answer(target, limits, trusted=trusted, token=token if trusted else None) as response:
                if (location := _location(response)) is None:
                    return _read(response, target, limits, max_bytes)
            target = _redirected(target, location)
    except (ImageSourceError, FileNotFoundError):
        raise
    except TimeoutError as error:
        raise ImageHostError(
            f"{target} is too slow: its answer was not complete within {timeout:g} s.", path=url
        ) from error
    except _NETWORK_ERRORS as error:
        raise ImageHostError(f"{target} cannot be reached ({str(error) or type(error).__name__}).", path=url) from error
    raise ImageSourceError(f"{url} redirects more than {_MAX_REDIRECTS} times: it is refused.", path=url)


def origin(url: str) -> str:
    """Return the scheme, host and port of an http or https address, spelled in one way for each origin.

    Raises:
        ImageSourceError: it is no such address, or has a user name or password in it.
    """
    return _origin(_parse(url))


def hub_dataset(root: str) -> HubDataset:
    """Parse hf://datasets/namespace/name[@revision][/folder].

    Raises:
        ImageSourceError: it is no such root.
    """
    path = _REVISION_WITH_SLASHES.sub(lambda found: quote(found[0], safe="@"), root.removeprefix(HUB_DATASETS))
    namespace, _, rest = path.strip("/").partition("/")
    name, _, folder = rest.partition("/")
    name, _, revision = name.partition("@")
    try:
        if not root.startswith(HUB_DATASETS) or not _REPO_PART.fullmatch(namespace) or not _REPO_PART.fullmatch(name):
            raise ImageSourceError(f"{root!r} has no namespace and name")
        if folder:
            check_file_name(folder)
    except ImageSourceError as error:
        raise ImageSourceError(
            f"{root!r} is no data set of the Hub: give hf://datasets/namespace/name/folder.", path=root
        ) from error
    return HubDataset(f"{namespace}/{name}", unquote(revision) or constants.DEFAULT_REVISION, folder)


def hub_address(root: str) -> str:
    """Return the web address of an hf:// root, under which the Hub serves its files.

    It takes one request a picture; the file system of huggingface_hub would first list the whole folder.

    Raises:
        ImageSourceError: it is no such root.
    """
    found = hub_dataset(root)
    repo = f"{constants.ENDPOINT}/datasets/{found.repo_id}/resolve/{quote(found.revision, safe='')}"
    return f"{repo}/{quote(found.folder)}".rstrip("/")


def _parse(url: str) -> httpx.URL:
    """Parse an address; its host is encoded here, once, for the look-up, the connection, TLS and the Host header."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise ImageSourceError(f"{url!r} is not a web address ({error}).", path=url) from error
    is_plain = parsed.scheme in _PORTS and _HOST.fullmatch(parsed.raw_host) and not parsed.userinfo
    if not is_plain or not 0 < _port(parsed) < 2**16:
        raise ImageSourceError(
            f"{url!r} is not a plain http or https address: give one like https://host/picture.jpg.", path=url
        )
    return parsed


def _port(url: httpx.URL) -> int:
    return _PORTS[url.scheme] if url.port is None else url.port


def _host(url: httpx.URL) -> str:
    return url.raw_host.decode("ascii")


def _origin(url: httpx.URL) -> str:
    return f"{url.scheme}://{_host(url).rstrip('.')}:{_port(url)}"


@contextmanager
def _answer(url: httpx.URL, limits: Limits, *, trusted: bool, token: str | None) -> Iterator[httpcore.Response]:
    headers = {**_HEADERS, "Host": url.netloc.decode("ascii")}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    with _connections(url, limits, trusted=trusted) as pool, pool.stream("GET", target, headers=headers) as response:
        yield response


def _connections(url: httpx.URL, limits: Limits, *, trusted: bool) -> httpcore.ConnectionPool:
    proxy = _proxy(url)
    if proxy is None:
        addresses = resolve(_host(url), _port(url), seconds=limits.seconds_left())
        if not trusted:
            _refuse_private(addresses, url)
        return httpcore.ConnectionPool(ssl_context=_tls(), network_backend=LimitedBackend(addresses, limits))
    if not trusted:
        addresses = []
        with suppress(OSError):  # behind a proxy, public names may resolve only there
            addresses = resolve(_host(url), _port(url), seconds=limits.seconds_left() / 2)
        _refuse_private(addresses, url)
    addresses = resolve(_host(proxy), _port(proxy), seconds=limits.seconds_left())
    return httpcore.HTTPProxy(
        proxy_url=httpcore.URL(scheme=proxy.raw_scheme, host=proxy.raw_host, port=proxy.port, target="/"),
        proxy_auth=(proxy.username, proxy.password) if proxy.userinfo else None,
        ssl_context=_tls(),
        proxy_ssl_context=_tls() if proxy.scheme == "https" else None,
        network_backend=LimitedBackend(addresses, limits),
    )


def _proxy(url: httpx.URL) -> httpx.URL | None:
    """Return the proxy that the environment names for this scheme and host, or None."""
    named = urllib.request.getproxies()
    address = named.get(url.scheme) or named.get("all")
    if not address or urllib.request.proxy_bypass(f"{_host(url)}:{_port(url)}"):
        return None
    with suppress(httpx.InvalidURL, ValueError):
        proxy = httpx.URL(address if "://" in address else f"http://{address}")
        if proxy.scheme in _PORTS and proxy.raw_host:
            return proxy
    raise ImageSourceError(f"The proxy that the environment names for {url.scheme} is not an http or https address.")


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the one context of the process: it reads all certificates, which takes tens of milliseconds."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise ImageSourceError(f"The certificates that SSL_CERT_FILE or SSL_CERT_DIR names: {error}.") from error


def _refuse_private(addresses: list[SocketAddress], url: httpx.URL) -> None:
    if not all(is_public(str(address[0])) for _, address in addresses):
        raise ImageSourceError(
            f"{url} leads to a private or local address: visim fetches from public hosts only.", path=str(url)
        )


def _location(response: httpcore.Response) -> str | None:
    return httpx.Headers(response.headers).get("location") if response.status in _REDIRECTS else None


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    try:
        target = _parse(str(url.join(location)))
    except (ImageSourceError, httpx.InvalidURL, ValueError) as error:
        raise ImageSourceError(
            f"{url} redirects to {location[:200]!r}, which is no web address.", path=str(url)
        ) from error
    if url.scheme == "https" and target.scheme != "https":
        raise ImageSourceError(f"{url} redirects to an address without https: it is refused.", path=str(url))
    return target


def _read(response: httpcore.Response, url: httpx.URL, limits: Limits, max_bytes: int) -> bytes:
    if response.status in (404, 410):
        raise FileNotFoundError(str(url))
    if response.status != 200:
        raise ImageSourceError(f"{url} answers with status {response.status}, not with a file.", path=str(url))
    content = bytearray()
    for part in response.iter_stream():
        limits.seconds_left()  # one read may hold many parts
        content += part
        if len(content) > max_bytes:
            raise ImageSourceError(f"{url} gives more than {max_bytes:,} bytes: it is refused.", path=str(url))
    return bytes(content)
