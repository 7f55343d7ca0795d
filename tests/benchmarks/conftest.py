"""The sizes that try every row of the benchmarks in seconds, on the tiny repos and the demo of tests/demo."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.processes import DemoProcess
from benchmarks.scale import Scale
from tests.demo.conftest import address, collections, demo, repos  # noqa: F401 (fixtures)


@pytest.fixture(scope="session")
def scale(repos: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Scale:  # noqa: F811
    """Return small sizes, with tiny repos and drawn pictures."""
    return Scale.quick(
        repos=(("cars", str(repos["car-extractor"])), ("cifar10", str(repos["cifar10-autoencoder"]))),
        data=tmp_path_factory.mktemp("no-data"),
    )


@pytest.fixture
def served(scale: Scale, address: str, tmp_path: Path) -> Scale:  # noqa: F811
    """Return the same sizes, with this process's demo instead of one in a process of its own."""

    @contextmanager
    def serve(_: Path, options: Sequence[str] = ()) -> Iterator[DemoProcess]:
        yield DemoProcess(address, os.getpid(), tmp_path / "log")

    return Scale(**{**vars(scale), "serve": serve})
