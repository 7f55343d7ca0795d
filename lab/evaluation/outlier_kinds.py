"""The kinds of outliers that detectors are measured on: photographs of other things, and drawn pictures."""

from collections.abc import Iterator
from typing import Final

from torch import Tensor

from lab.evaluation.benchmark import CARS
from lab.evaluation.evaluated_repo import EvaluatedRepo
from visim_models.synthetic import SYNTHETIC_KINDS, synthetic_outliers

__all__ = ["ANIMALS", "DESCRIPTIONS", "outliers_of"]

ANIMALS: Final = frozenset({"bird", "cat", "deer", "dog", "frog", "horse"})
"""The classes of CIFAR-10 that are animals."""

DESCRIPTIONS: Final = {
    "photographs": "photographs of other things (one of each ImageNet class; the half that no tuning saw)",
    "animals": "animals of CIFAR-10, enlarged",
    "noise": "drawn noise",
    "plain": "drawn plain colours",
    "gradient": "drawn gradients",
    "stripes": "drawn stripes and chequerboards",
    "text": "drawn pages of text",
    "plot": "drawn charts",
}
"""Kind -> what its pictures are."""

_OTHER_THINGS: Final = "not_cars/imagenet.zip"
_ANIMALS_FILE: Final = "cifar10/test.zip"
_SYNTHETIC_SEED: Final = 12345
"""Different from any training run's: a run with seed s draws its outliers with s, s + 1, ..."""
_PER_KIND: Final = 300


def outliers_of(repo: EvaluatedRepo) -> Iterator[tuple[str, Tensor]]:
    """Read or draw the outliers that a repo is measured on, kind by kind.

    "photographs" are the second half by name of the ImageNet ones (the first is free for tuning); "animals" are
    CIFAR-10's, enlarged, for cars alone; the other kinds are drawn.

    Yields:
        Kind, and (M, 3, S, S) uint8 pictures at the size of the repo's network.
    """
    processor, data = repo.similarity.processor, repo.data
    photographs = data.read(_OTHER_THINGS, processor)
    half = range(len(photographs) // 2, len(photographs))
    yield "photographs", photographs.subset(data.limited(half)).pixels
    if repo.benchmark is CARS:
        # Of ten classes six are animals: a sample of the file saves enlarging all of it.
        sample = data.read(_ANIMALS_FILE, processor, at_most=_PER_KIND * 10 // 6)
        animals = [index for index, label in enumerate(sample.labels) if label in ANIMALS]
        yield "animals", sample.subset(data.limited(animals)).pixels
    for offset, kind in enumerate(SYNTHETIC_KINDS):
        count = min(_PER_KIND, data.limit or _PER_KIND)
        yield kind, synthetic_outliers(kind, count, processor.size, seed=_SYNTHETIC_SEED + offset)
