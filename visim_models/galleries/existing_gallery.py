"""A gallery that `build` made, and the next one made from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from visim_models.errors import GalleryError
from visim_models.galleries.built_gallery import BuiltGallery, label_of
from visim_models.galleries.changes import Changes
from visim_models.galleries.description import Description
from visim_models.galleries.embedded import EmbeddedPictures
from visim_models.galleries.model_parts import ModelParts
from visim_models.galleries.skipped import Skipped
from visim_models.gallery import Gallery
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder import RepoFolder, Version, version_of
from visim_models.repo_folder.manifest import INDEX

__all__ = ["ExistingGallery", "check_in_memory"]


@dataclass(frozen=True)
class ExistingGallery:
    """A gallery of a repo folder, with all that is needed to change it.

    Attributes:
        repo: the repo folder.
        parts: its network, processor and detector.
        gallery: N pictures.
        detector: calibrated on them.
        pictures: the same N pictures, with their measurements.
        version: of the repo folder when these were read.
    """

    repo: RepoFolder
    parts: ModelParts
    gallery: Gallery
    detector: OutOfDistributionDetector
    pictures: EmbeddedPictures
    version: Version

    @classmethod
    def load(cls, repo: RepoFolder) -> Self:
        """Load the gallery of a repo folder.

        Raises:
            GalleryError: something else than `build` made it, or its files do not fit together.
            VisimError: a file of the repo is missing or damaged.
        """
        check_in_memory(repo)
        version = version_of(repo.path)
        parts = ModelParts.load(repo)
        gallery = Gallery.load(repo, weights_sha256=parts.weights_sha256, processor_sha256=parts.processor_sha256)
        detector = OutOfDistributionDetector.load(repo)
        return cls(repo, parts, gallery, detector, EmbeddedPictures.load(repo, gallery), version)

    def next(
        self,
        changes: Changes,
        fresh: EmbeddedPictures | None,
        *,
        image_root: str,
        description: Description,
        skipped: Sequence[Skipped],
        progress: bool,
    ) -> BuiltGallery:
        """Make the next gallery, sorted by name, from pictures of this one and others.

        Args:
            changes: the next gallery.
            fresh: the pictures of `changes.to_embed`.
            image_root: of the next gallery.
            description: changes of labels, columns and how it describes itself.
            skipped: files that it is built without.
            progress: show progress bars.

        Raises:
            DataError: it would have no two pictures that are not near-duplicates.
        """
        names = sorted(changes.rows)
        rows = [changes.rows[name] for name in names]
        pool = EmbeddedPictures.concatenate([self.pictures, fresh]) if fresh else self.pictures
        new = {name: len(self.pictures) + index for index, name in enumerate(fresh.file_names if fresh else ())}
        sources = [new[name] if row.embedding is None else row.embedding for name, row in zip(names, rows, strict=True)]
        return BuiltGallery.of_pictures(
            pool.subset(sources).renamed(names),
            self.parts,
            image_root=image_root,
            labels=[self._label(name, row.description) for name, row in zip(names, rows, strict=True)],
            columns={
                column: ["" if row.description is None else values[row.description] for row in rows]
                for column, values in self.gallery.columns.items()
            },
            about=self.gallery.about,
            description=description,
            skipped=skipped,
            progress=progress,
        )

    def _label(self, file_name: str, index: int | None) -> str:
        """Return the label of a picture: the old one where somebody has edited it, else the folder path."""
        if index is None or self.gallery.labels[index] == label_of(self.gallery.file_names[index]):
            return label_of(file_name)
        return self.gallery.labels[index]


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
