"""Where the pictures of a gallery lie: an image root and a file name -> the file's bytes, or an ImageSourceError.

A root is a folder, a zip, an http(s) address or a folder of a Hub data set (hf://datasets/...). Nothing outside it is
ever read. What is fetched over the network is kept on disk; one failed look-up turns the network off for a while, and
it is tried again in the background: no query waits for that.
"""

import hashlib
import logging
import threading
import time
import zipfile
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final, Protocol
from urllib.parse import quote

from huggingface_hub import get_token

from visim_models.disk_cache import DiskCache
from visim_models.download import HUB_DATASETS, download, hub_address, origin
from visim_models.errors import ImageDecodeError, ImageSourceError
from visim_models.images import decode_image

__all__ = ["ImageRoot"]

_MAX_BYTES: Final = 16 * 2**20
_PARALLEL: Final = 12

_log = logging.getLogger(__name__)


class _Reader(Protocol):
    """Reads a checked, relative file name; raises FileNotFoundError where there is none, and any OSError."""

    def __call__(self, file_name: str) -> bytes: ...


class ImageRoot:
    """The pictures of one gallery, by file name.

    Args:
        root: A folder, a zip, an http(s) address, or hf://datasets/namespace/name/folder.
        trusted: The person who runs this has named the root, or the folder of the gallery that names it. Only then may
            it be a folder or a zip here, a host of a private network, or a private data set: a gallery from elsewhere
            cannot point there.
        cache_dir: Keeps what was fetched over the network, at most 512 MiB; without it, nothing is kept.
        timeout: Longest wait on the network of one call, in seconds.
        retry_after: How long the network is left alone after a failure, in seconds.

    Raises:
        ImageSourceError: `root` is none of these, or is not trusted enough.
    """

    def __init__(
        self,
        root: str,
        *,
        trusted: bool = False,
        cache_dir: Path | None = None,
        timeout: float = 3.0,
        retry_after: float = 60.0,
    ) -> None:
        self.root = root
        self.timeout = timeout
        self.retry_after = retry_after
        self.is_remote = "://" in root
        self._read = self._remote_reader(trusted) if self.is_remote else _local_reader(root, trusted)
        self._cache = DiskCache(cache_dir) if cache_dir and self.is_remote else None
        self._pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="visim-image")  # starts no thread until used
        self._lock = threading.Lock()
        self._off_until: float | None = None
        self._is_flat = False

    def fetch(self, file_name: str) -> bytes:
        """The bytes of one picture.

        Raises:
            ImageSourceError: The name leads out of the root, there is no such file, or it cannot be had in time.
        """
        if (kept := self._at_hand(file_name)) is not None:
            return kept
        task = self._pool.submit(self._look_up, file_name)
        try:
            return task.result(self.timeout)
        except TimeoutError as error:
            task.cancel()
            self._switch_off(f"no answer within {self.timeout:g} s")
            raise ImageSourceError(f"{file_name} did not come from {self.root} within {self.timeout:g} s.") from error

    def fetch_all(self, file_names: Sequence[str]) -> dict[str, bytes]:
        """File name -> bytes, of those that can be had. All are fetched at once: the wait is that of one `fetch`."""
        found: dict[str, bytes] = {}
        tasks: dict[str, Future[bytes]] = {}
        for file_name in dict.fromkeys(file_names):
            with suppress(ImageSourceError):
                if (kept := self._at_hand(file_name)) is not None:
                    found[file_name] = kept
                else:
                    tasks[file_name] = self._pool.submit(self._look_up, file_name)
        late = wait(tasks.values(), self.timeout).not_done
        for file_name, task in tasks.items():
            if task not in late and not task.exception():
                found[file_name] = task.result()
        if late:
            self._switch_off(f"no answer within {self.timeout:g} s")
        for task in late:
            task.cancel()
        return found

    def _at_hand(self, file_name: str) -> bytes | None:
        """What needs no network: a local file or a kept one; None where the network must be asked, and may be."""
        _check_name(file_name)
        if not self.is_remote:
            return self._first_found(file_name)
        if self._cache and (kept := self._cache.get(self._key(file_name))) is not None:
            return kept
        with self._lock:
            if self._off_until is None:
                return None
            if time.monotonic() >= self._off_until:  # one look-up goes ahead alone, and ends the pause if it succeeds
                self._off_until = time.monotonic() + self.retry_after
                self._pool.submit(self._look_up, file_name)
        raise ImageSourceError(f"{self.root} could not be reached a while ago: it is being tried again now and then.")

    def _look_up(self, file_name: str) -> bytes:
        """Ask the network; runs in a thread of the pool, so that not even a hanging name server makes a query wait."""
        try:
            content = self._first_found(file_name)
            decode_image(content)  # a log-in page of a hotel's network is neither shown nor kept
        except ImageDecodeError as error:
            self._switch_off("what came is no picture")
            raise ImageSourceError(f"{file_name} under {self.root} is not a picture: {error}") from error
        except ImageSourceError as error:
            if not isinstance(error.__cause__, FileNotFoundError):  # a missing file is an answer, not a failure
                self._switch_off(str(error))
            raise
        self._switch_on()
        if self._cache:
            self._cache.put(self._key(file_name), content)
        return content

    def _first_found(self, file_name: str) -> bytes:
        """The file under its full name, else under its base name where that repeats the folder ("suv/suv_0001.jpg").

        The car photographs lie in folders in the project's own zip, but side by side at their web address; a base name
        that says its folder cannot be mistaken for another picture, and any other base name is not tried.
        """
        path = PurePosixPath(file_name)
        names = [file_name]
        if path.name.startswith(f"{path.parent.name}_"):
            names.insert(0 if self._is_flat else 1, path.name)
        missing: FileNotFoundError | None = None
        for name in names:
            try:
                content = self._read(name)
            except FileNotFoundError as error:
                missing = error
            except ImageSourceError:
                raise
            except Exception as error:  # zipfile raises many kinds
                raise ImageSourceError(f"{name} cannot be read under {self.root} ({error}).") from error
            else:
                self._is_flat = name != file_name
                return content
        raise ImageSourceError(f"There is no {file_name} under {self.root}.") from missing

    def _remote_reader(self, trusted: bool) -> _Reader:
        is_on_hub = self.root.startswith(HUB_DATASETS)
        address = hub_address(self.root) if is_on_hub else self.root.rstrip("/")
        home = origin(address)  # refuses every other scheme
        home_is_trusted = trusted or is_on_hub  # the Hub, or what HF_ENDPOINT names in its place

        def read(file_name: str) -> bytes:
            return download(
                f"{address}/{quote(file_name)}",
                timeout=self.timeout,
                max_bytes=_MAX_BYTES,
                trusted_origin=home if home_is_trusted else None,
                token=get_token() if is_on_hub and trusted else None,
            )

        return read

    def _switch_off(self, reason: str) -> None:
        with self._lock:
            was_on = self._off_until is None
            self._off_until = time.monotonic() + self.retry_after
        if was_on:
            _log.warning("no pictures from %s for %g s: %s", self.root, self.retry_after, reason)

    def _switch_on(self) -> None:
        with self._lock:
            self._off_until = None

    def _key(self, file_name: str) -> str:
        return hashlib.sha256(f"{self.root}\n{file_name}".encode()).hexdigest()


