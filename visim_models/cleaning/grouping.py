"""Group pairs of near-duplicates so that chains do not join: every member is like the medoid of its group.

The picture that is like the most others is the first medoid, and takes all that are like it; then the next of those
that no medoid has taken. A member that is like several medoids goes to the one that it is most like. So no member is
there because of another member, and two members are at most twice as far apart as the threshold allows.
"""

from collections import defaultdict
from typing import Final

from visim_models.cleaning.neighbours import Pairs

__all__ = ["medoid_groups"]

_ITSELF: Final = 2.0
"""Above every score: a medoid is not taken away by another."""


def medoid_groups(pairs: Pairs) -> list[list[tuple[int, float]]]:
    """Group pictures around medoids.

    Args:
        pairs: all pairs that are alike, each once.

    Returns:
        Groups of at least two pictures, the largest first. Each is a list of indices with their scores: the medoid
        first, with 1, then the others, those most like it first.
    """
    likes: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for one, two, score in zip(pairs.first.tolist(), pairs.second.tolist(), pairs.scores.tolist(), strict=True):
        likes[one].append((two, score))
        likes[two].append((one, score))
    taken: dict[int, tuple[float, int]] = {}  # picture -> its score with its medoid, and the medoid
    for index in sorted(likes, key=lambda item: (-len(likes[item]), item)):
        if index in taken:
            continue
        taken[index] = (_ITSELF, index)
        for other, score in likes[index]:
            if score > taken.get(other, (-_ITSELF, -1))[0]:
                taken[other] = (score, index)
    members: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for index, (score, medoid) in taken.items():
        members[medoid].append((index, min(score, 1.0)))
    groups = [
        sorted(group, key=lambda item, medoid=medoid: (item[0] != medoid, -item[1], item[0]))  # type: ignore[misc]
        for medoid, group in members.items()
        if len(group) > 1
    ]
    return sorted(groups, key=lambda group: (-len(group), group[0][0]))
