"""The pictures that a gallery is built from: opened, listed, hashed, and compared with those that it has already."""

import csv
import io
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
from visim_models.sources.file_names import shown_name
from visim_models.sources.store import ImageStore

__all__ = [
    "Changes",
    "PictureSource",
    "Row",
    "Skipped",
    "checked_root",
    "fingerprints_of",
    "hash_pictures",
    "image_root_of",
    "label_of",
    "list_pictures",
    "local_inputs",
    "open_store",
    "plan",
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
    """Open a source of pictures that the person who builds the gallery has named; raises ImageSourceError."""
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
    """Return an image root as a gallery can store it, found from every folder; raises DataError, ImageSourceError."""
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
    """Hash the content of pictures: file name -> SHA-256 in hexadecimal, and the files that cannot be read.

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
    """Part the files of a batch that could be read, name -> what was read, from those that are left out.

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
    writer.writerows([shown_name(item.file_name), shown_name(item.reason)] for item in sorted(set(skipped)))
    draft.write_text(SKIPPED, table.getvalue())


def read_skipped(repo: RepoFolder) -> list[Skipped]:
    """Read skipped.csv; nothing where it is missing or cannot be read, for it only informs."""
    try:
        rows = list(csv.reader(io.StringIO(read_text(repo / SKIPPED, most=_MOST_BYTES), newline="")))
    except (OSError, ValueError, csv.Error):
        return []
    return [Skipped(*row) for row in rows[1:] if len(row) == len(_COLUMNS)]


@dataclass(frozen=True)
class Row:
    """A picture of the next gallery.

    Attributes:
        embedding: index in the old gallery of a picture with the same content; None for one that must be embedded.
        description: index in the old gallery of the picture whose label and further columns it keeps; None for none.
    """

    embedding: int | None
    description: int | None


@dataclass(frozen=True)
class Changes:
    """The next gallery, and how it differs from the old one.

    Attributes:
        rows: file name -> picture of the next gallery.
        added: new names.
        changed: names whose content has changed.
        renamed: new name -> old name of the same content.
        removed: old names that are in the next gallery under no name.
        differing: names whose content has changed, where the gallery keeps the old one.
    """

    rows: dict[str, Row] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    removed: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)

    @property
    def to_embed(self) -> list[str]:
        """Return the sorted names of the pictures that must be embedded."""
        return sorted(name for name, row in self.rows.items() if row.embedding is None)

    @property
    def is_nothing(self) -> bool:
        """Return whether the gallery stays as it is."""
        return not (self.added or self.changed or self.renamed or self.removed)

    def without(self, file_names: Collection[str], old: Sequence[str]) -> "Changes":
        """Return the changes where some pictures could not be embedded: the gallery keeps its old ones, if any.

        Args:
            file_names: the pictures.
            old: the names of the old gallery.
        """
        failed = set(file_names)
        index = {name: number for number, name in enumerate(old)}
        rows = {name: row for name, row in self.rows.items() if name not in failed}
        rows |= {name: Row(index[name], index[name]) for name in self.changed if name in failed}
        return Changes(
            rows,
            [name for name in self.added if name not in failed],
            [name for name in self.changed if name not in failed],
            self.renamed,
            self.removed,
            self.differing,
        )


def plan(
    old: Mapping[str, str], found: Mapping[str, str], *, removed: Collection[str] = (), replaces: bool = False
) -> Changes:
    """Plan the next gallery.

    Args:
        old: file name -> SHA-256, of the gallery in order.
        found: file name -> SHA-256, of the pictures that it shall have, too.
        removed: names that it shall not have any more, unless they are in `found`.
        replaces: a picture of `found` replaces one of the same name and another content.
    """
    index = {name: number for number, name in enumerate(old)}
    by_content = {sha256: number for number, sha256 in reversed(list(enumerate(old.values())))}
    gone: dict[str, list[str]] = defaultdict(list)
    for name in sorted(set(removed)):
        gone[old[name]].append(name)
    changes = Changes({name: Row(index[name], index[name]) for name in old if name not in set(removed)})
    for name, sha256 in sorted(found.items()):
        if name in changes.rows:
            if old[name] != sha256 and replaces:
                changes.rows[name] = Row(by_content.get(sha256), index[name])
                changes.changed.append(name)
            elif old[name] != sha256:
                changes.differing.append(name)
            continue
        sources = gone[sha256]
        source = name if name in sources else sources[0] if sources else None
        changes.rows[name] = Row(by_content.get(sha256), None if source is None else index[source])
        if source is None:
            changes.added.append(name)
            continue
        sources.remove(source)
        if source != name:
            changes.renamed[name] = source
    changes.removed.extend(sorted(name for names in gone.values() for name in names))
    return changes
