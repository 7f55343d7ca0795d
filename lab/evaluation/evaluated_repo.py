"""The repo that is evaluated: its pipeline, its held-out pictures, and the gallery that they may be compared with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from lab.data import ImageSet
from lab.evaluation.benchmark import Benchmark, benchmark_for
from lab.evaluation.data_folder import DataFolder
from lab.split_file import HELD_OUT, PARTS, Split
from lab.splits import not_held_out
from visim_models import CarFeatureExtractor, Gallery, VisualSimilarity
from visim_models.errors import DataError
from visim_models.repo_folder import RepoFolder
from visim_models.repo_folder.manifest import SPLIT, TRAINING

__all__ = ["EvaluatedRepo"]

_NAMES_SHOWN: Final = 3


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
    """

    repo: RepoFolder
    similarity: VisualSimilarity
    benchmark: Benchmark
    split: Split
    data: DataFolder
    known: Gallery
    known_images: ImageSet

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
        images = data.read(benchmark.split_file, similarity.processor)
        if missing := split.count_missing(images.sha256, PARTS):
            raise DataError(
                f"{missing} of the {len(split)} pictures in {repo / SPLIT} are not in "
                f"{data.path / benchmark.split_file}: --data must hold the pictures that the split was made of.",
                path=data.path / benchmark.split_file,
            )
        shown = _shown(similarity.gallery, data.read(benchmark.gallery_file, similarity.processor), benchmark, data)
        held_out = images.subset(split.indices(images.sha256, HELD_OUT))
        known = not_held_out(shown, held_out, split)
        return cls(repo, similarity, benchmark, split, data, similarity.gallery.subset(known), shown.subset(known))

    @property
    def name(self) -> str:
        """Return the folder's name without "visim-": the short name of a bundled repo."""
        return self.repo.path.resolve().name.removeprefix("visim-")

    @property
    def classifies_bodies(self) -> bool:
        """Return whether the network tells car bodies: the targets of car retrieval and outliers are for these."""
        return isinstance(self.similarity.model, CarFeatureExtractor)

    def part(self, part: str) -> ImageSet:
        """Return the pictures of a part of the split, "train" or "test" for example.

        Raises:
            DataError: it has none.
        """
        images = self.data.read(self.benchmark.split_file, self.similarity.processor)
        indices = self.split.indices(images.sha256, [part])
        if not indices:
            raise DataError(
                f"{self.repo / SPLIT} has no {part} pictures: export the repo again.", path=self.repo / SPLIT
            )
        return images.subset(self.data.limited(indices))

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
