"""How much is measured: the sizes that the figures are stated for, or small ones that only exercise the code."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.demo_process import DemoProcess, running_demo
from benchmarks.pictures import DATA

__all__ = ["Scale"]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Sizes and repetitions of every row.

    Attributes:
        rounds: turns of each measurement.
        queries: queries in one turn.
        gallery_limit: most pictures of a gallery that a baseline compares with; None for all.
        cars: photographs in the folder that is embedded.
        cifar10: small pictures in the folder that is embedded.
        searched: rows of the matrices that are searched.
        seconds: how long visitors use the demo.
        starts: how often the demo is started.
        data: the folder of real pictures.
        repos: tab -> what `hub.load` takes.
        serve: a demo in the folder that it is given, while it is entered.
    """

    rounds: int = 5
    queries: int = 20
    gallery_limit: int | None = None
    cars: int = 512
    cifar10: int = 4096
    searched: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    seconds: float = 15.0
    starts: int = 3
    data: Path = DATA
    repos: tuple[tuple[str, str], ...] = (("cars", "car-extractor"), ("cifar10", "cifar10-autoencoder"))
    serve: Callable[[Path], AbstractContextManager[DemoProcess]] = running_demo

    @classmethod
    def quick(cls, **others: object) -> "Scale":
        """Small enough to run every row in seconds; the figures then say nothing."""
        small: dict[str, object] = {
            "rounds": 1, "queries": 2, "gallery_limit": 20, "cars": 20, "cifar10": 40,
            "searched": (300, 1_000), "seconds": 0.5, "starts": 1,
        }  # fmt: skip
        return cls(**{**small, **others})  # type: ignore[arg-type]
