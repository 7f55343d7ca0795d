"""The pictures of a folder, a zip, a list of addresses, the web, the Hub or a bucket: list, read, hash, decode many."""

import hashlib
import os
import stat
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from visim_models.errors import ImageDecodeError, ImageHostError, ImageSourceError, VisimError
from visim_models.images.decode import MAX_PIXELS, STRANGER_PIXELS, decode_image
from visim_models.images.decode_ahead import decode_ahead
from visim_models.images.kinds import kind_named, kind_of, not_read
from visim_models.images.limited import decode_untrusted
from visim_models.processing import ImageProcessor
from visim_models.sources.cache import DiskCache, HostPause
from visim_models.sources.file_names import Choice, check_file_name, is_picture_name, other_kind
from visim_models.sources.readers import FolderReader, Reader, WebReader, ZipReader
from visim_models.sources.remote_readers import S3, AddressListReader, BucketReader

__all__ = ["DecodedBatch", "DecodedPicture", "ImageStore"]

_LIST: Final = ".txt"
_ZIP: Final = ".zip"
_PARALLEL: Final = 12
_END_OF_FETCH: Final = 0.5
"""Seconds after its deadline within which a fetch ends."""

DecodedPicture: TypeAlias = tuple[npt.NDArray[np.uint8], str]
"""Pixels, (3, S, S) uint8, and the SHA-256 of the file."""

DecodedBatch: TypeAlias = list[tuple[str, DecodedPicture | VisimError]]
"""File names, each with its picture or with the reason why there is none."""

_FileNames: TypeAlias = list[str]  # inside the class, `list` is its method


