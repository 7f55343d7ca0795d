"""The baselines do the articles' work for an upload: no more, no less, and to the same result as the library."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import hub
from benchmarks.article import Article, CarArticle, Cifar10Article
from benchmarks.queries import check_same_ranking
from benchmarks.scale import Scale, upload
from visim_models import VisualSimilarity

pytest.importorskip("cv2", reason="opencv-python-headless is not installed: it is in the extra 'dev'")

_opened: list[str] | None = None


def _note_opened(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _opened is not None:
        _opened.append(Path(str(arguments[0])).name)


sys.addaudithook(_note_opened)  # there is no way to take one out again: it is idle outside `opened_files`


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Collect the names of the files that Python opens in the block; OpenCV opens its own unseen."""
    global _opened
    _opened = []
    try:
        yield _opened
    finally:
        _opened = None


@pytest.fixture(scope="module")
def cars(scale: Scale) -> VisualSimilarity:
    return hub.load(dict(scale.repos)["cars"])


@pytest.fixture(scope="module")
def cifar10(scale: Scale) -> VisualSimilarity:
    return hub.load(dict(scale.repos)["cifar10"])


def test_the_second_articles_app_loads_weights_and_one_list_of_features(
    cars: VisualSimilarity, scale: Scale, tmp_path: Path
) -> None:
    article, picture = CarArticle(cars, tmp_path), upload("cars", data=scale.data)
    article.search(picture)  # the first one imports
    with opened_files() as opened:
        names, captions, highest = article.search(picture)
    assert sorted(set(opened)) == ["a.jpg", "features.pt", "weights.pt"]
    assert len(names) == len(captions) == 4
    assert captions[0] == f"similarity: {round(100 * highest)}%"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.pt", "weights.pt"]


def test_the_features_are_a_list_of_tensors_and_names(cars: VisualSimilarity, tmp_path: Path) -> None:
    CarArticle(cars, tmp_path)
    features = torch.load(tmp_path / "features.pt", weights_only=True)
    assert [name for _, name in features] == cars.gallery.file_names
    assert {tuple(feature.shape) for feature, _ in features} == {(1, 514)}
    assert len({feature.untyped_storage().data_ptr() for feature, _ in features}) == len(features)


def test_the_first_articles_function_reads_the_upload_alone(
    cifar10: VisualSimilarity, scale: Scale, tmp_path: Path
) -> None:
    path = tmp_path / "upload.jpg"
    path.write_bytes(upload("cifar10", data=scale.data))
    article = Cifar10Article(cifar10)
    article.search(path)
    with opened_files() as opened:
        index, score = article.search(path)
    assert opened == []  # OpenCV reads the upload
    assert 0 <= index < len(cifar10.gallery)
    assert score == round(score, 3)
    path.unlink()
    with pytest.raises(Exception, match=r"cvtColor|empty"):
        article.search(path)


@pytest.mark.parametrize("tab", ["cars", "cifar10"])
def test_they_find_the_librarys_matches(tab: str, scale: Scale, tmp_path: Path) -> None:
    similarity = hub.load(dict(scale.repos)[tab])
    article = CarArticle(similarity, tmp_path) if tab == "cars" else Cifar10Article(similarity)
    picture = upload(tab, data=scale.data)
    found = article.rank(torch.from_numpy(similarity.processor(picture))[None])
    expected = similarity.search(picture, top_k=len(similarity.gallery)).matches
    assert len(found) == len(expected)
    np.testing.assert_allclose([score for _, score in found], [match.score for match in expected], atol=6e-4)
    scores = dict(found)
    assert all(abs(scores[match.file_name] - match.score) < 6e-4 for match in expected)


def test_another_ranking_is_noticed(cars: VisualSimilarity, scale: Scale, tmp_path: Path) -> None:
    class Wrong(Article):
        def rank(self, pixels: torch.Tensor) -> list[tuple[str, float]]:
            first, *others = CarArticle(cars, tmp_path).rank(pixels)
            return [(first[0], first[1] - 0.01), *others]

    picture = upload("cars", data=scale.data)
    check_same_ranking(cars, CarArticle(cars, tmp_path), picture)
    with pytest.raises(RuntimeError, match="At rank 0"):
        check_same_ranking(cars, Wrong(), picture)


def test_opencvs_pixels_as_the_articles_scale_them(
    cars: VisualSimilarity, cifar10: VisualSimilarity, tmp_path: Path
) -> None:
    import cv2

    path = tmp_path / "red.png"
    cv2.imwrite(str(path), np.full((50, 70, 3), (0, 51, 255), np.uint8))  # BGR
    pixels = CarArticle(cars, tmp_path).read(path)
    assert pixels.shape == (1, 3, 100, 100)
    np.testing.assert_allclose(pixels[0, :, 0, 0].numpy(), [0, 0.2, 1], atol=1e-6)  # BGR, as the article left it
    pixels = Cifar10Article(cifar10).read(path)
    assert pixels.shape == (1, 3, 32, 32)
    np.testing.assert_allclose(pixels[0, :, 0, 0].numpy(), [1, -0.6, -1], atol=1e-6)  # RGB
