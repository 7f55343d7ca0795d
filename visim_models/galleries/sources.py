"""The pictures that a gallery is built from: opened, listed and hashed; and the files that are left out of it."""

import csv
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

from tqdm import tqdm

from visim_models.errors import DataError, ImageHostError, ImageSourceError, VisimError
from visim_models.images.decode import MAX_PIXELS
from visim_models.images.decode_ahead import decode_ahead
from visim_models.images.kinds import unread_summary
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.formats import read_text
from visim_models.repo_folder.manifest import SKIPPED
from visim_models.sources.store import ImageStore

__all__ = [
    "PictureSource",
    "Skipped",
    "checked_root",
    "fingerprints_of",
    "hash_pictures",
    "image_root_of",
    "label_of",
    "list_pictures",
    "local_inputs",
    "open_store",
    "read_skipped",
    "sort_out",
    "unreadable_in",
    "write_skipped",
]

_SECONDS_A_FILE: Final = 30.0
_FILES_AT_ONCE: Final = 64
_COLUMNS: Final = ["file_name", "reason"]
_MOST_BYTES: Final = 64 * 2**20

_Result = TypeVar("_Result")


@dataclass(frozen=True, order=True)
class Skipped:
    """A file or folder that was left out, and the reason."""

    file_name: str
    reason: str

    @classmethod
    def of_error(cls, file_name: str, error: Exception) -> "Skipped":
        """Return the file with the whole message of the error that it raised, on one line."""
        return cls(file_name, " ".join(str(error).split()) or type(error).__name__)


@dataclass(frozen=True)
class PictureSource:
    """A source of pictures, with the choice of what is taken of it; used wherever a path or an address is.

    Attributes:
        root: a folder, a zip, a list of addresses, hf://datasets/... or s3://...
        everything: also take thumbnails, trash, hidden files and visim's quarantine.
        exclude: patterns of files and folders to leave out.
        max_pixels: largest width x height of a picture.
    """

    root: str
    everything: bool = False
    exclude: tuple[str, ...] = ()
    max_pixels: int = MAX_PIXELS

    def __fspath__(self) -> str:
        return self.root

    def __str__(self) -> str:
        return self.root


def label_of(file_name: str, stated: Mapping[str, str] = MappingProxyType({})) -> str:
    """Return the label of a picture: the one that its source states, else its folder path ("a/b/x.jpg" -> "a/b")."""
    return stated.get(file_name) or file_name.rpartition("/")[0]


def local_inputs(*pictures: str | os.PathLike[str] | None) -> list[Path]:
    """Return those of some sources of pictures that are on this machine: an output must not be in or around them."""
    return [Path(source) for source in pictures if source is not None and "://" not in os.fspath(source)]


def open_store(pictures: str | os.PathLike[str]) -> ImageStore:
    """Open a source of pictures that the person who builds the gallery has named.

    Raises:
        ImageSourceError: it is neither a folder, a zip, a list of addresses nor an address, or cannot be opened.
    """
    source = pictures if isinstance(pictures, PictureSource) else PictureSource(os.fspath(pictures))
    return ImageStore(
        source.root,
        trusted=True,
        timeout=_SECONDS_A_FILE,
        max_pixels=source.max_pixels,
        everything=source.everything,
        exclude=source.exclude,
    )


def image_root_of(store: ImageStore) -> str:
    """Return the image root under which others on this machine find the pictures of a store.

    Raises:
        DataError: no gallery can store it.
    """
    root = store.location
    try:
        root.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"The path {root!a} is not UTF-8: rename the folder, or name an --image-root.") from error
    return root


def checked_root(image_root: str) -> str:
    """Return an image root as a gallery can store it; that of a path is found from every folder.

    Raises:
        DataError: it is not UTF-8.
        ImageSourceError: it is neither a folder, a zip, a list of addresses nor an address.
    """
    return image_root_of(open_store(image_root)) if image_root else ""


def list_pictures(store: ImageStore) -> list[str]:
    """List the picture files of a store; those that could not be listed are then in `unreadable_in`.

    Raises:
        DataError: it has none.
        ImageSourceError: it cannot be listed.
    """
    names = store.list()
    if not names:
        reasons = [f"{item.file_name}: {item.reason}" for item in unreadable_in(store)[:1]]
        lines = [line for line in (unread_summary(store.unreadable.values()), store.left_out) if line] or reasons
        why = f" ({'; '.join(lines)})" if lines else ""
        raise DataError(
            f"{store.root} has no picture files that can be read{why}: their names must end in .jpg, .jpeg, .png, "
            ".webp, .avif, .heic, .bmp, .gif, .tif or .tiff.",
            path=store.root,
        )
    return names


def unreadable_in(store: ImageStore) -> list[Skipped]:
    """Return the files and folders that the last listing of a store left out."""
    return [Skipped(name, reason) for name, reason in sorted(store.unreadable.items())]


def hash_pictures(
    store: ImageStore, file_names: Sequence[str], *, progress: bool = False
) -> tuple[dict[str, str], list[Skipped]]:
    """Hash the content of pictures.

    Returns:
        found: file name -> SHA-256, in hexadecimal.
        skipped: files that cannot be read.

    Raises:
        ImageHostError: the host of the pictures does not answer.
    """
    found: dict[str, str] = {}
    skipped: list[Skipped] = []
    with tqdm(total=len(file_names), desc="comparing", unit="picture", disable=not progress) as bar:
        for batch in decode_ahead(file_names, store.hash, at_once=_FILES_AT_ONCE):
            hashed, failed = sort_out(batch)
            found |= hashed
            skipped += failed
            bar.update(len(batch))
    return found, skipped


def fingerprints_of(store: ImageStore, file_names: Iterable[str]) -> dict[str, str]:
    """Return file name -> a text that changes with the file, "" where there is none."""

    def fingerprint(name: str) -> str:
        try:
            return store.fingerprint(name)
        except ImageSourceError:
            return ""

    return {name: fingerprint(name) for name in file_names}


def sort_out(batch: Iterable[tuple[str, _Result | VisimError]]) -> tuple[dict[str, _Result], list[Skipped]]:
    """Part the files of a batch that could be read from those that are left out.

    Args:
        batch: file names, each with what was read of it, or with the error.

    Returns:
        File name -> what was read of it, and the files that are left out.

    Raises:
        ImageHostError: the host does not answer, which says nothing of a file.
    """
    found: dict[str, _Result] = {}
    skipped = []
    for name, result in batch:
        if isinstance(result, ImageHostError):
            raise result
        if isinstance(result, VisimError):
            skipped.append(Skipped.of_error(name, result))
        else:
            found[name] = result
    return found, skipped


def write_skipped(draft: RepoDraft, skipped: Iterable[Skipped]) -> None:
    """Write skipped.csv, sorted by file name."""
    table = io.StringIO(newline="")
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([_printable(item.file_name), _printable(item.reason)] for item in sorted(set(skipped)))
    draft.write_text(SKIPPED, table.getvalue())


def read_skipped(repo: RepoFolder) -> list[Skipped]:
    """Read skipped.csv; nothing where it is missing or cannot be read, for it only informs."""
    try:
        rows = list(csv.reader(io.StringIO(read_text(repo / SKIPPED, most=_MOST_BYTES), newline="")))
    except (OSError, ValueError, csv.Error):
        return []
    return [Skipped(*row) for row in rows[1:] if len(row) == len(_COLUMNS)]


def _printable(text: str) -> str:
    """Escape a text that a file name of a disk or a zip has made unfit for a text file."""
    return text if text.isprintable() else ascii(text)[1:-1]
