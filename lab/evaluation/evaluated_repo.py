"""The repo that is evaluated: its pipeline, its held-out pictures, and the gallery that they may be compared with."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from hub.locate import locate
from lab.data import ImageSet, load_images
from lab.fitting import embed_images, measure_against
from lab.splits import HELD_OUT, PARTS, Split, not_held_out
from visim_models import (
    CarFeatureExtractor,
    Gallery,
    OutOfDistributionDetector,
    VisualSimilarity,
)
from visim_models.errors import DataError, VisimError
from visim_models.images.decode import decode_image
from visim_models.images.decode_ahead import pictures_at_once
from visim_models.models import CAR_CLASSES, CIFAR10_CLASSES, load_model
from visim_models.models.torch_network import prepared
from visim_models.ood import Weighting
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import SPLIT, TRAINING
from visim_models.sources.store import ImageStore

__all__ = ["CARS", "CIFAR10", "Benchmark", "DataFolder", "EvaluatedRepo"]


@dataclass(frozen=True)
class Benchmark:
    """The pictures that a kind of repo is measured on, and how many matches are looked at.

    Attributes:
        name: of the benchmark.
        labels: the labels that a gallery may have.
        split_files: files of the data folder that split.csv may divide; the first has the pictures that the figures are
            of, the others are sources of another kind.
        gallery_file: file of the data folder that the gallery shows.
        outlier_files: files of the data folder with other things, a folder a kind.
        label_name: what a label is called in a sentence.
        ranks: the numbers of matches that retrieval is measured at.
    """

    name: str
    labels: frozenset[str]
    split_files: tuple[str, ...]
    gallery_file: str
    outlier_files: tuple[str, ...]
    label_name: str
    ranks: tuple[int, ...]


CARS: Final = Benchmark(
    name="cars",
    labels=frozenset(CAR_CLASSES),
    split_files=("cars/photos.zip", "cars/wild.zip"),
    gallery_file="cars/photos.zip",
    outlier_files=("not_cars/caltech101.zip", "not_cifar10/tiny_imagenet.zip"),
    label_name="body type",
    ranks=(4,),
)
CIFAR10: Final = Benchmark(
    name="cifar10",
    labels=frozenset(CIFAR10_CLASSES),
    split_files=("cifar10/train.zip",),
    gallery_file="cifar10/test.zip",
    outlier_files=("not_cifar10/tiny_imagenet.zip",),
    label_name="class",
    ranks=(1, 10),
)


def benchmark_for(labels: Collection[str]) -> Benchmark:
    """Return the benchmark of a gallery with these labels.

    Raises:
        DataError: there is none.
    """
    for benchmark in (CARS, CIFAR10):
        if set(labels) <= benchmark.labels:
            return benchmark
    raise DataError(
        f"The gallery has the labels {sorted(set(labels))[:5]}: only those of the cars' body types or of CIFAR-10's "
        "classes can be measured."
    )


class DataFolder:
    """Reads the zips of a data folder at the size that a network takes.

    Args:
        path: the folder, laid out like the project's own data.
        limit: use at most so many pictures of each part, evenly spaced; None for all.

    Attributes:
        counts: file -> how many pictures were read from it.
    """

    def __init__(self, path: Path, *, limit: int | None = None) -> None:
        self.path, self.limit = path, limit
        self.counts: dict[str, int] = {}
        self._read: dict[tuple[str, int | None, ImageProcessor], ImageSet] = {}

    def read(
        self,
        file: str,
        processor: ImageProcessor,
        *,
        at_most: int | None = None,
        choose: Callable[[str], bool] | None = None,
    ) -> ImageSet:
        """Read the pictures of a file, resized.

        Args:
            file: path in the folder.
            processor: whose `resize` makes the squares.
            at_most: read only so many, evenly spaced over the sorted names; None for all.
            choose: whether a picture counts, by its name; such a choice is read again each time.

        Raises:
            DataError: it is not there, or holds no picture.
        """
        key = (file, at_most, processor)
        if choose or key not in self._read:
            found = load_images(self.path / file, processor, limit=at_most, choose=choose)
            self.counts[file] = max(self.counts.get(file, 0), len(found))
            if choose:
                return found
            self._read[key] = found
        return self._read[key]

    def read_named(self, file: str, names: Sequence[str], processor: ImageProcessor) -> Tensor:
        """Read some pictures of a file: (N, 3, S, S) uint8, in the order of the names.

        Raises:
            VisimError: one of them cannot be read.
        """
        store, found = ImageStore(self.path / file), []
        for batch in store.decode_many(names, processor, at_once=pictures_at_once(processor.size)):
            for _, result in batch:
                if isinstance(result, VisimError):
                    raise result
                found.append(result[0])
        return torch.from_numpy(np.stack(found))

    def read_changed(
        self,
        file: str,
        names: Sequence[str],
        processor: ImageProcessor,
        change: Callable[[Image.Image], Image.Image | bytes],
    ) -> Tensor:
        """Read some pictures of a file, and change each before it is resized: (N, 3, S, S) uint8.

        Args:
            file: path in the folder.
            names: of the pictures.
            processor: whose `resize` makes the squares.
            change: RGB picture at its own size -> picture, or the bytes of a file.
        """
        store = ImageStore(self.path / file)
        squares = [processor.resize(decode_image(change(decode_image(store.read(name))))) for name in names]
        return torch.from_numpy(np.stack(squares))

    def limited(self, indices: Sequence[int]) -> list[int]:
        """Return the indices, or `limit` of them, evenly spaced."""
        if self.limit is None or len(indices) <= self.limit:
            return list(indices)
        return [indices[at] for at in np.linspace(0, len(indices) - 1, self.limit).astype(int)]


_NAMES_SHOWN: Final = 3
_NEIGHBOURS: Final = "neighbour_distance"


@dataclass(frozen=True)
class EvaluatedRepo:
    """A repo with the pictures that it is measured on.

    Attributes:
        repo: the repo folder.
        similarity: the pipeline that it holds.
        benchmark: what it is measured on.
        split: the part of each picture: learnt from, held out for one purpose or another.
        data: where the pictures are read from.
        known: the gallery without held-out pictures and without their near-duplicates: queries are compared with it.
        known_images: the pictures of `known`, in its order.
        images: file of the benchmark -> its pictures at the size of the repo's own network. They say what is in which
            part; another network's pipeline reads those that it needs at its own size.
    """

    repo: RepoFolder
    similarity: VisualSimilarity
    benchmark: Benchmark
    split: Split
    data: DataFolder
    known: Gallery
    known_images: ImageSet
    images: Mapping[str, ImageSet]

    @classmethod
    def load(cls, folder: Path, data: DataFolder) -> Self:
        """Load a repo, and find its pictures in the data folder by their content.

        Raises:
            DataError: the repo has no split.csv, or one that is not that of its training; its gallery is of no
                benchmark; or pictures of its test part or of its gallery are not in the data folder.
            VisimError: the repo cannot be loaded.
        """
        repo = RepoFolder(folder)
        similarity = VisualSimilarity.from_pretrained(repo)
        benchmark = benchmark_for(similarity.gallery.labels)
        split = _read_split(repo)
        images = {file: data.read(file, similarity.processor) for file in benchmark.split_files}
        together = ImageSet.concatenate(list(images.values()))
        if missing := split.count_missing(together.sha256, PARTS):
            raise DataError(
                f"{missing} of the {len(split)} pictures in {repo / SPLIT} are not in "
                f"{', '.join(str(data.path / file) for file in images)}: --data must hold the pictures that the split "
                "was made of.",
                path=data.path,
            )
        shown = _shown(similarity.gallery, data.read(benchmark.gallery_file, similarity.processor), benchmark, data)
        held_out = together.subset(split.indices(together.sha256, HELD_OUT))
        known = not_held_out(shown, held_out, split)
        return cls(
            repo, similarity, benchmark, split, data, similarity.gallery.subset(known), shown.subset(known), images
        )

    def seen_by(self, name: str) -> "EvaluatedRepo":
        """Return the same pictures as another network sees them, as a baseline.

        The detector is the distance to the nearest of the gallery, calibrated on the same pictures as the repo's own.

        Args:
            name: of a repo without a gallery, such as "general-extractor".
        """
        other = RepoFolder(locate(name))
        model, processor = prepared(load_model(other)), ImageProcessor.load(other)
        pixels = self._pixels(self.benchmark.gallery_file, self.known_images, processor)
        known = Gallery(self.known.file_names, self.known.labels, embed_images(model, processor, pixels).numpy())
        calibration = [
            self._pixels(file, self._listed("calibration", file), processor)
            for file in self.divided_files("calibration")
        ]
        distances = measure_against(known, model, processor, torch.cat(calibration)).values[_NEIGHBOURS]
        detector = OutOfDistributionDetector({_NEIGHBOURS: Weighting(1, 0, 1)}, calibration_scores=distances.numpy())
        return replace(self, similarity=VisualSimilarity(model, processor, known, detector), known=known)

    @property
    def name(self) -> str:
        """Return the folder's name without "visim-": the short name of a bundled repo."""
        return self.repo.path.resolve().name.removeprefix("visim-")

    @property
    def classifies_bodies(self) -> bool:
        """Return whether the network tells car bodies: the targets of car retrieval and outliers are for these."""
        return isinstance(self.similarity.model, CarFeatureExtractor)

    def part(self, part: str, *, file: str = "") -> ImageSet:
        """Return the pictures of a part of the split, "train" or "test" for example, at the pipeline's size.

        Args:
            part: one of `PARTS`.
            file: of the benchmark; by default its first.

        Raises:
            DataError: it has none.
        """
        file = file or self.benchmark.split_files[0]
        chosen = self._listed(part, file)
        return replace(chosen, pixels=self._pixels(file, chosen, self.similarity.processor))

    def divided_files(self, part: str) -> list[str]:
        """Return the files of the benchmark that the split divides: it has pictures of them in this part."""
        return [file for file, images in self.images.items() if self.split.indices(images.sha256, [part])]

    def _listed(self, part: str, file: str) -> ImageSet:
        """Return the pictures of a file that are in a part, at the size of the repo's own network."""
        images = self.images[file]
        indices = self.split.indices(images.sha256, [part])
        if not indices:
            raise DataError(
                f"{self.repo / SPLIT} has no {part} pictures: export the repo again.", path=self.repo / SPLIT
            )
        return images.subset(self.data.limited(indices))

    def _pixels(self, file: str, images: ImageSet, processor: ImageProcessor) -> Tensor:
        """Return the (N, 3, S, S) uint8 pixels of some pictures of a file as a processor makes them.

        Pictures of CIFAR-10 are enlarged from 32 x 32, in memory.
        """
        size = images.pixels.shape[-1]
        if processor.size == size:
            return images.pixels
        if self.benchmark is CIFAR10:
            large = [
                F.interpolate(block.float(), size=processor.size, mode="bicubic").round().clamp(0, 255).to(torch.uint8)
                for block in images.pixels.split(500)
            ]
            return torch.cat(large)
        return self.data.read_named(file, images.file_names, processor)

    def groups(self, images: ImageSet) -> list[int]:
        """Return a number for the group of near-duplicates that each of some pictures of the split is in."""
        groups = [self.split.group_of(sha256) for sha256 in images.sha256]
        return [-1 - index if group is None else group for index, group in enumerate(groups)]

    def gallery_images(self) -> ImageSet:
        """Return the pictures of the file that the gallery shows."""
        images = self.data.read(self.benchmark.gallery_file, self.similarity.processor)
        return images.subset(self.data.limited(range(len(images))))


def _shown(gallery: Gallery, images: ImageSet, benchmark: Benchmark, data: DataFolder) -> ImageSet:
    """Return the pictures of the gallery, in its order."""
    index_of = {name: index for index, name in enumerate(images.file_names)}
    if missing := [name for name in gallery.file_names if name not in index_of]:
        raise DataError(
            f"{data.path / benchmark.gallery_file} lacks {len(missing)} pictures that the gallery shows, such as "
            f"{', '.join(missing[:_NAMES_SHOWN])}.",
            path=data.path / benchmark.gallery_file,
        )
    return images.subset([index_of[name] for name in gallery.file_names])


def _read_split(repo: RepoFolder) -> Split:
    """Read the split of a repo, and check that it is the one that the weights were trained with."""
    split = Split.read(repo / SPLIT)
    stated = repo.json(TRAINING).get("split_sha256") if repo.has(TRAINING) else None
    if stated != split.sha256:
        raise DataError(
            f"{repo / SPLIT} is not the split that {TRAINING} names ({stated!r}): which pictures the network has not "
            "seen is unknown. Export the repo again from its run.",
            path=repo / SPLIT,
            key="split_sha256",
        )
    return split
