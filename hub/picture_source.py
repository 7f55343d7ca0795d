"""A folder or zip of one's own pictures, which may hold anything: listed, read within limits, decoded in parallel."""

import zipfile
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from torch import Tensor

from lab.data import list_images
from visim_models import ImageDecodeError, ImageProcessor, decode_image
from visim_models.images import MAX_BYTES

__all__ = ["DecodedBatch", "PictureSource", "Skipped"]

_THREADS = 4
_BATCHES_AHEAD = 2  # decoded while the network is at work on another; more would only fill the memory


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, and why."""

    file_name: str
    reason: str


@dataclass(frozen=True)
class DecodedBatch:
    """Some pictures of a source.

    Attributes:
        file_names: of those that could be decoded.
        pixels: (3, S, S) uint8 of each.
        skipped: those that could not.
    """

    file_names: list[str]
    pixels: list[Tensor]
    skipped: list[Skipped]


class PictureSource:
    """The pictures of a folder, or of a zip.

    Args:
        path: the folder or zip.

    Raises:
        DataError: it is neither, or holds no pictures.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._archive = None if path.is_dir() or not zipfile.is_zipfile(path) else zipfile.ZipFile(path)
        self.file_names = list_images(path)

    def fingerprint(self, file_name: str) -> str:
        """Changes when the file does: its size, and when it was written or its checksum."""
        if self._archive:
            member = self._archive.getinfo(file_name)
            return f"{member.file_size}-{member.CRC:08x}"
        try:
            status = (self.path / file_name).stat()
        except OSError:
            return "gone"
        return f"{status.st_size}-{status.st_mtime_ns}"

    def decoded(
        self, file_names: Sequence[str], processor: ImageProcessor, *, batch_size: int = 64
    ) -> Iterator[DecodedBatch]:
        """The pictures through the processor's resizing, in order, decoded ahead in several threads."""
        starts = range(0, len(file_names), batch_size)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="visim-decode") as pool:
            waiting: deque[list[tuple[str, Future[Tensor | Skipped]]]] = deque()
            for start in starts:
                names = file_names[start : start + batch_size]
                waiting.append([(name, pool.submit(self._decode, name, processor)) for name in names])
                if len(waiting) > _BATCHES_AHEAD:
                    yield _collect(waiting.popleft())
            while waiting:
                yield _collect(waiting.popleft())

    def _decode(self, file_name: str, processor: ImageProcessor) -> Tensor | Skipped:
        if reason := _misnamed(file_name):
            return Skipped(file_name, reason)
        try:
            return processor.resize(decode_image(self._read(file_name)))
        except ImageDecodeError as error:
            return Skipped(file_name, str(error))
        except (OSError, RuntimeError, NotImplementedError, EOFError, zipfile.BadZipFile, ValueError) as error:
            # A damaged, encrypted or oddly compressed member of a zip; a file that is gone or may not be read.
            return Skipped(file_name, f"cannot be read: {error or type(error).__name__}")
        except Exception as error:  # zlib.error and its like, by the zip's compression
            return Skipped(file_name, f"cannot be unpacked: {error or type(error).__name__}")

    def _read(self, file_name: str) -> bytes:
        if self._archive is None:
            with (self.path / file_name).open("rb") as file:
                return file.read(MAX_BYTES + 1)
        with self._archive.open(file_name) as member:
            return member.read(MAX_BYTES + 1)  # a zip bomb is cut off here, and refused for its size


def _collect(tasks: list[tuple[str, Future[Tensor | Skipped]]]) -> DecodedBatch:
    batch = DecodedBatch([], [], [])
    for name, task in tasks:
        found = task.result()
        if isinstance(found, Skipped):
            batch.skipped.append(found)
        else:
            batch.file_names.append(name)
            batch.pixels.append(found)
    return batch


def _misnamed(file_name: str) -> str:
    """Why a gallery cannot hold this name, or ""."""
    parts = PurePosixPath(file_name).parts
    if not parts or file_name.startswith("/") or ".." in parts or "\\" in file_name or ":" in parts[0]:
        return "its name leads out of the folder: rename it"
    return "" if file_name.isprintable() else "its name has odd characters: rename it"
