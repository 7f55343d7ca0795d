"""Rank the pictures of a gallery by how strange they are among the others, and judge them as it judges an upload."""

import numpy as np

from visim_models.cleaning.survey import SurveyedPictures
from visim_models.galleries.calibration import distance_detector, leave_one_out
from visim_models.galleries.picture_table import PictureTable, thumbnails_of
from visim_models.ood import OODVerdict

__all__ = ["find_strange"]


def find_strange(pictures: SurveyedPictures, *, progress: bool = False) -> list[tuple[int, OODVerdict]]:
    """Return index and verdict of every picture, the strangest first.

    Each is measured against all the others, without itself and its near-duplicates, as if it had just been uploaded,
    and its p-value is its rank among them: of any pictures, a share of the false-alarm rate is called strange.

    Args:
        pictures: at least two that are not near-duplicates.
        progress: show a progress bar.

    Raises:
        DataError: there are no two pictures that are not near-duplicates.
    """
    arrays = {
        "embeddings": np.asarray(pictures.embeddings),
        "thumbnails": thumbnails_of(np.asarray(pictures.thumbnails)),
    }
    measured = leave_one_out(PictureTable(pictures.file_names, arrays), most=len(pictures), progress=progress)
    verdicts = distance_detector(measured).verdicts(measured.measured, measured["embeddings"])
    return sorted(enumerate(verdicts), key=lambda item: (-item[1].score, item[0]))
