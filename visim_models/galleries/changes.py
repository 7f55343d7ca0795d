"""The gallery that a repo folder has, and how it differs from the pictures that it shall have, found by content."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from visim_models.errors import GalleryError
from visim_models.galleries.embed import Embedder
from visim_models.galleries.picture_table import PictureTable
from visim_models.galleries.sources import Skipped, label_of, read_skipped
from visim_models.gallery import Gallery
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import INDEX

__all__ = ["Changes", "OldGallery", "Row", "check_in_memory", "plan"]


@dataclass(frozen=True, kw_only=True)
class OldGallery:
    """The gallery that a repo folder has already, in memory.

    Attributes:
        gallery: N pictures; None where there is no gallery yet, and then all else is empty.
        detector: calibrated on them.
        pictures: the same N pictures, with their measurements.
        skipped: files that it was built without.
    """

    gallery: Gallery | None = None
    detector: OutOfDistributionDetector | None = None
    pictures: PictureTable | None = None
    skipped: Sequence[Skipped] = ()

    @classmethod
    def load(cls, repo: RepoFolder, embedder: Embedder) -> Self:
        """Load the gallery of a repo folder that `build` made with this network.

        Raises:
            GalleryError: something else made the gallery, it is in an engine, or its files do not fit together.
        """
        check_in_memory(repo)
        weights, processor = embedder.weights_sha256, embedder.processor_sha256
        gallery = Gallery.load(repo, weights_sha256=weights, processor_sha256=processor)
        detector = OutOfDistributionDetector.load(repo)
        pictures = PictureTable.load(repo, gallery)
        return cls(gallery=gallery, detector=detector, pictures=pictures, skipped=read_skipped(repo))

    @property
    def sha256(self) -> dict[str, str]:
        """Return file name -> SHA-256 of its pictures, in their order."""
        return self.pictures.sha256 if self.pictures else {}

    def label(self, file_name: str, index: int | None, stated: Mapping[str, str]) -> str:
        """Return the label of a picture: the old one where it was not the folder path, else as `label_of` says."""
        if self.gallery is None or index is None:
            return label_of(file_name, stated)
        old = self.gallery.labels[index]
        return label_of(file_name, stated) if old == label_of(self.gallery.file_names[index]) else old

    def columns(self, indices: Sequence[int | None]) -> dict[str, list[str]]:
        """Return the further columns of pictures by their indices here; "" where that is None."""
        columns = self.gallery.columns if self.gallery else {}
        return {name: ["" if index is None else values[index] for index in indices] for name, values in columns.items()}


def check_in_memory(repo: RepoFolder) -> None:
    """Refuse a repo whose gallery is in an engine: the repo's own files are of a sample.

    Raises:
        GalleryError: it is.
    """
    if repo.has(INDEX):
        raise GalleryError(
            f"The gallery of {repo.path} is in an engine: change it by building it again (visim build PICTURES "
            "--engine milvus --index-uri URI). Only new and changed pictures are embedded.",
            path=repo / INDEX,
        )


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
