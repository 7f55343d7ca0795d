"""A detector for a gallery, calibrated on that gallery's pictures alone, each left out in its turn.

The score stays that of the model's repo: its weights of the measurements and its probe, fitted on pictures of its own.
Only the scores that it is compared with are new. Each picture of the gallery is scored against all the others, without
itself and without its near-duplicates, as if it had just been uploaded; these are the calibration scores, and a
query's p-value is (1 + how many of them are at least as strange) / (n + 1).

That rate of false alarms holds for every query that comes from where the gallery's pictures came from. With n pictures
and a query that are exchangeable, the ranks of their n + 1 scores, each against the n others, are uniform (full
conformal prediction; Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005). A calibration score
here lacks one neighbour of those n, the query; one neighbour more can only bring the nearest nearer (and the weights of
the distances are not negative), so these scores are if anything too high, the p-values too large, and the alarms fewer
than stated.

The rate does not hold if the network was trained on the gallery's pictures: they look too familiar to it, and new ones
raise more alarms than stated.
"""

from collections import defaultdict
from typing import Final

import torch
import torch.nn.functional as F
from tqdm import tqdm

from visim_models.errors import DataError
from visim_models.galleries.embedded import EmbeddedPictures, Measured
from visim_models.galleries.near_duplicates import SAME_PHOTOGRAPH, near_duplicate_groups
from visim_models.measurements import NEIGHBOURS, measure_neighbours
from visim_models.ood import OutOfDistributionDetector

__all__ = ["LARGEST_CALIBRATION", "calibrated_on", "evenly_spaced", "leave_one_out"]

LARGEST_CALIBRATION: Final = 5000
"""Of larger galleries, so many pictures calibrate, evenly spaced: the p-value's grain is fine enough then."""

_ROWS_AT_ONCE: Final = 256


def calibrated_on(
    pictures: EmbeddedPictures, detector: OutOfDistributionDetector, *, progress: bool = False
) -> OutOfDistributionDetector:
    """Return the detector with the same score, calibrated on a gallery's own pictures.

    Args:
        pictures: of the gallery.
        detector: its weightings, probe and rate of false alarms are kept.
        progress: show a progress bar.

    Raises:
        DataError: the gallery has no two pictures that are not near-duplicates.
        QueryError: the detector needs a measurement that the network does not make.
    """
    measured = leave_one_out(pictures, progress=progress)
    return detector.calibrated(detector.score(measured.values, measured.embeddings.numpy()))


def leave_one_out(pictures: EmbeddedPictures, *, most: int | None = None, progress: bool = False) -> Measured:
    """Measure pictures as queries against the gallery without them and their near-duplicates.

    Args:
        pictures: of the gallery.
        most: how many pictures are measured at most; by default `LARGEST_CALIBRATION`.
        progress: show a progress bar.

    Returns:
        n of the pictures, evenly spaced, at most `most`.

    Raises:
        DataError: a picture has no other to be compared with.
    """
    indices = evenly_spaced(len(pictures), LARGEST_CALIBRATION if most is None else most)
    unit = F.normalize(pictures.embeddings, dim=1)  # (N, D)
    nearest = []
    with tqdm(total=len(indices), desc="calibrating", unit="picture", disable=not progress) as bar:
        near_duplicates = _near_duplicates(pictures)
        for start in range(0, len(indices), _ROWS_AT_ONCE):
            rows = indices[start : start + _ROWS_AT_ONCE]
            cosines = (unit[rows] @ unit.T).clamp_(-1, 1)  # (B, N)
            for row, index in enumerate(rows):
                cosines[row, near_duplicates[index]] = -torch.inf
            nearest.append(cosines.topk(min(NEIGHBOURS, len(pictures)), dim=1).values)  # (B, k)
            bar.update(len(rows))
    measured = pictures.measured.subset(indices)
    neighbours = measure_neighbours(measured.embeddings.numpy(), torch.cat(nearest).numpy())
    return Measured(
        measured.embeddings,
        {**{name: torch.from_numpy(values) for name, values in neighbours.items()}, **measured.values},
    )


def _near_duplicates(pictures: EmbeddedPictures) -> list[list[int]]:
    """Return the indices of each picture's near-duplicates, its own among them."""
    members: dict[int, list[int]] = defaultdict(list)
    groups = near_duplicate_groups(pictures.thumbnails.numpy(), threshold=SAME_PHOTOGRAPH)
    for index, group in enumerate(groups):
        members[group].append(index)
    if len(members) < 2:
        raise DataError("A gallery needs at least two pictures that are not near-duplicates of each other.")
    return [members[group] for group in groups]


def evenly_spaced(count: int, most: int) -> list[int]:
    """Return at most `most` indices of `count` items, evenly spaced."""
    if count <= most:
        return list(range(count))
    return [int(index) for index in torch.linspace(0, count - 1, most).round().long()]
