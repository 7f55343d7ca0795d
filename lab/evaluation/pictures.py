"""The pictures that figures are measured on, out of the data folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from lab.data import ImageSet, load_images
from lab.evaluation.subject import CARS, Subject
from visim_models.errors import DataError
from visim_models.processing import ImageProcessor
from visim_models.synthetic import SYNTHETIC_KINDS, synthetic_outliers

__all__ = ["ANIMALS", "Pictures"]

ANIMALS = frozenset({"bird", "cat", "deer", "dog", "frog", "horse"})

_OTHER_THINGS = "not_cars/imagenet.zip"
_SYNTHETIC_SEED = 12345
"""Another one than any training run's: a run with seed s draws its outliers with s, s + 1, ..."""
_PER_KIND = 300


class Pictures:
    """Reads the files of a data folder, each once, at the size that a network takes.

    Args:
        data: the folder, laid out like the project's own data.
        limit: use at most so many pictures of each part, evenly spaced.
    """

    def __init__(self, data: Path, *, limit: int | None = None) -> None:
        self.limit = limit
        self.counts: dict[str, int] = {}
        self._data = data
        self._read: dict[tuple[str, ImageProcessor], ImageSet] = {}

    def read(self, file: str, processor: ImageProcessor) -> ImageSet:
        """All pictures of a file, resized.

        Raises:
            DataError: it is not there, or holds no picture.
        """
        key = (file, processor)
        if key not in self._read:
            self._read[key] = load_images(self._data / file, processor)
            self.counts[file] = len(self._read[key])
        return self._read[key]

    def held_out(self, subject: Subject, part: str) -> ImageSet:
        """The pictures of the "calibration" or "test" part.

        Raises:
            DataError: none of them is in the data.
        """
        images = self.read(subject.family.training, subject.similarity.processor)
        places = [place for place, name in enumerate(images.file_names) if name in subject.parts[part]]
        if not places:
            raise DataError(
                f"None of the {part} pictures of {subject.name} is in {self._data / subject.family.training}."
            )
        return images.subset(self._spread(places))

    def learnt(self, subject: Subject) -> ImageSet:
        """The pictures that the network was trained on."""
        images = self.read(subject.family.training, subject.similarity.processor)
        held = subject.parts["calibration"] | subject.parts["test"]
        return images.subset(self._spread([place for place, name in enumerate(images.file_names) if name not in held]))

    def known(self, subject: Subject) -> ImageSet:
        """The pictures of the gallery that queries are compared with, in its order.

        Raises:
            DataError: one of them is not in the data.
        """
        images = self.read(subject.family.gallery, subject.similarity.processor)
        place_of = {name: place for place, name in enumerate(images.file_names)}
        try:
            return images.subset([place_of[name] for name in subject.known.file_names])
        except KeyError as error:
            raise DataError(f"{self._data / subject.family.gallery} lacks {error}, which the gallery shows.") from None

    def validation(self, subject: Subject) -> ImageSet:
        """What reconstructions are measured on: held-out cars, or all of CIFAR-10's validation pictures."""
        if subject.family is CARS:
            return self.held_out(subject, "test")
        images = self.read(subject.family.gallery, subject.similarity.processor)
        return images.subset(self._spread(range(len(images))))

    def outliers(self, subject: Subject) -> Iterator[tuple[str, Tensor]]:
        """Kind of other things -> (M, 3, S, S) uint8.

        "photographs" are the second half by name of the ImageNet ones (the first is free for tuning); "animals" are
        CIFAR-10's, enlarged, for cars alone; the rest is drawn.
        """
        processor = subject.similarity.processor
        photographs = self.read(_OTHER_THINGS, processor)
        half = range(len(photographs) // 2, len(photographs))
        yield "photographs", photographs.subset(self._spread(half)).pixels
        if subject.family is CARS:
            # Of ten classes six are animals: a sample of the file avoids enlarging all of it.
            file = "cifar10/test.zip"
            sample = load_images(self._data / file, processor, limit=_PER_KIND * 10 // 6)
            self.counts[file] = len(sample)
            animals = [place for place, label in enumerate(sample.labels) if label in ANIMALS]
            yield "animals", sample.subset(self._spread(animals)).pixels
        for place, kind in enumerate(SYNTHETIC_KINDS):
            count = min(_PER_KIND, self.limit or _PER_KIND)
            yield kind, synthetic_outliers(kind, count, processor.size, seed=_SYNTHETIC_SEED + place)

    def _spread(self, places: Sequence[int]) -> list[int]:
        if self.limit is None or len(places) <= self.limit:
            return list(places)
        return [places[at] for at in np.linspace(0, len(places) - 1, self.limit).astype(int)]
