"""Fixtures of the tests of `visim_models.galleries`: a tiny model, drawn pictures, a record of the files embedded."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tests.builders import tiny_repo, write_pictures
from tests.milvus_servers import Server, running_lite
from visim_models import ImageProcessor, ImageStore
from visim_models.sources.store import DecodedBatch


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tiny_repo(tmp_path / "model")


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", 4)


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of all files that are decoded to be embedded, as they come."""
    names: list[str] = []
    decode_many = ImageStore.decode_many

    def recorded(
        self: ImageStore, file_names: Iterable[str], processor: ImageProcessor, *, at_once: int
    ) -> Iterator[DecodedBatch]:
        for batch in decode_many(self, file_names, processor, at_once=at_once):
            names.extend(name for name, _ in batch)
            yield batch

    monkeypatch.setattr(ImageStore, "decode_many", recorded)
    return names


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """milvus-lite's server on this machine."""
    with running_lite(tmp_path / "server") as running:
        yield running