class ImageStore:
    """Pictures by file name, under one root. Nothing outside the root is ever read.

    One bad, missing or forbidden file is the failure of that file. Only a web host that does not answer is left alone
    for a while, and then asked again in the background: no call waits for that. Any thread may call any method.

    Args:
        root: a folder, a zip, a list of addresses (.txt), an http(s) address,
            hf://datasets/namespace/name[@revision][/folder], or s3://bucket[/folder].
        trusted: the person who runs this named the root, or the folder of the gallery that names it. Otherwise it may
            be neither on this machine nor in a private network nor in a bucket, and the user's token and keys are not
            used: a gallery from elsewhere cannot point there.
        cache_dir: keeps files from the network, at most 512 MiB. Without it, none is kept.
        timeout: longest wait for the network of one `read` or `read_many`, in seconds.
        retry_after: how long a host that does not answer is left alone, in seconds.
        max_pixels: largest width x height of a picture that is decoded; at most 25 megapixels where it is not trusted.
        everything: also list what programs keep beside pictures: thumbnails, trash, hidden files, visim's quarantine.
        exclude: patterns of files and folders that are not listed, such as "raw" or "*.png".

    Attributes:
        root: as given.
        max_pixels: as given.
        location: the root as it is found from every folder of this machine.
        is_remote: whether pictures come over the network.
        unreadable: path -> why the last `list` left it out, of sub-folders and files that cannot be read, and of
            pictures and films of kinds that visim does not read.
        labels: file name -> label, of those for which the last `list` found one: in a column of a data set.
        left_out: one line about the pictures that the last `list` left out as `everything` and `exclude` say, or "".

    Raises:
        ImageSourceError: `root` is none of these, cannot be opened, or is not trusted enough.
        MissingExtraError: a bucket needs pyarrow.

    Example:
        >>> store = ImageStore("photos")
        >>> for batch in store.decode_many(store.list(), processor, at_once=64):
        ...     for file_name, result in batch: ...
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        trusted: bool = True,
        cache_dir: Path | None = None,
        timeout: float = 3.0,
        retry_after: float = 60.0,
        max_pixels: int = MAX_PIXELS,
        everything: bool = False,
        exclude: Sequence[str] = (),
    ) -> None:
        self.root = os.fspath(root)
        self._reader = _open_reader(self.root, trusted=trusted)
        self.location = self.root if "://" in self.root else str(Path(self.root).resolve())
        self.is_remote = self._reader.is_remote
        self.unreadable: dict[str, str] = {}
        self.left_out = ""
        self.labels: dict[str, str] = {}
        self._trusted = trusted
        self.max_pixels = max_pixels
        self._everything, self._exclude = everything, tuple(exclude)
        self._cache = DiskCache(cache_dir) if cache_dir and self.is_remote else None
        self._timeout = timeout
        self._pause = HostPause(self.root, seconds=retry_after)
        self._pool = ThreadPoolExecutor(_PARALLEL, thread_name_prefix="visim-image")  # starts no thread until used
        self._is_flat = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.root!r})"

    def list(self) -> _FileNames:
        """Return the sorted names of the picture files, each once.

        Files are listed by their suffixes; one that ends like a kind that visim does not read, such as .cr2, is listed
        if its first bytes say otherwise, and is else recorded in `unreadable`, as are parts of a folder that cannot be
        read. A name may be one that `read` refuses.

        Raises:
            ImageSourceError: the root cannot be listed: a web address, a folder without permission, no network.
        """
        listing = self._reader.list_files()
        choice = Choice(everything=self._everything, exclude=self._exclude)
        for name in () if self._everything else listing.quarantined:
            choice.put_aside(name, "visim's quarantine")
        files = [*listing.file_names, *(listing.quarantined if self._everything else ())]
        found = [name for name in files if choice.takes(name)]
        self.unreadable = {path: reason for path, reason in listing.unreadable.items() if choice.takes(path)}
        names = [name for name in found if is_picture_name(name)]
        for name in found:
            if kind := other_kind(name):
                if reason := self._reason_against(name, kind):
                    self.unreadable[name] = reason
                else:
                    names.append(name)
        self.left_out = choice.line()
        self.labels = dict(listing.labels)
        return sorted(names)

    def _reason_against(self, file_name: str, kind: str) -> str:
        """Return why a file whose name ends like a kind that is not read is none that is; "" where it is."""
        head = None
        with suppress(Exception):  # zipfile raises many kinds
            check_file_name(file_name)
            head = self._reader.head(file_name)
        found = kind_of(head) if head else None
        named = kind_named(kind)
        if found is None or (found.name == "TIFF" and named.way_out == kind_named("camera raw").way_out):
            found = named  # camera raw is a TIFF by its first bytes
        return not_read(found) if found.way_out else ""

    def read(self, file_name: str) -> bytes:
        """Return the content of one file; over the network, only if it is a picture.

        Where there is no "suv/suv_0001.jpg", "suv_0001.jpg" is tried: such pictures may be side by side at the root.

        Raises:
            ImageSourceError: the name leads out of the root, there is no such file, it may not be read, is no regular
                file or too large, or it cannot be had in time.
        """
        if (content := self._read_at_once(file_name)) is not None:
            return content
        return self._fetch(file_name, time.monotonic() + self._timeout)

    def read_many(self, file_names: Iterable[str]) -> dict[str, bytes]:
        """Return file name -> content, of those that can be had. All are fetched at once, with one wait for all."""
        found: dict[str, bytes] = {}
        tasks: dict[str, Future[bytes]] = {}
        deadline = time.monotonic() + self._timeout
        for file_name in dict.fromkeys(file_names):
            with suppress(ImageSourceError):
                if (content := self._read_at_once(file_name)) is not None:
                    found[file_name] = content
                else:
                    tasks[file_name] = self._pool.submit(self._fetch, file_name, deadline)
        late = wait(tasks.values(), self._timeout + _END_OF_FETCH).not_done
        for task in late:
            task.cancel()
        for file_name, task in tasks.items():
            if task not in late and not isinstance(task.exception(), ImageSourceError):
                found[file_name] = task.result()
        return found

    def decode(self, file_name: str) -> Image.Image:
        """Return one picture, upright and in sRGB; one of a store that is not trusted within the limits for strangers.

        Raises:
            ImageSourceError: it cannot be read.
            ImageDecodeError: it is not a picture, or beyond a limit.
        """
        return self._decode(self.read(file_name))

    def _decode(self, content: bytes) -> Image.Image:
        if self._trusted:
            return decode_image(content, max_pixels=self.max_pixels)
        return decode_untrusted(content, max_pixels=min(self.max_pixels, STRANGER_PIXELS))

    def hash(self, file_name: str) -> str:
        """Return the SHA-256 of the content, in hexadecimal digits.

        Raises:
            ImageSourceError: the file cannot be read.
        """
        return hashlib.sha256(self.read(file_name)).hexdigest()

    def fingerprint(self, file_name: str) -> str:
        """Return a text that changes with the file, without reading it, or "" where there is none.

        It is made of the size and the time of change in a folder or a bucket, the size and the checksum in a zip, the
        address alone in a list of addresses, and is the hash that the last `list` gave of a data set on the Hub. A
        missing file and one under a web address have none.

        Raises:
            ImageSourceError: the name leads out of the root.
        """
        check_file_name(file_name)
        for name in self._names_to_try(file_name):
            with suppress(OSError):
                if text := self._reader.fingerprint(name):
                    return text
        return ""

    def decode_many(
        self, file_names: Iterable[str], processor: ImageProcessor, *, at_once: int
    ) -> Iterator[DecodedBatch]:
        """Read, hash and decode pictures in threads, ahead of the consumer.

        Args:
            file_names: taken as they are needed.
            processor: resizes the pictures.
            at_once: pictures in a batch.

        Yields:
            Batches in order: each name with its pixels, (3, S, S) uint8 RGB, and the SHA-256 of the file, or with the
            error of a file that cannot be read or is not a picture.
        """
        stopped = threading.Event()

        def read_unless_stopped(file_name: str) -> bytes:
            if stopped.is_set():
                raise ImageSourceError(f"{file_name} is no longer wanted.", path=file_name)
            return self.read(file_name)

        def start(file_name: str) -> tuple[str, Callable[[], bytes]]:
            if self.is_remote:  # far more requests at once than there are processors
                return file_name, self._pool.submit(read_unless_stopped, file_name).result
            return file_name, partial(self.read, file_name)

        def decode(item: tuple[str, Callable[[], bytes]]) -> DecodedPicture:
            content = item[1]()
            return processor.resize(self._decode(content)), hashlib.sha256(content).hexdigest()

        try:
            for batch in decode_ahead(map(start, file_names), decode, at_once=at_once):
                yield [(file_name, result) for (file_name, _), result in batch]
        finally:
            stopped.set()

    def _read_at_once(self, file_name: str) -> bytes | None:
        """Return the content of a local or cached file, or None where the network must be asked, and may be."""
        check_file_name(file_name)
        if not self.is_remote:
            return self._first_found(file_name, time.monotonic())
        if self._cache and (kept := self._cache.get(self._key(file_name))) is not None:
            return kept
        if not self._pause.is_on:
            return None
        if self._pause.take_retry():
            self._pool.submit(self._fetch, file_name, time.monotonic() + self._timeout)
        raise ImageHostError(f"{self.root} did not answer a while ago: it is asked again now and then.", path=self.root)

    def _fetch(self, file_name: str, deadline: float) -> bytes:
        """Ask the network for a picture, and tell the pause whether the host answered."""
        start = time.monotonic()
        if start >= deadline:
            raise ImageSourceError(f"{file_name} waited too long for its turn.", path=file_name)
        try:
            content = self._first_found(file_name, deadline)
        except ImageHostError as error:
            self._pause.failed(str(error), since=start)
            raise
        except ImageSourceError:  # a missing or forbidden file is an answer
            self._pause.answered()
            raise
        self._pause.answered()
        try:
            self._decode(content)  # a log-in page of a hotel's network is neither returned nor kept
        except ImageDecodeError as error:
            raise ImageSourceError(
                f"{file_name} under {self.root} is not a picture: {error}", path=file_name
            ) from error
        if self._cache:
            self._cache.put(self._key(file_name), content)
        return content

    def _names_to_try(self, file_name: str) -> _FileNames:
        """Return the full name, and the base name where that repeats the folder ("suv/suv_0001.jpg").

        The car photographs are in folders in the project's own zip, but side by side at their web address. A base name
        that says its folder cannot be mistaken for another picture; any other base name is not tried.
        """
        path = PurePosixPath(file_name)
        names = [file_name]
        if path.name.startswith(f"{path.parent.name}_"):
            names.insert(0 if self._is_flat else 1, path.name)
        return names

    def _first_found(self, file_name: str, deadline: float) -> bytes:
        missing: OSError | None = None
        for name in self._names_to_try(file_name):
            try:
                content = self._reader.read(name, seconds=max(deadline - time.monotonic(), 0))
            except (FileNotFoundError, NotADirectoryError) as error:
                missing = error
            except ImageSourceError:
                raise
            except Exception as error:  # zipfile raises many kinds
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                raise ImageSourceError(
                    f"{name} under {self.root} cannot be read ({reason}).", path=file_name
                ) from error
            else:
                self._is_flat = name != file_name
                return content
        raise ImageSourceError(f"There is no {file_name} under {self.root}.", path=file_name) from missing

    def _key(self, file_name: str) -> str:
        return hashlib.sha256(f"{self.root}\n{file_name}".encode()).hexdigest()


def _open_reader(root: str, *, trusted: bool) -> Reader:
    """Open an image root: a folder, a zip, a list of addresses, or an http(s), hf:// or s3:// address.

    Args:
        root: the image root.
        trusted: the person who runs this named it; without that, only web addresses and the Hub are read.

    Raises:
        ImageSourceError: `root` is none of these, cannot be opened, or is not trusted enough.
        MissingExtraError: a bucket needs pyarrow.
    """
    is_bucket = root.startswith(S3)
    if "://" in root and not is_bucket:
        return WebReader(root, trusted=trusted)
    if not trusted:
        where = "is read with your own keys" if is_bucket else "is on this machine"
        raise ImageSourceError(f"The image root {root!r} {where}: name it with --images to allow that.", path=root)
    return BucketReader(root) if is_bucket else _open_local(root)


def _open_local(root: str) -> Reader:
    path = Path(root)
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise ImageSourceError(
                f"The image root {root!r} may not be opened: check its permissions.", path=root
            ) from error
        raise _unknown(root) from error
    if stat.S_ISDIR(status.st_mode):
        return FolderReader(path)
    if stat.S_ISREG(status.st_mode):
        if path.suffix.lower() == _LIST:
            return AddressListReader(path)
        if path.suffix.lower() == _ZIP or zipfile.is_zipfile(path):
            return ZipReader(path)
    raise _unknown(root)


def _unknown(root: str) -> ImageSourceError:
    return ImageSourceError(
        f"No pictures at {root!r}: it is neither a folder, a zip, a list of addresses (.txt), nor an address.",
        path=root,
    )
