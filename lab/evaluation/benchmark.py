"""The two benchmarks: which files of the data folder a repo is measured on, by the labels of its gallery."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from visim_models.errors import DataError
from visim_models.models import CAR_CLASSES, CIFAR10_CLASSES

__all__ = ["CARS", "CIFAR10", "Benchmark", "benchmark_for"]


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
