"""What only an engine can do wrong: a wrong token, a collection that is gone, an index that finds too little."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tests.milvus_servers import Server, need, running_real
from visim_models import EngineError, GalleryError
from visim_models.search import PictureTexts
from visim_models.search.engine import EngineAddress, MilvusConnection, collection_name


@pytest.fixture(autouse=True)
def _needs_the_extra() -> None:
    need("pymilvus", "milvus_lite")


def some(count: int = 40) -> tuple[npt.NDArray[np.float32], PictureTexts]:
    matrix = np.random.default_rng(0).standard_normal((count, 8)).astype(np.float32)
    return matrix, PictureTexts([f"{number}.jpg" for number in range(count)], [""] * count)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Server]:
    with running_real(tmp_path, "--extra-config", "common.security.authorizationEnabled=true") as server:
        yield server


def test_a_wrong_token_is_an_error_that_says_so_and_shows_none(guarded: Server) -> None:
    from visim_models.search.milvus import MilvusIndex

    for address in (
        EngineAddress(guarded.uri),
        EngineAddress(guarded.uri, "root:wrong-word"),
        EngineAddress(guarded.uri.replace("//", "//root:wrong-word@")),
    ):
        with pytest.raises(EngineError, match="refuses the token: set VISIM_INDEX_TOKEN") as caught:
            MilvusIndex.create(address, collection_name("x", "1", "2"), width=8)
        assert "wrong-word" not in str(caught.value)
    index = MilvusIndex.create(EngineAddress(guarded.uri, "root:Milvus"), collection_name("x", "1", "2"), width=8)
    index.drop()
    index.close()


def test_a_collection_that_is_gone_is_an_error(tmp_path: Path) -> None:
    from visim_models.search.milvus import MilvusIndex

    index = MilvusIndex.create(EngineAddress(str(tmp_path / "index.db")), collection_name("x", "1", "2"), width=8)
    index.add(*some())
    assert index.search(np.ones((1, 8), np.float32), top_k=3)[1].shape == (1, 3)
    index.drop()
    with pytest.raises(EngineError, match="failed: "):
        index.search(np.ones((1, 8), np.float32), top_k=3)
    with pytest.raises(EngineError, match="failed: "):
        index.publish(index.collection)
    index.close()


def test_an_approximate_index_looks_at_no_fewer_than_it_must_find(tmp_path: Path) -> None:
    from visim_models.search.milvus import MilvusIndex

    index = MilvusIndex.create(
        EngineAddress(str(tmp_path / "index.db")), collection_name("x", "1", "2"), width=8, kind="HNSW",
        parameters={"ef": 1},
    )  # fmt: skip
    matrix, texts = some()
    index.add(matrix, texts)
    scores, found = index.search(matrix[:3], top_k=20)
    assert scores.shape == found.shape == (3, 20)
    assert index.texts(found[:, 0]).file_names == ["0.jpg", "1.jpg", "2.jpg"]
    index.close()


@pytest.mark.parametrize("words", ["collection visim_tokens_1_2 not found", "no label 'token UNAVAILABLE'"])
def test_a_name_in_the_engines_words_is_no_refusal(words: str, tmp_path: Path) -> None:
    need("pymilvus", "milvus_lite")
    connection = MilvusConnection(EngineAddress(str(tmp_path / "index.db")))
    error = connection._translated(ValueError(words))
    assert error.key is None
    assert "failed" in str(error)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (PictureTexts(["é" * 32_768], [""]), "65,535 bytes"),
        (PictureTexts(["a.jpg"], ["é" * 32_768]), "65,535 bytes"),
        (PictureTexts(["a.jpg"], [""], {"x": ["é" * 20_000], "y": ["é" * 20_000]}), "x, y, are longer than the 65,536"),
    ],
)
def test_texts_are_counted_in_bytes_before_an_engine_sees_them(texts: PictureTexts, message: str) -> None:
    from visim_models.search.milvus import _parts_of

    with pytest.raises(GalleryError, match=message):
        list(_parts_of(np.arange(1), np.ones((1, 8), np.float32), texts))
