"""A gallery in memory, with its calibrated detector: before it is written, and to search at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from visim_models.galleries.card import card_text
from visim_models.galleries.description import Description
from visim_models.galleries.embedded import EmbeddedPictures
from visim_models.galleries.model_parts import ModelParts
from visim_models.galleries.self_calibration import calibrated_on
from visim_models.galleries.skipped import Skipped, write_skipped
from visim_models.galleries.verdict_check import check_verdict
from visim_models.gallery import Gallery, GalleryAbout
from visim_models.ood import OutOfDistributionDetector
from visim_models.pipeline import VisualSimilarity
from visim_models.repo_folder import RepoDraft
from visim_models.repo_folder.manifest import METRICS
from visim_models.repo_folder.metrics import Figure, Metrics

__all__ = ["BuiltGallery", "label_of", "write_check"]

_COMMAND = "visim check ."
"""Measures the figures of metrics.json again, in the repo folder."""


@dataclass(frozen=True)
class BuiltGallery:
    """A gallery, and all that a repo folder keeps of it.

    Attributes:
        parts: the network and the processor that embedded the pictures.
        pictures: N embedded pictures.
        gallery: the same N pictures, to be searched.
        detector: calibrated on them.
        skipped: files that it was built without.
        notes: lines about records and pictures that do not belong together.
        check: how many drawn pictures the verdict finds, as figures.
    """

    parts: ModelParts
    pictures: EmbeddedPictures
    gallery: Gallery
    detector: OutOfDistributionDetector
    skipped: Sequence[Skipped]
    notes: Sequence[str]
    check: Sequence[Figure]

    @classmethod
    def of_pictures(
        cls,
        pictures: EmbeddedPictures,
        parts: ModelParts,
        *,
        image_root: str,
        labels: Sequence[str] | None = None,
        columns: Mapping[str, Sequence[str]] | None = None,
        about: GalleryAbout | None = None,
        description: Description | None = None,
        skipped: Sequence[Skipped] = (),
        progress: bool = False,
    ) -> "BuiltGallery":
        """Make a gallery of embedded pictures, and calibrate the detector on it.

        Args:
            pictures: N pictures.
            parts: the network and the processor that embedded them.
            image_root: where the pictures can be fetched from.
            labels: N labels; by default the folder of each picture.
            columns: name -> N further values.
            about: how the gallery described itself so far.
            description: changes of labels, columns and `about`.
            skipped: files that it was built without.
            progress: show a progress bar.

        Raises:
            DataError: the gallery has no two pictures that are not near-duplicates, or its description does not fit.
            ConfigurationError: a column to show does not exist.
        """
        gallery = Gallery(
            pictures.file_names,
            [label_of(name) for name in pictures.file_names] if labels is None else labels,
            pictures.embeddings,
            columns=columns,
            weights_sha256=parts.weights_sha256,
            processor_sha256=parts.processor_sha256,
            image_root=image_root,
            about=about,
        )
        notes = description.apply(gallery) if description else []
        detector = calibrated_on(pictures, parts.detector, progress=progress)
        check = check_verdict(VisualSimilarity(parts.network, parts.processor, gallery, detector), progress=progress)
        return cls(parts, pictures, gallery, detector, skipped, notes, check)

    @property
    def similarity(self) -> VisualSimilarity:
        """Return the pipeline that searches the gallery."""
        return VisualSimilarity(self.parts.network, self.parts.processor, self.gallery, self.detector)

    def write_files(self, draft: RepoDraft) -> None:
        """Write the gallery, its measurements, the detector, the figures, skipped.csv and the card into a draft.

        Raises:
            GalleryError: an embedding is beyond float16.
        """
        self.gallery.write_files(draft)
        self.pictures.write_files(draft)
        self.detector.write_files(draft)
        write_check(draft, self.check, self.parts.weights_sha256)
        write_skipped(draft, self.skipped)
        draft.write_card(card_text(self.gallery, self.detector, self.parts.network, self.check))


def write_check(draft: RepoDraft, check: Sequence[Figure], weights_sha256: str) -> None:
    """Write the figures of the verdict into a draft as metrics.json, which goes where there are none.

    Args:
        draft: of the repo.
        check: the figures.
        weights_sha256: of the weights that were measured.
    """
    if not check:
        draft.drop(METRICS)
        return
    metrics = Metrics(
        command=_COMMAND,
        limit=None,
        weights_sha256=weights_sha256,
        data={},
        figures=list(check),
        baselines=[],
        tables={},
    )
    metrics.write_files(draft)


def label_of(file_name: str) -> str:
    """Return the label of a picture: its whole folder path ("watch/mens/x.jpg" -> "watch/mens"), "" at the top."""
    folder = PurePosixPath(file_name).parent.as_posix()
    return "" if folder == "." else folder
