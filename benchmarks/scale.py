"""The sizes that figures are stated for, and small ones that only exercise the code."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from benchmarks.demo_process import DemoProcess, running_demo
from benchmarks.pictures import DATA

__all__ = ["Scale"]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes and repetitions of every row.

    Attributes:
        rounds: turns of each short measurement.
        long_rounds: turns of each measurement that takes seconds.
        queries: queries in one turn.
        gallery_limit: most pictures of a gallery that a query is compared with; None for all.
        cars: photographs in the folder that is embedded.
        cifar10: small pictures in the folder that is embedded.
        built: photographs in the folder that a repo is built from.
        built_generally: the same for the general extractor, whose network is larger.
        searched: rows of the matrices that are searched.
        indexed: rows of the matrices that are put in engines.
        indexed_models: the repos whose embeddings, repeated with noise, these are.
        seconds_an_index: an index that would take longer to build is not measured.
        copied: photographs whose copies are looked for, among fifteen times as many.
        hidden: pictures of each kind that are hidden among a hundred times as many.
        grouped: rows of the matrix whose near-duplicates are grouped.
        cleaned: photographs in the folder that is cleaned.
        general: the repo of the network for pictures of anything.
        seconds: how long visitors use the demo in one turn.
        data: the folder of real pictures.
        repos: tab -> the name of its repo, as `hub.load` takes it.
        serve: given a folder, serves a demo while it is entered.
        is_quick: whether the sizes are too small for the figures to mean anything.
    """

    rounds: int = 5
    long_rounds: int = 3
    queries: int = 20
    gallery_limit: int | None = None
    cars: int = 512
    cifar10: int = 4096
    built: int = 7600
    built_generally: int = 1500
    searched: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    indexed: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    indexed_models: tuple[str, ...] = ("car-extractor", "general-extractor")
    seconds_an_index: float = 900.0
    copied: int = 500
    hidden: int = 50
    grouped: int = 100_000
    cleaned: int = 7600
    general: str = "general-extractor"
    seconds: float = 8.0
    data: Path = DATA
    repos: tuple[tuple[str, str], ...] = (("cars", "car-extractor"), ("cifar10", "cifar10-autoencoder"))
    serve: Callable[[Path], AbstractContextManager[DemoProcess]] = running_demo
    is_quick: bool = False

    @classmethod
    def quick(cls, **others: Any) -> Self:
        """Return sizes that are small enough to run every row in seconds."""
        small: dict[str, Any] = {
            "rounds": 1, "long_rounds": 1, "queries": 2, "gallery_limit": 20, "cars": 20, "cifar10": 40, "built": 40,
            "built_generally": 8,
            "searched": (300, 1_000),
            "indexed": (300,), "indexed_models": ("car-extractor",),
            "copied": 3, "hidden": 2, "grouped": 3_000, "cleaned": 40,
            "seconds": 0.5, "is_quick": True,
        }  # fmt: skip
        return cls(**{**small, **others})
