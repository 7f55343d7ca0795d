"""The gallery that a repo folder has, and the one that a build makes of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from visim_models.errors import GalleryError
from visim_models.galleries.calibration import check_figures
from visim_models.galleries.card import card_text
from visim_models.galleries.embed import Embedder
from visim_models.galleries.picture_table import PictureTable
from visim_models.galleries.sources import Skipped, label_of, read_skipped, write_skipped
from visim_models.gallery import Gallery
from visim_models.ood import OutOfDistributionDetector
from visim_models.repo_folder import RepoDraft, RepoFolder
from visim_models.repo_folder.manifest import INDEX, MEASUREMENTS, METRICS
from visim_models.repo_folder.metrics import Metrics

__all__ = ["BuiltGallery", "OldGallery", "check_in_memory"]

_CHECK_COMMAND: Final = "visim check ."
"""Measures the figures of metrics.json again, in the repo folder."""


@dataclass(frozen=True, kw_only=True)
class BuiltGallery:
    """A gallery with its detector, and all that a repo folder keeps of it.

    Attributes:
        embedder: the network and the processor that embedded the pictures.
        gallery: N pictures, to be searched.
        detector: calibrated on them, and tried.
        pictures: the same N pictures with their measurements; None where they are in an engine.
        skipped: files that it was built without.
        notes: lines about records and pictures that do not belong together.
    """

    embedder: Embedder
    gallery: Gallery
    detector: OutOfDistributionDetector
    pictures: PictureTable | None
    skipped: Sequence[Skipped]
    notes: Sequence[str]

    def write_files(self, draft: RepoDraft) -> None:
        """Write the gallery, its measurements, the detector, the figures, skipped.csv and the card into a draft.

        Raises:
            GalleryError: an embedding is beyond float16.
        """
        self.gallery.write_files(draft)
        self.detector.write_files(draft)
        if self.pictures:
            self.pictures.write_files(draft)
        else:
            draft.drop(MEASUREMENTS)
        if figures := check_figures(self.detector):
            Metrics(
                command=_CHECK_COMMAND,
                limit=None,
                weights_sha256=self.embedder.weights_sha256,
                data={},
                figures=figures,
                baselines=[],
                tables={},
            ).write_files(draft)
        else:
            draft.drop(METRICS)
        write_skipped(draft, self.skipped)
        draft.write_card(card_text(self.gallery, self.detector, self.embedder.network))


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

    def label(self, file_name: str, index: int | None) -> str:
        """Return the label of a picture: the old one where somebody has edited it, else the folder path."""
        if self.gallery is None or index is None:
            return label_of(file_name)
        old = self.gallery.labels[index]
        return label_of(file_name) if old == label_of(self.gallery.file_names[index]) else old

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
