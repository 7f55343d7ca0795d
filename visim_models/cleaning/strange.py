"""Rank the pictures of a gallery by how strange they are among the others, and judge them as it judges an upload."""

import torch.nn.functional as F

from visim_models.cleaning.survey import SurveyedPictures
from visim_models.galleries.embedded import EmbeddedPictures, Measured
from visim_models.galleries.self_calibration import leave_one_out
from visim_models.ood import OODVerdict, OutOfDistributionDetector

__all__ = ["find_strange"]

_SIDE = 16


def find_strange(
    pictures: SurveyedPictures, detector: OutOfDistributionDetector, *, progress: bool = False
) -> list[tuple[int, OODVerdict]]:
    """Return index and verdict of every picture, the strangest first.

    Each is measured against all the others, without itself and its near-duplicates, as if it had just been uploaded,
    and its p-value is its rank among them: of any pictures, a share of the false-alarm rate is called strange.

    Args:
        pictures: at least two that are not near-duplicates.
        detector: judges by the distance to the nearest pictures.
        progress: show a progress bar.

    Raises:
        DataError: there are no two pictures that are not near-duplicates.
    """
    small = F.interpolate(pictures.thumbnails.float(), size=(_SIDE, _SIDE), mode="area").round().byte()
    embedded = EmbeddedPictures(pictures.file_names, pictures.hashes, Measured(pictures.embeddings, {}), small)
    measured = leave_one_out(embedded, most=len(embedded), progress=progress)
    seen = measured.values, measured.embeddings.numpy()
    verdicts = detector.calibrated(detector.score(*seen)).verdicts(*seen)
    return sorted(enumerate(verdicts), key=lambda item: (-item[1].score, item[0]))
