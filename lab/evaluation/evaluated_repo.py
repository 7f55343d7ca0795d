"""The repo that is evaluated: its pipeline, its held-out pictures, and the gallery that they may be compared with."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from hub.locate import locate
from lab.data import hashes_of, load_images, outlier_part, read_column, read_named
from lab.fitting import embed_images, measure_images
from lab.run import TrainingRecord
from lab.splits import HELD_OUT, PARTS, Shares, Split, not_held_out, split_images
from visim_models import Gallery, OutOfDistributionDetector, VisualSimilarity
from visim_models.errors import DataError
from visim_models.galleries.picture_table import PictureTable
from visim_models.models import CAR_CLASSES, CIFAR10_CLASSES
from visim_models.models.loading import load_network
from visim_models.ood import OODVerdict, Weighting
from visim_models.processing import ImageProcessor
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import SPLIT, TRAINING

__all__ = ["CARS", "CIFAR10", "Benchmark", "DataFolder", "EvaluatedRepo", "is_strange"]

_Pixels = npt.NDArray[np.uint8]

_NAMES_SHOWN: Final = 3
_NEIGHBOURS: Final = "neighbour_distance"


@dataclass(frozen=True)
class Benchmark:
    """The pictures of the data folder that a kind of repo is measured on, and how many matches are looked at.

    Attributes:
        name: of the benchmark.
        labels: the labels that a gallery may have.
        split_files: files that split.csv may divide; the first has the pictures that the figures are of, the others are
            sources of another kind.
        groups: file -> table and column that its pictures are kept together by.
        gallery_file: the file that the gallery shows.
        outlier_files: other things that networks are trained on, too, a folder a kind.
        near_files: kinds of things that are near the gallery's, likewise.
        label_name: what a label is called in a sentence.
        ranks: the numbers of matches that retrieval is measured at.
    """

    name: str
    labels: frozenset[str]
    split_files: tuple[str, ...]
    groups: Mapping[str, tuple[str, str]]
    gallery_file: str
    outlier_files: tuple[str, ...]
    near_files: tuple[str, ...]
    label_name: str
    ranks: tuple[int, ...]


CARS: Final = Benchmark(
    name="cars",
    labels=frozenset(CAR_CLASSES),
    split_files=("cars/photos.zip", "cars/wild.zip", "cars/listings.zip"),
    groups={"cars/wild.zip": ("cars/wild.csv", "model"), "cars/listings.zip": ("cars/listings.csv", "near_group")},
    gallery_file="cars/photos.zip",
    outlier_files=("not_cars/caltech101.zip", "not_cifar10/tiny_imagenet.zip"),
    near_files=("not_cars/car_parts.zip", "not_cars/vehicles.zip"),
    label_name="body type",
    ranks=(4,),
)
CIFAR10: Final = Benchmark(
    name="cifar10",
    labels=frozenset(CIFAR10_CLASSES),
    split_files=("cifar10/train.zip",),
    groups={},
    gallery_file="cifar10/test.zip",
    outlier_files=("not_cifar10/tiny_imagenet.zip",),
    near_files=("not_cifar10/vehicles.zip",),
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
    """The zips of a data folder: each is read once at each size, and counted.

    Args:
        path: the folder, laid out like the project's own data.
        limit: use at most so many pictures of each part, evenly spaced; None for all.

    Attributes:
        counts: file -> how many pictures were read from it.
    """

    def __init__(self, path: Path, *, limit: int | None = None) -> None:
        self.path, self.limit = path, limit
        self.counts: dict[str, int] = {}
        self._read: dict[tuple[str, int | None, ImageProcessor], PictureTable] = {}

    def has(self, file: str) -> bool:
        """Return whether there is such a file: those of sources that came later may be missing."""
        return (self.path / file).exists()

    def read(
        self,
        file: str,
        processor: ImageProcessor,
        *,
        at_most: int | None = None,
        choose: Callable[[str], bool] | None = None,
    ) -> PictureTable:
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
        if choose is None and key in self._read:
            return self._read[key]
        found = load_images(self.path / file, processor, limit=at_most, choose=choose or (lambda _: True))
        if len(found):
            self.counts[file] = max(self.counts.get(file, 0), len(found))
        if choose is None:
            self._read[key] = found
        return found

    def limited(self, indices: Sequence[int]) -> list[int]:
        """Return the indices, or `limit` of them, evenly spaced."""
        if self.limit is None or len(indices) <= self.limit:
            return list(indices)
        return [indices[at] for at in np.linspace(0, len(indices) - 1, self.limit).astype(int)]


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
        new_files: files that the split does not divide, for they came after the training. They are divided as a
            training would that extends the split.
    """

    repo: RepoFolder
    similarity: VisualSimilarity
    benchmark: Benchmark
    split: Split
    data: DataFolder
    known: Gallery
    known_images: PictureTable
    images: Mapping[str, PictureTable]
    new_files: frozenset[str]

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
        first, *others = benchmark.split_files
        files = [first, *filter(data.has, others)]
        images = {file: data.read(file, similarity.processor) for file in files}
        together = PictureTable.concatenate(list(images.values()))
        if missing := split.count_missing(hashes_of(together), PARTS):
            raise DataError(
                f"{missing} of the {len(split)} pictures in {repo / SPLIT} are not in "
                f"{', '.join(str(data.path / file) for file in images)}: --data must hold the pictures that the split "
                "was made of.",
                path=data.path,
            )
        new = {
            file
            for file in others
            if file in images and similarity.network.class_names and not split.indices(hashes_of(images[file]), PARTS)
        }
        for file in new:
            split = split.joined(_new_split(images[file], data.path, benchmark.groups[file]))
        shown = _shown(similarity.gallery, data.read(benchmark.gallery_file, similarity.processor), benchmark, data)
        held_out = together.subset(split.indices(hashes_of(together), HELD_OUT))
        known = not_held_out(shown, held_out, split)
        return cls(
            repo, similarity, benchmark, split, data, similarity.gallery.subset(known), shown.subset(known), images,
            frozenset(new),
        )  # fmt: skip

    def seen_by(self, name: str) -> "EvaluatedRepo":
        """Return the same pictures as another network sees them, as a baseline.

        The detector is the distance to the nearest of the gallery, calibrated on the same pictures as the repo's own.

        Args:
            name: of a repo without a gallery, such as "general-extractor".
        """
        other = RepoFolder(locate(name))
        network, processor = load_network(other), ImageProcessor.load(other)
        pixels = self._pixels(self.benchmark.gallery_file, self.known_images, processor)
        known = Gallery(self.known.file_names, self.known.labels, embed_images(network, processor, pixels))
        placeholder = OutOfDistributionDetector({_NEIGHBOURS: Weighting(1, 0, 1)}, threshold=0.0)
        seen = replace(self, similarity=VisualSimilarity(network, processor, known, placeholder), known=known)
        distances = seen.measured(seen.every_file("calibration")).measured[_NEIGHBOURS]
        detector = OutOfDistributionDetector({_NEIGHBOURS: Weighting(1, 0, 1)}, calibration_scores=distances)
        return replace(seen, similarity=VisualSimilarity(network, processor, known, detector))

    @property
    def name(self) -> str:
        """Return the folder's name without "visim-": the short name of a bundled repo."""
        return self.repo.path.resolve().name.removeprefix("visim-")

    @property
    def classifies_bodies(self) -> bool:
        """Return whether the network tells car bodies: the targets of car retrieval and outliers are for these."""
        return self.similarity.network.class_names == list(CAR_CLASSES)

    def part(self, part: str, *, file: str = "") -> PictureTable:
        """Return the pictures of a part of the split, "train" or "test" for example, at the pipeline's size.

        Args:
            part: one of `PARTS`.
            file: of the benchmark; by default its first.

        Raises:
            DataError: it has none.
        """
        file = file or self.benchmark.split_files[0]
        images = self.images[file]
        indices = self.split.indices(hashes_of(images), [part])
        if not indices:
            raise DataError(
                f"{self.repo / SPLIT} has no {part} pictures: export the repo again.", path=self.repo / SPLIT
            )
        chosen = images.subset(self.data.limited(indices))
        return chosen.with_arrays(pixels=self._pixels(file, chosen, self.similarity.processor))

    def divided_files(self, part: str) -> list[str]:
        """Return the files of the benchmark of which the repo's own split has pictures in this part."""
        return [
            file
            for file, images in self.images.items()
            if file not in self.new_files and self.split.indices(hashes_of(images), [part])
        ]

    def every_file(self, part: str) -> PictureTable:
        """Return the pictures of a part, of all files that the repo's own split divides."""
        return PictureTable.concatenate([self.part(part, file=file) for file in self.divided_files(part)])

    def measured(self, pictures: PictureTable) -> PictureTable:
        """Measure pictures against the gallery without held-out ones."""
        similarity = self.similarity
        return measure_images(pictures, network=similarity.network, processor=similarity.processor, gallery=self.known)

    def matches(self, measured: PictureTable, top_k: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Find the nearest of each of Q measured queries in that gallery: (Q, k) scores and indices."""
        return self.known.search(measured["embeddings"], top_k=min(top_k, len(self.known)))

    def _pixels(self, file: str, images: PictureTable, processor: ImageProcessor) -> _Pixels:
        """Return the (N, 3, S, S) uint8 pixels of some pictures of a file as a processor makes them.

        Pictures of CIFAR-10 are enlarged from 32 x 32, in memory.
        """
        pixels: _Pixels = images["pixels"]
        if processor.size == pixels.shape[-1]:
            return pixels
        if self.benchmark is CIFAR10:
            return np.concatenate(
                [_enlarged(block, processor.size) for block in np.array_split(pixels, len(pixels) // 500 + 1)]
            )
        return read_named(self.data.path / file, images.file_names, processor)

    def groups(self, images: PictureTable) -> list[int]:
        """Return a number for the group of near-duplicates that each of some pictures of the split is in."""
        groups = [self.split.group_of(sha256) for sha256 in hashes_of(images)]
        return [-1 - index if group is None else group for index, group in enumerate(groups)]

    def gallery_images(self) -> PictureTable:
        """Return the pictures of the file that the gallery shows."""
        images = self.data.read(self.benchmark.gallery_file, self.similarity.processor)
        return images.subset(self.data.limited(range(len(images))))

    def own_images(self) -> PictureTable:
        """Return the pictures of all files that the repo's own split divides, at the size of its own network."""
        return PictureTable.concatenate([self.images[file] for file in self.images if file not in self.new_files])

    def fitted_files(self) -> list[str]:
        """Return the files of outliers that the detector was fitted on."""
        return [*self.benchmark.outlier_files, *(file for file in self.benchmark.near_files if self._has_used(file))]

    def reported_kinds(self, file: str) -> Callable[[str], bool]:
        """Return whether a kind of outliers of a file counts: one that neither training nor fitting saw.

        Of files that the repo was made without, every kind counts.
        """
        was_used = self._has_used(file)
        return lambda kind: not was_used or outlier_part(kind) == "report"

    def _has_used(self, file: str) -> bool:
        rows = TrainingRecord.read(self.repo / TRAINING).outliers
        return any(Path(row["source"]).parts[-2:] == Path(file).parts[-2:] for row in rows)


def is_strange(verdicts: Sequence[OODVerdict]) -> npt.NDArray[np.float64]:
    """Return (N,) ones where a picture is called strange."""
    return np.array([float(verdict.is_ood) for verdict in verdicts])


def _enlarged(pixels: _Pixels, size: int) -> _Pixels:
    large = F.interpolate(torch.from_numpy(pixels).float(), size=size, mode="bicubic")
    found: _Pixels = large.round().clamp(0, 255).to(torch.uint8).numpy()
    return found


def _new_split(images: PictureTable, data: Path, group: tuple[str, str]) -> Split:
    """Divide a source as `python -m lab.train --split` does with one that the split lacks."""
    table, column = group
    values = read_column(data / table, column)
    together = {
        sha256: values[name]
        for name, sha256 in zip(images.file_names, hashes_of(images), strict=True)
        if name in values
    }
    shares = Shares(test=0.1, calibration=0.05, fit=0.025, validation=0.025)
    return split_images(images, shares, seed=0, kept_together=together)


def _shown(gallery: Gallery, images: PictureTable, benchmark: Benchmark, data: DataFolder) -> PictureTable:
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
