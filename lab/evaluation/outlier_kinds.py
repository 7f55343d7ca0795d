"""The kinds of outliers that detectors are measured on: photographs of other things, and drawn pictures."""

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

from lab.evaluation.benchmark import CARS
from lab.evaluation.evaluated_repo import EvaluatedRepo
from lab.outlier_data import left_out_labels, outlier_part
from visim_models.galleries.built_gallery import label_of
from visim_models.galleries.synthetic import SYNTHETIC_KINDS, synthetic_outliers

__all__ = ["ANIMALS", "DESCRIPTIONS", "outliers_of"]

ANIMALS: Final = frozenset({"bird", "cat", "deer", "dog", "frog", "horse"})
"""The classes of CIFAR-10 that are animals."""

DESCRIPTIONS: Final = {
    "photographs": "photographs of other things (one of each ImageNet class; the half that no tuning saw)",
    "other_kinds": "photographs of kinds of things that neither training nor fitting saw",
    "animals": "animals of CIFAR-10, enlarged",
    "noise": "drawn noise, left out of the fit",
    "plain": "drawn plain colours, left out of the fit",
    "gradient": "drawn gradients, left out of the fit",
    "stripes": "drawn stripes and chequerboards, left out of the fit",
    "text": "drawn pages of text, left out of the fit",
    "plot": "drawn charts, left out of the fit",
}
"""Kind -> what its pictures are."""

_OTHER_THINGS: Final = "not_cars/imagenet.zip"
_ANIMALS_FILE: Final = "cifar10/test.zip"
_SYNTHETIC_SEED: Final = 12345
"""Different from any export's: with seed s it draws its outliers with s, s + 1, ..."""
_PER_KIND: Final = 300
_PER_FILE: Final = 1500


def outliers_of(repo: EvaluatedRepo) -> Iterator[tuple[str, Tensor]]:
    """Read or draw the outliers that a repo is measured on, kind by kind.

    For cars, "photographs" are the second half by name of the ImageNet ones (the first is free for tuning), and
    "animals" are CIFAR-10's, enlarged. "other_kinds" are those of the benchmark's files that are for reports alone. The
    others are drawn.

    Yields:
        Kind, and (M, 3, S, S) uint8 pictures at the size of the repo's network.
    """
    processor, data = repo.similarity.processor, repo.data
    if repo.benchmark is CARS:
        photographs = data.read(_OTHER_THINGS, processor)
        half = range(len(photographs) // 2, len(photographs))
        yield "photographs", photographs.subset(data.limited(half)).pixels
    yield "other_kinds", torch.cat([_other_kinds(repo, file) for file in repo.benchmark.outlier_files])
    if repo.benchmark is CARS:
        # Of ten classes six are animals: a sample of the file saves enlarging all of it.
        sample = data.read(_ANIMALS_FILE, processor, at_most=_PER_KIND * 10 // 6)
        animals = [index for index, label in enumerate(sample.labels) if label in ANIMALS]
        yield "animals", sample.subset(data.limited(animals)).pixels
    for offset, kind in enumerate(SYNTHETIC_KINDS):
        count = min(_PER_KIND, data.limit or _PER_KIND)
        yield kind, torch.from_numpy(synthetic_outliers(kind, count, processor.size, seed=_SYNTHETIC_SEED + offset))


def _other_kinds(repo: EvaluatedRepo, file: str) -> Tensor:
    leave_out = left_out_labels(repo.benchmark.labels)

    def is_reported(name: str) -> bool:
        kind = label_of(name)
        return kind not in leave_out and outlier_part(kind or name) == "report"

    at_most = min(_PER_FILE, repo.data.limit or _PER_FILE)
    return repo.data.read(file, repo.similarity.processor, at_most=at_most, choose=is_reported).pixels
