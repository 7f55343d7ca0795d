"""A detector for a gallery of one's own, calibrated on that gallery's pictures alone, each left out in its turn.

The score stays the model repo's: its weights of the measurements and its probe, learnt on pictures of its own. Only
what the score is compared with is made anew. Each picture of the gallery is scored against all the others, without
itself and without its near-duplicates, as if it had just been uploaded; these are the calibration scores, and a
query's p-value is (1 + how many of them are at least as strange) / (n + 1).

That rate of false alarms holds for every query that comes from where the gallery's pictures came from. With n pictures
and a query that are exchangeable, the ranks of their n + 1 scores, each against the n others, are uniform (full
conformal prediction; Vovk, Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005). A calibration score
here lacks one neighbour of those n, the query; a neighbour more can only bring the nearest nearer (and the weights of
the distances are not negative), so these scores are if anything too high, the p-values too large, and the alarms fewer
than stated.

Where it fails: if the network was trained on the gallery's pictures (they look too familiar to it, and new ones raise
more alarms than stated), and if uploads are of another kind than the gallery (that is what it is to notice).
"""

from collections import defaultdict

import torch
import torch.nn.functional as F
from torch import Tensor

from hub.embedded_pictures import EmbeddedPictures
from lab.splits import near_duplicate_groups
from visim_models import OutOfDistributionDetector
from visim_models.errors import DataError
from visim_models.ood import Evidence

__all__ = ["LARGEST_CALIBRATION", "calibrated_on", "leave_one_out_evidence"]

LARGEST_CALIBRATION = 5000
"""Of larger galleries, so many pictures calibrate, evenly spaced: the p-value's grain is fine enough then."""

_NEIGHBOURS = 10  # as VisualSimilarity.observe averages; a test holds the two together
_ROWS_AT_ONCE = 256


def calibrated_on(pictures: EmbeddedPictures, detector: OutOfDistributionDetector) -> OutOfDistributionDetector:
    """The detector with its score as it is, and calibration scores from a gallery's own pictures.

    Args:
        pictures: of the gallery.
        detector: whose terms, probe and rate of false alarms are kept.

    Raises:
        DataError: the gallery has no two pictures that are not near-duplicates.
        QueryError: the detector needs a measurement that the network does not make.
    """
    places, evidence = leave_one_out_evidence(pictures)
    return OutOfDistributionDetector(
        detector.terms,
        calibration_scores=detector.score(evidence, pictures.embeddings[places]),
        false_alarm_rate=detector.false_alarm_rate,
        probe_weight=detector.probe_weight,
        probe_bias=detector.probe_bias,
    )


def leave_one_out_evidence(pictures: EmbeddedPictures) -> tuple[list[int], Evidence]:
    """What a detector would see of each picture if the gallery had neither it nor its near-duplicates.

    Returns:
        places: (n,) the pictures that were looked at.
        evidence: name -> (n,).

    Raises:
        DataError: a picture has no other to be compared with.
    """
    places = _evenly_spaced(len(pictures), LARGEST_CALIBRATION)
    groups = near_duplicate_groups(pictures.thumbnails)
    members = defaultdict(list)
    for place, group in enumerate(groups):
        members[group].append(place)
    if len(members) < 2:
        raise DataError("A gallery needs at least two pictures that are not near-duplicates of each other.")
    unit = F.normalize(pictures.embeddings, dim=1)  # (N, D)
    tops, means = [], []
    for start in range(0, len(places), _ROWS_AT_ONCE):
        rows = places[start : start + _ROWS_AT_ONCE]
        cosines = unit[rows] @ unit.T  # (B, N)
        for row, place in enumerate(rows):
            cosines[row, members[groups[place]]] = -torch.inf
        best = cosines.topk(min(_NEIGHBOURS, len(pictures) - 1), dim=1).values  # (B, k)
        there = best.isfinite()
        tops.append(best[:, 0])
        means.append(best.where(there, torch.zeros(())).sum(dim=1) / there.sum(dim=1))
    lengths = pictures.embeddings[places].norm(dim=1)  # (n,)
    return places, {
        "top_distance": 1 - torch.cat(tops).clamp(-1, 1),
        "neighbour_distance": 1 - torch.cat(means).clamp(-1, 1),
        "embedding_norm": -lengths.clamp(min=1e-6).log(),
        **{key: values[places] for key, values in pictures.strangeness.items()},
    }


def _evenly_spaced(count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    spaced: Tensor = torch.linspace(0, count - 1, most).round().long()
    return [int(place) for place in spaced]
