"""A gallery in memory, with its calibrated detector: before it is written, and to search at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from visim_models.build.card import card_text
from visim_models.build.embedded import EmbeddedPictures
from visim_models.build.model_parts import ModelParts
from visim_models.build.self_calibration import calibrated_on
from visim_models.build.skipped import Skipped, write_skipped
from visim_models.gallery import Gallery
from visim_models.ood import OutOfDistributionDetector
from visim_models.pipeline import VisualSimilarity
from visim_models.repo_folder import RepoDraft

__all__ = ["BuiltGallery", "label_of"]


@dataclass(frozen=True)
class BuiltGallery:
    """A gallery, and all that a repo folder keeps of it.

    Attributes:
        parts: the network and the processor that embedded the pictures.
        pictures: N embedded pictures.
        gallery: the same N pictures, to be searched.
        detector: calibrated on them.
        skipped: files that it was built without.
    """

    parts: ModelParts
    pictures: EmbeddedPictures
    gallery: Gallery
    detector: OutOfDistributionDetector
    skipped: Sequence[Skipped]

    @classmethod
    def of_pictures(
        cls,
        pictures: EmbeddedPictures,
        parts: ModelParts,
        *,
        image_root: str,
        labels: Sequence[str] | None = None,
        columns: Mapping[str, Sequence[str]] | None = None,
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
            skipped: files that it was built without.
            progress: show a progress bar.

        Raises:
            DataError: the gallery has no two pictures that are not near-duplicates.
        """
        gallery = Gallery(
            pictures.file_names,
            [label_of(name) for name in pictures.file_names] if labels is None else labels,
            pictures.embeddings,
            columns=columns,
            weights_sha256=parts.weights_sha256,
            processor_sha256=parts.processor_sha256,
            image_root=image_root,
        )
        return cls(parts, pictures, gallery, calibrated_on(pictures, parts.detector, progress=progress), skipped)

    @property
    def similarity(self) -> VisualSimilarity:
        """Return the pipeline that searches the gallery."""
        return VisualSimilarity(self.parts.model, self.parts.processor, self.gallery, self.detector)

    def write_files(self, draft: RepoDraft) -> None:
        """Write the gallery, its measurements, the detector, skipped.csv and the card into a draft.

        Raises:
            GalleryError: an embedding is beyond float16.
        """
        self.gallery.write_files(draft)
        self.pictures.write_files(draft)
        self.detector.write_files(draft)
        write_skipped(draft, self.skipped)
        draft.write_card(card_text(self.gallery, self.detector, self.parts.model))


def label_of(file_name: str) -> str:
    """Return the label of a picture: its whole folder path ("watch/mens/x.jpg" -> "watch/mens"), "" at the top."""
    folder = PurePosixPath(file_name).parent.as_posix()
    return "" if folder == "." else folder