def _check_name(file_name: str) -> None:
    parts = file_name.split("/")
    if not file_name or "\\" in file_name or "\0" in file_name or {"", ".", ".."} & set(parts) or ":" in parts[0]:
        raise ImageSourceError(
            f"{file_name!r} is not a plain relative file name: mend it in the gallery's metadata.csv."
        )


def _within_limit(content: bytes, file_name: str) -> bytes:
    if len(content) > _MAX_BYTES:
        raise ImageSourceError(f"{file_name} is larger than {_MAX_BYTES:,} bytes: it is not read.")
    return content


def _local_reader(root: str, trusted: bool) -> _Reader:
    path = Path(root)
    if not trusted:
        raise ImageSourceError(f"The image root {root!r} is on this machine: name it with --images to allow that.")
    if path.is_dir():
        folder = path.resolve()

        def read(file_name: str) -> bytes:
            file = (folder / file_name).resolve()
            if not file.is_relative_to(folder):
                raise ImageSourceError(f"{file_name} is a link that leads out of {root}: it is not read.")
            if not file.is_file():  # a pipe or a device would never end
                raise FileNotFoundError(file_name)
            with file.open("rb") as stream:
                return _within_limit(stream.read(_MAX_BYTES + 1), file_name)

        return read
    if not zipfile.is_zipfile(path):
        raise ImageSourceError(f"The image root {root!r} is neither a folder, a zip, nor an address.")
    archive = zipfile.ZipFile(path)

    def read_member(file_name: str) -> bytes:
        try:
            member = archive.open(file_name)
        except KeyError as error:
            raise FileNotFoundError(file_name) from error
        with member:
            return _within_limit(member.read(_MAX_BYTES + 1), file_name)

    return read_member
