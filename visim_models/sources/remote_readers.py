"""Read pictures that are elsewhere: the objects of an S3 bucket, or a list of web addresses.

A bucket is read with the keys of the person who runs this. A list is a text file with one address a line.
"""

import hashlib
import os
import re
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import httpx

from visim_models.errors import ImageHostError, ImageSourceError, MissingExtraError
from visim_models.sources.download import download, origin
from visim_models.sources.file_names import check_file_name, is_picture_name
from visim_models.sources.readers import MAX_WEB_BYTES, Listing

__all__ = ["S3", "AddressListReader", "BucketReader"]

S3: Final = "s3://"
"""Begins an image root that is a folder of a bucket."""

_BUCKET: Final = re.compile(r"[A-Za-z0-9][\w.-]*", re.ASCII)
_READS_AT_ONCE: Final = 16
_SECONDS_A_REQUEST: Final = 5.0
_TRIES: Final = 2
_AWS_ERROR: Final = re.compile(r"AWS Error (\w+)")
_REGION: Final = re.compile(r"bucket is located in '([\w-]+)'")
_NO_ANSWER: Final = {
    "INTERNAL_FAILURE",
    "NETWORK_CONNECTION",
    "REQUEST_TIMEOUT",
    "SERVICE_UNAVAILABLE",
    "SLOW_DOWN",
    "THROTTLING",
}


class BucketReader:
    """Reads a folder of a bucket on S3, or on a server that speaks its protocol, such as MinIO.

    Keys and region are those that the AWS tools find: the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    AWS_PROFILE, AWS_DEFAULT_REGION), the files in ~/.aws, or the machine's role. AWS_ENDPOINT_URL names another server.

    Args:
        root: s3://bucket or s3://bucket/folder.

    Raises:
        ImageSourceError: `root` is no such address, or AWS_ENDPOINT_URL is none.
        MissingExtraError: pyarrow is not installed.
    """

    is_remote = True

    def __init__(self, root: str) -> None:
        bucket, _, folder = root.removeprefix(S3).rstrip("/").partition("/")
        if not _BUCKET.fullmatch(bucket):  # the text is not repeated: it may have keys in it
            raise ImageSourceError("An image root in a bucket must be s3://BUCKET/FOLDER: keys go into ~/.aws.")
        if folder:
            check_file_name(folder)
        self._bucket = bucket
        self._folder = f"{bucket}/{folder}".rstrip("/")
        self._root = f"{S3}{self._folder}"
        self._files = _file_system()
        self._pool = ThreadPoolExecutor(_READS_AT_ONCE, thread_name_prefix="visim-bucket")
        self._fingerprints: dict[str, str] = {}

    def list_files(self) -> Listing:
        """List the objects below the folder, and keep the fingerprint of each."""
        from pyarrow.fs import FileSelector

        try:
            found = self._files.get_file_info(FileSelector(self._folder, recursive=True))
        except FileNotFoundError as error:
            raise ImageSourceError(f"There is nothing under {self._root}: check its name.", path=self._root) from error
        except OSError as error:
            raise self._translated(error, self._root) from error
        start = len(self._folder) + 1
        self._fingerprints = {info.path[start:]: _fingerprint(info) for info in found if info.is_file}
        return Listing(list(self._fingerprints), {})

    def read(self, file_name: str, *, seconds: float) -> bytes:
        """Fetch an object."""
        task = self._pool.submit(self._read, file_name)
        try:
            return task.result(seconds)
        except TimeoutError as error:
            task.cancel()
            raise ImageHostError(
                f"{self._root} is too slow: {file_name} was not complete within {seconds:.3g} s.", path=file_name
            ) from error

    def head(self, file_name: str) -> None:
        """Return None: the first bytes take a request."""

    def fingerprint(self, file_name: str) -> str:
        """Return the size and the time of the last change: from the last listing, or else of the object now."""
        if known := self._fingerprints.get(file_name):
            return known
        try:
            info = self._files.get_file_info(f"{self._folder}/{file_name}")
        except OSError as error:
            raise self._translated(error, file_name) from error
        if not info.is_file:
            raise FileNotFoundError(file_name)
        return _fingerprint(info)

    def _read(self, file_name: str) -> bytes:
        try:
            with self._files.open_input_file(f"{self._folder}/{file_name}") as file:
                size = file.size()
                if size > MAX_WEB_BYTES:
                    raise ImageSourceError(
                        f"{file_name} is larger than {MAX_WEB_BYTES:,} bytes: it is not read.", path=file_name
                    )
                content = bytearray(size)  # after an answer that is too short, pyarrow's `read` gives foreign memory
                return bytes(content[: file.readinto(content)])
        except (ImageSourceError, FileNotFoundError):
            raise
        except OSError as error:
            translated = self._translated(error, file_name)
            if isinstance(translated, ImageHostError):
                raise translated from error
            self._check_keys()
            raise translated from error

    def _check_keys(self) -> None:
        """Raise ImageHostError if the whole bucket is refused, as when keys expire: that says nothing of a file."""
        try:
            self._files.get_file_info(self._bucket)
        except OSError as error:
            raise ImageHostError(str(self._translated(error, self._root)), path=self._root) from error

    def _translated(self, error: OSError, path: str) -> ImageSourceError:
        """Return an error that says what to do, without the server's own words: they may repeat a key."""
        found = _AWS_ERROR.search(str(error))
        code = found[1] if found else type(error).__name__
        if region := _REGION.search(str(error)):
            return ImageSourceError(
                f"{self._root} is in another region: set AWS_DEFAULT_REGION={region[1]}.", path=path
            )
        if code in _NO_ANSWER:
            return ImageHostError(
                f"The server of {self._root} does not answer ({code}): check the network and AWS_ENDPOINT_URL.",
                path=path,
            )
        if code == "NO_SUCH_BUCKET":
            return ImageSourceError(f"There is no bucket {self._bucket}: check its name.", path=path)
        where = path if path == self._root else f"{path} under {self._root}"
        return ImageSourceError(
            f"{where} is refused ({code}): check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY or AWS_PROFILE, "
            "AWS_DEFAULT_REGION, and that these keys may list and read it.",
            path=path,
        )


def _fingerprint(info: Any) -> str:
    return f"{info.size}-{info.mtime_ns}"


def _file_system() -> Any:
    try:
        from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra="milvus", purpose="An image root in a bucket") from error
    options = {}
    if endpoint := os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        scheme, _, host = endpoint.rstrip("/").partition("://")
        if scheme not in ("http", "https") or not host or "@" in host:
            raise ImageSourceError("AWS_ENDPOINT_URL must be an address such as https://HOST:9000, without keys.")
        options = {"scheme": scheme, "endpoint_override": host}
    try:
        return S3FileSystem(
            request_timeout=_SECONDS_A_REQUEST,
            connect_timeout=_SECONDS_A_REQUEST,
            retry_strategy=AwsStandardS3RetryStrategy(max_attempts=_TRIES),
            **options,
        )
    except (OSError, ValueError) as error:
        raise ImageSourceError("The settings of AWS cannot be used: check AWS_ENDPOINT_URL and ~/.aws.") from error


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
