"""Read the pictures of a list of web addresses: a text file with one address a line."""

import hashlib
import re
import time
from itertools import islice
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote

import httpx

from visim_models.errors import ImageHostError, ImageSourceError
from visim_models.sources.download import download, origin
from visim_models.sources.file_names import check_file_name, is_picture_name
from visim_models.sources.readers import MAX_WEB_BYTES, Listing

__all__ = ["AddressListReader"]

_ANSWER_COUNTS: Final = 60.0
"""Seconds for which an answer shows that the network is up."""

_OTHERS_TO_ASK: Final = 3
_LEAST_WAIT: Final = 1.0
_QUERY: Final = re.compile(r"\?[^\s'\"]*")


class _Address(NamedTuple):
    url: str
    origin: str
    line: int


class AddressListReader:
    """Reads the addresses of a list: one http or https address a line. Blank lines and lines with # are left out.

    The file name of a picture is its host and path, percent-decoded: https://host:8000/chairs/a%20b.jpg?v=2 is
    "host_8000/chairs/a b.jpg". The whole address is fetched, with its query. Addresses may be in a private network.

    Args:
        path: the list, whose name ends in .txt.

    Raises:
        ImageSourceError: the list cannot be read, or has no address of a picture.
    """

    is_remote = True

    def __init__(self, path: Path) -> None:
        self._path = path
        self._addresses: dict[str, _Address] = {}
        self._unreadable: dict[str, str] = {}
        for number, text in enumerate(_lines(path), start=1):
            if text and not text.startswith("#"):
                self._add(text, number)
        if not self._addresses:
            first = "".join(f" ({line}: {reason})" for line, reason in islice(self._unreadable.items(), 1))
            raise ImageSourceError(
                f"The list {path} has no address of a picture{first}: give one http or https address a line.",
                path=path,
            )
        self._one_of: dict[str, str] = {}
        for address in self._addresses.values():
            self._one_of.setdefault(address.origin, address.url)
        self._answered: dict[str, float] = {}

    def list_files(self) -> Listing:
        """List the file names; lines that are left out are unreadable, under their numbers."""
        return Listing(list(self._addresses), dict(self._unreadable))

    def read(self, file_name: str, *, seconds: float) -> bytes:
        """Fetch a picture; a host that does not answer while others do is the failure of its pictures alone."""
        address = self._address(file_name)
        deadline = time.monotonic() + seconds
        try:
            return self._download(address.url, address.origin, seconds)
        except ImageSourceError as error:
            text = _QUERY.sub("?...", str(error))  # a query may be a signature, and others read the reasons
            if isinstance(error, ImageHostError) and not self._others_answer(address.origin, deadline):
                raise ImageHostError(text, path=file_name) from error
            raise ImageSourceError(text, path=file_name) from error

    def head(self, file_name: str) -> None:
        """Return None: the first bytes take a request."""

    def fingerprint(self, file_name: str) -> str:
        """Return a hash of the address: a picture that changes under its address is not noticed."""
        return f"address-{hashlib.sha256(self._address(file_name).url.encode()).hexdigest()[:32]}"

    def _address(self, file_name: str) -> _Address:
        if file_name not in self._addresses:
            raise FileNotFoundError(file_name)
        return self._addresses[file_name]

    def _add(self, text: str, line: int) -> None:
        """Add a line, or the reason against it; that does not repeat the text, which may hold a password."""
        try:
            home = origin(text)
        except ImageSourceError:
            self._unreadable[f"line {line}"] = "it is not a plain http or https address"
            return
        name = _file_name(httpx.URL(text))
        if not is_picture_name(name):
            self._unreadable[f"line {line}"] = "the path of the address does not end like a picture's, such as in .jpg"
        elif not _is_plain(name):
            self._unreadable[f"line {line}"] = "the path of the address makes no file name"
        elif name in self._addresses:
            earlier = self._addresses[name].line
            self._unreadable[f"line {line}"] = f"line {earlier} has the same host and path, {name}: the first counts"
        else:
            self._addresses[name] = _Address(text, home, line)

    def _download(self, url: str, home: str, seconds: float) -> bytes:
        try:
            content = download(url, timeout=seconds, max_bytes=MAX_WEB_BYTES, trusted_origin=home)
        except ImageHostError:
            raise
        except (ImageSourceError, FileNotFoundError):  # a missing or forbidden file is an answer
            self._answered[home] = time.monotonic()
            raise
        self._answered[home] = time.monotonic()
        return content

    def _others_answer(self, home: str, deadline: float) -> bool:
        """Return whether another host of the list answers, now or a short time ago: the network is then up."""
        now = time.monotonic()
        if any(other != home and now - at < _ANSWER_COUNTS for other, at in list(self._answered.items())):
            return True
        seconds = max(deadline - now, _LEAST_WAIT)
        for other in islice((other for other in self._one_of if other != home), _OTHERS_TO_ASK):
            try:
                self._download(self._one_of[other], other, seconds / _OTHERS_TO_ASK)
            except ImageHostError:
                continue
            except (ImageSourceError, FileNotFoundError):
                return True
            return True
        return False


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ImageSourceError(f"The list {path} cannot be read ({reason}).", path=path) from error


def _file_name(url: httpx.URL) -> str:
    """Return the host, with the port if it is not the usual one, and the decoded path."""
    host = url.host if url.port is None else f"{url.host}:{url.port}"
    return host.replace(":", "_") + unquote(url.raw_path.partition(b"?")[0].decode("ascii"))


def _is_plain(name: str) -> bool:
    try:
        check_file_name(name)
    except ImageSourceError:
        return False
    return True
