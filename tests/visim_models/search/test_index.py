"""The contract of `SearchIndex`, on every engine; `ExactIndex` is the reference."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.milvus_servers import Server, need, running_lite, running_real
from visim_models import GalleryMismatchError, QueryError
from visim_models.search import ExactIndex, PictureTexts, SearchIndex
from visim_models.search.engine import EngineAddress, collection_name
from visim_models.search.where import Where

WIDTH, COUNT = 16, 600
LABELS = ["suv", 'a "quoted" label', "back\\slash\t", "ключ", "it's\x07\x7f", "line\r\nbreak"]

Rows = npt.NDArray[np.float32]
Make = Callable[[Rows, PictureTexts], SearchIndex]


def rows(count: int = COUNT, *, seed: int = 0) -> Rows:
    made = np.random.default_rng(seed).standard_normal((count, WIDTH)).astype(np.float16).astype(np.float32)
    made[count // 2] = 0
    return made


def texts(count: int = COUNT, *, prefix: str = "") -> PictureTexts:
    numbers = range(count)
    return PictureTexts(
        [f"{prefix}{LABELS[0]}/{number}.jpg" for number in numbers],
        [LABELS[number % len(LABELS)] for number in numbers],
        {"price": [f"{number} €" for number in numbers], "url": [""] * count},
    )


@pytest.fixture(scope="module")
def lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_lite(tmp_path_factory.mktemp("lite")) as server:
        yield server


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_real(tmp_path_factory.mktemp("real")) as server:
        yield server


@pytest.fixture(params=["exact", "milvus-lite file", "milvus-lite server", "milvus server"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """A function that makes an index of some pictures."""
    if request.param == "exact":
        yield lambda embeddings, found: ExactIndex(embeddings, found)
        return
    need("pymilvus", "milvus_lite")
    from visim_models.search.milvus import MilvusIndex

    uris = {
        "milvus-lite file": lambda: str(tmp_path / "index.db"),
        "milvus-lite server": lambda: request.getfixturevalue("lite").uri,
        "milvus server": lambda: request.getfixturevalue("real").uri,
    }
    address = EngineAddress(uris[request.param]())
    made: list[MilvusIndex] = []

    def in_milvus(embeddings: Rows, found: PictureTexts) -> SearchIndex:
        made.append(MilvusIndex.create(address, collection_name("test", "1", "2"), width=WIDTH, timeout=20))
        made[-1].add(embeddings, found)
        return made[-1]

    yield in_milvus
    for index in made:
        index.drop()
        index.close()


def test_an_index_keeps_the_contract(make: Make) -> None:
    """One test: a new collection takes the real server ten seconds."""
    matrix, about = rows(), texts()
    index = make(matrix.copy(), texts())
    reference = ExactIndex(matrix, about)
    queries = np.concatenate([rows(70, seed=1), matrix[:1], np.zeros((1, WIDTH), np.float32)])
    assert len(index) == COUNT
    assert index.width == WIDTH

    scores, found = index.search(queries, top_k=10)
    wanted, names = reference.search(queries, top_k=10)
    assert scores.shape == found.shape == (72, 10)
    assert scores.dtype == np.float32
    assert found.dtype == np.int64
    np.testing.assert_allclose(scores, wanted, atol=1e-6)
    told_apart = queries.any(axis=1)  # a query of zeros is as near to all
    assert index.texts(found[told_apart].ravel()) == about.subset(names[told_apart].ravel().tolist())
    assert (np.diff(scores, axis=1) <= 0).all()
    assert (scores[71] == 0).all()
    assert (np.diff(found[71]) > 0).all()  # of equal scores the lower index comes first

    for label in LABELS:
        scores, found = index.search(queries[:3], top_k=5, label=label)
        np.testing.assert_allclose(scores, reference.search(queries[:3], top_k=5, label=label)[0], atol=1e-6)
        assert set(index.texts(found.ravel()).labels) == {label}
    for text in (
        "price != '7 €'",
        "label == 'suv' and not price < '3'",
        "price in ['1 €', '2 €', '599 €']",
        "label == 'x'",
    ):
        expected = reference.search(queries[:3], top_k=5, where=Where.parse(text))
        scores, found = index.search(queries[:3], top_k=5, where=Where.parse(text))
        np.testing.assert_allclose(scores, expected[0], atol=1e-6)
        assert index.texts(found.ravel()).file_names == [about.file_names[row] for row in expected[1].ravel()]
    few = index.search(queries[:3], top_k=COUNT, label=LABELS[1])[1]
    assert few.shape == (3, COUNT // len(LABELS))
    assert index.search(queries[:3], top_k=5, label='"; id > 0 or label == "')[1].shape == (3, 0)

    with pytest.raises(QueryError, match="top_k is 0"):
        index.search(queries, top_k=0)
    assert index.search(queries[:2], top_k=COUNT + 1)[1].shape == (2, COUNT)
    with pytest.raises(QueryError, match=r"shape \(Q, 16\)"):
        index.search(queries[:, :8], top_k=1)
    with pytest.raises(QueryError, match="not finite"):
        index.search(queries * np.float32("nan"), top_k=1)
    assert index.search(queries[:0], top_k=3)[0].shape[0] == 0

    np.testing.assert_array_equal(index.embedding("suv/7.jpg"), matrix[7])
    with pytest.raises(QueryError, match=r"no picture 'none\.jpg'"):
        index.embedding("none.jpg")
    parts = list(index.scan())
    order = np.argsort([name for _, part in parts for name in part.file_names])
    scanned = np.concatenate([part for part, _ in parts])[order]
    np.testing.assert_array_equal(scanned, matrix[np.argsort(about.file_names)])

    if isinstance(index, ExactIndex):
        return
    added = index.add(rows(30, seed=5), texts(30, prefix="new/"))
    assert len(index) == COUNT + 30
    best = index.search(rows(30, seed=5)[:1], top_k=1)[1][0]
    assert best[0] == added[0]
    assert index.texts(best).file_names == ["new/suv/0.jpg"]
    copies = rows(23, seed=6)
    copies[:] = copies[0]  # one picture in three parts, and more of it than are asked for
    added = np.concatenate([index.add(copies[:n], texts(n, prefix=f"copy{n}/")) for n in (20, 2, 1)])
    found = index.search(copies[:1], top_k=23)[1][0]
    assert found.tolist() == sorted(added.tolist()) == added.tolist()
    assert index.search(copies[:1], top_k=21)[1][0].tolist() == added[:21].tolist()
    with pytest.raises(QueryError, match="any more"):
        index.texts(np.array([added.max() + 1]))
    with pytest.raises(GalleryMismatchError, match="16 numbers"):
        index.add(np.ones((1, 8), np.float32), texts(1))
