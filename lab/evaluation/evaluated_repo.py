"""The repo that is evaluated: its pipeline, its held-out pictures, and the gallery that they may be compared with."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from hub.locate import locate
from lab.data import ImageSet
from lab.evaluation.benchmark import CIFAR10, Benchmark, benchmark_for
from lab.evaluation.data_folder import DataFolder
from lab.fitting import embed_images, measure_against
from lab.split_file import HELD_OUT, PARTS, Split
from lab.splits import not_held_out
from visim_models import (
    CarFeatureExtractor,
    Gallery,
    ImageProcessor,
    OutOfDistributionDetector,
    VisualSimilarity,
)
from visim_models.errors import DataError
from visim_models.models import load_model
from visim_models.models.embedding import prepared
from visim_models.ood import Weighting
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import SPLIT, TRAINING

__all__ = ["EvaluatedRepo"]

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
        known = Gallery(self.known.file_names, self.known.labels, embed_images(model, processor, pixels))
        calibration = [
            self._pixels(file, self._listed("calibration", file), processor)
            for file in self.divided_files("calibration")
        ]
        distances = measure_against(known, model, processor, torch.cat(calibration)).values[_NEIGHBOURS]
        detector = OutOfDistributionDetector({_NEIGHBOURS: Weighting(1, 0, 1)}, calibration_scores=distances)
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
