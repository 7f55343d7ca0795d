"""Fetching a small file by its web address: limited in time and size, and never from a private network by surprise."""

import ipaddress
import socket
import time
import urllib.request
from typing import Any, Final
from urllib.parse import quote, unquote, urljoin, urlsplit

import httpx
from huggingface_hub import constants

from visim_models.errors import ImageSourceError
from visim_models.images import MAX_BYTES

__all__ = ["HUB_DATASETS", "download", "hub_address", "origin"]

HUB_DATASETS: Final = "hf://datasets/"
"""Begins an image root that is a data set on the Hub."""

_MAX_REDIRECTS: Final = 3
_PORTS: Final = {"http": 80, "https": 443}
# A compressed answer could unfold beyond every limit; pictures are compressed already.
_HEADERS: Final = {"Accept-Encoding": "identity", "User-Agent": "visim"}


def download(
    url: str,
    *,
    timeout: float = 3.0,
    max_bytes: int = MAX_BYTES,
    trusted_origin: str | None = None,
    token: str | None = None,
) -> bytes:
    """The content behind an http or https address.

    A host whose address is not public (loopback, link-local, private, multicast) is refused, also as the target of a
    redirect, unless it is `trusted_origin`. A redirect from https to http is refused.

    Args:
        url: The address.
        timeout: For connecting, for each pause, and for the whole answer, in seconds.
        max_bytes: Largest answer.
        trusted_origin: `origin(...)` of the one host that may be private: the person who runs this has named it.
        token: Sent to `trusted_origin` alone, never to where it redirects.

    Raises:
        FileNotFoundError: The host answers that it has no such file.
        ImageSourceError: The address is refused, the host cannot be reached in time, or the answer is too large.
    """
    deadline = time.monotonic() + timeout
    limits = httpx.Timeout(timeout)
    try:
        with httpx.Client(timeout=limits, headers=_HEADERS, follow_redirects=False) as client:
            for _ in range(_MAX_REDIRECTS + 1):
                trusted = origin(url) == trusted_origin
                if not trusted:
                    _refuse_private_host(url)
                secret = {"Authorization": f"Bearer {token}"} if token and trusted else {}
                with client.stream("GET", url, headers=secret) as response:
                    if not trusted:
                        _refuse_private_peer(response, url)
                    if not response.has_redirect_location:
                        return _read(response, url, deadline, max_bytes)
                    target = urljoin(url, response.headers["location"])
                if url.startswith("https:") and not target.startswith("https:"):
                    raise ImageSourceError(f"{url} redirects to an address without https: it is refused.")
                url = target
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise ImageSourceError(f"{url} cannot be reached ({str(error) or type(error).__name__}).") from error
    raise ImageSourceError(f"{url} redirects more than {_MAX_REDIRECTS} times: it is refused.")


def origin(url: str) -> str:
    """Scheme, host and port of an http or https address, in one form for each place.

    Raises:
        ImageSourceError: It is no such address, or one with a user name or password in it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ImageSourceError(f"{url!r} is not a web address ({error}).") from error
    if parts.scheme not in _PORTS or not host or parts.username is not None or parts.password is not None:
        raise ImageSourceError(f"{url!r} is not a plain http or https address: give one like https://host/picture.jpg.")
    return f"{parts.scheme}://{host.rstrip('.')}:{port or _PORTS[parts.scheme]}"


def hub_address(root: str) -> str:
    """hf://datasets/namespace/name[@revision][/folder] -> the address under which the Hub gives its files out.

    One request a picture; huggingface_hub's file system would list the whole folder first, of thousands of pictures.

    Raises:
        ImageSourceError: It is no such root.
    """
    namespace, _, rest = root.removeprefix(HUB_DATASETS).strip("/").partition("/")
    name, _, folder = rest.partition("/")
    name, _, revision = name.partition("@")
    if not namespace or not name or ".." in folder.split("/"):
        raise ImageSourceError(f"{root!r} is no data set of the Hub: give hf://datasets/namespace/name/folder.")
    at = quote(unquote(revision) or constants.DEFAULT_REVISION, safe="")
    repo = f"{constants.ENDPOINT}/datasets/{quote(namespace)}/{quote(name)}/resolve/{at}"
    return f"{repo}/{quote(folder)}".rstrip("/")


def _read(response: httpx.Response, url: str, deadline: float, max_bytes: int) -> bytes:
    if response.status_code in (404, 410):
        raise FileNotFoundError(url)
    if response.status_code != 200:
        raise ImageSourceError(f"{url} answers with status {response.status_code}, not with a file.")
    content = bytearray()
    for part in response.iter_raw():
        content += part
        if len(content) > max_bytes:
            raise ImageSourceError(f"{url} gives more than {max_bytes:,} bytes: it is refused.")
        if time.monotonic() > deadline:
            raise ImageSourceError(f"{url} is too slow: its answer was not complete in time.")
    return bytes(content)


def _refuse_private_host(url: str) -> None:
    """Refuse a name that stands for any private address, before anything is sent to it."""
    host = urlsplit(url).hostname or ""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        if urllib.request.getproxies():
            return  # behind a proxy, public names may resolve only there
        raise ImageSourceError(f"The host of {url} cannot be found ({error}).") from error
    for entry in found:
        _refuse_private_address(str(entry[4][0]), url)


def _refuse_private_peer(response: httpx.Response, url: str) -> None:
    """Refuse an answer from a private address that its name did not show a moment before (DNS rebinding)."""
    stream: Any = response.extensions.get("network_stream")
    peer = stream.get_extra_info("server_addr") if stream is not None else None
    if peer and not urllib.request.getproxies():  # with a proxy, the peer is the proxy
        _refuse_private_address(str(peer[0]), url)


def _refuse_private_address(text: str, url: str) -> None:
    address = ipaddress.ip_address(text.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if not address.is_global or address.is_multicast:
        raise ImageSourceError(f"{url} leads to a private or local address: visim fetches from public hosts only.")
