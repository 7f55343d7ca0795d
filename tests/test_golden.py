"""The bundled repos give the numbers of the day of their export, and the articles' own classes give the same.

Golden embeddings lie in tests/golden/<repo>.json: the first values of the embeddings of drawn pictures. After an export
that is meant to change them, renew them from the repository's root with

    python -m tests.test_golden
"""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

import hub
from benchmarks.article import ArticleAutoencoder, ArticleCarExtractor
from hub.locate import BUNDLED
from tests.builders import drawn_pictures
from visim_models import CarClassifier, ConvolutionalAutoencoder, ImageProcessor, VisualSimilarity
from visim_models.models import load_model
from visim_models.repo_folder import RepoFolder, formats

GOLDEN = Path(__file__).parent / "golden"
PICTURES = drawn_pictures(4, size=120, seed=2)
VALUES = 48
TOLERANCE = 1e-3  # relative
ARTICLE_CLASSES: dict[str, type[nn.Module]] = {
    "cifar10-autoencoder": ArticleAutoencoder,
    "car-extractor": ArticleCarExtractor,
}
GALLERIES = {
    "cifar10-autoencoder": ("cifar10/test.zip", 10_000),
    "cifar10-extractor": ("cifar10/test.zip", 10_000),
    "car-extractor": ("cars/photos.zip", 7_600),
    "car-autoencoder": ("cars/photos.zip", 7_600),
}
each_repo = pytest.mark.parametrize("name", hub.REPO_NAMES)
each_gallery = pytest.mark.parametrize("name", GALLERIES)


def bundled(name: str) -> VisualSimilarity:
    folder = BUNDLED / hub.REPO_NAMES[name]
    assert folder.is_dir(), f"hub/pretrained/{folder.name} is missing: run `make train export`, and commit the folder"
    return VisualSimilarity.from_pretrained(folder)


def tensor_of(processor: ImageProcessor) -> torch.Tensor:
    return torch.from_numpy(np.stack([processor(picture) for picture in PICTURES]))


def embedded(name: str) -> npt.NDArray[np.float64]:
    """The (4, D) embeddings of the drawn pictures, by the network of a repo with or without a gallery."""
    repo = RepoFolder(BUNDLED / hub.REPO_NAMES[name])
    model, processor = load_model(repo), ImageProcessor.load(repo)
    with torch.inference_mode():
        return model.embed(tensor_of(processor)).double().numpy()  # type: ignore[operator]


def measured(name: str) -> dict[str, Any]:
    """What a golden file holds: width, norms and the first values that are not zero for every picture."""
    rows = embedded(name)
    indices = np.flatnonzero(rows.any(axis=0))[:VALUES]
    return {
        "width": rows.shape[1],
        "indices": indices.tolist(),
        "norms": [float(f"{norm:.6g}") for norm in np.linalg.norm(rows, axis=1)],
        "values": [[float(f"{value:.6g}") for value in row] for row in rows[:, indices]],
    }


def close(found: Any, expected: Any) -> bool:
    """Whether two tables of numbers agree to 1e-3 of the largest."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    return bool(np.abs(found - expected).max() <= TOLERANCE * np.abs(expected).max())


@each_repo
def test_embeddings_are_golden(name: str) -> None:
    file = GOLDEN / f"{hub.REPO_NAMES[name]}.json"
    assert file.is_file(), f"{file.name} is missing: write it with `python -m tests.test_golden`"
    expected = json.loads(file.read_text(encoding="utf-8"))
    rows = embedded(name)
    assert rows.shape == (len(PICTURES), expected["width"])
    values = np.array(expected["values"])
    found = rows[:, expected["indices"]]
    cosines = (found * values).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(values, axis=1)
    assert cosines.min() > 1 - TOLERANCE
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), expected["norms"], rtol=0.01)
    assert len(expected["indices"]) >= 20  # enough of them to notice a change


@pytest.mark.parametrize("name", ARTICLE_CLASSES)
def test_the_articles_class_gives_the_same_numbers(name: str) -> None:
    similarity, article = bundled(name), ARTICLE_CLASSES[name]().eval()
    weights = formats.read_tensors(BUNDLED / hub.REPO_NAMES[name] / "model.safetensors")
    article.load_state_dict({key: torch.from_numpy(each) for key, each in weights.items()}, strict=True)
    pixels = tensor_of(similarity.processor)
    with torch.inference_mode():
        assert close(similarity.model(pixels), article(pixels))
        if isinstance(article, ArticleAutoencoder):
            assert close(similarity.model.embed(pixels), article.encoder(pixels))


@pytest.mark.parametrize("name", ARTICLE_CLASSES)
def test_our_weights_load_into_the_articles_class(name: str) -> None:
    article = ARTICLE_CLASSES[name]()
    article.load_state_dict(bundled(name).model.state_dict(), strict=True)


def test_the_extractors_weights_classify_too() -> None:
    classifier = CarClassifier.from_pretrained(BUNDLED / hub.REPO_NAMES["car-extractor"])
    similarity = bundled("car-extractor")
    pixels = tensor_of(similarity.processor)
    with torch.inference_mode():
        assert close(classifier.embed(pixels), similarity.network.embed(pixels.numpy()))
        named = dict(zip(classifier.class_names, classifier(pixels)[0].exp().tolist(), strict=True))
    assert similarity.classify(PICTURES[0]) == pytest.approx(named, abs=1e-5)


@each_gallery
def test_a_bundled_repo_is_whole(name: str) -> None:
    folder, similarity = BUNDLED / hub.REPO_NAMES[name], bundled(name)
    assert hub.locate(name) == folder
    assert len(similarity.gallery) == GALLERIES[name][1]
    assert similarity.gallery.image_root.startswith("https://")
    assert len(similarity.ood.calibration_scores) >= 100
    assert similarity.ood.false_alarm_rate == 0.05
    stored = {tensor.dtype for tensor in formats.read_tensors(folder / "model.safetensors").values()}
    assert stored <= {np.dtype(np.float16), np.dtype(np.int64)}
    photographs = {".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif"}
    assert not [path for path in folder.rglob("*") if path.suffix.lower() in photographs]


def test_noise_is_no_car() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (8, 240, 320, 3), dtype=np.uint8)
    verdicts = [result.ood.is_ood for result in bundled("car-extractor").search_batch(list(noise))]
    assert all(verdicts)


def test_an_autoencoder_draws_what_it_was_shown() -> None:
    similarity = bundled("cifar10-autoencoder")
    assert isinstance(similarity.model, ConvolutionalAutoencoder)
    smooth = np.full((32, 32, 3), 90, np.uint8)
    smooth[8:24, 8:24] = (200, 120, 60)
    assert np.abs(similarity.reconstruct(smooth).astype(float) - smooth).mean() < 20


@each_gallery
def test_a_training_photograph_finds_itself_first(name: str, shared_data: Path) -> None:
    """With 100 %; only another copy of the same picture may come before it."""
    similarity, source = bundled(name), shared_data / GALLERIES[name][0]
    names = similarity.gallery.file_names[:: len(similarity.gallery) // 40]
    with zipfile.ZipFile(source) as archive:
        results = similarity.search_batch([archive.read(file_name) for file_name in names], top_k=12)
        for file_name, result in zip(names, results, strict=True):
            found = [match.file_name for match in result.matches].index(file_name)
            assert result.matches[found].percent == 100, file_name
            own = similarity.processor(archive.read(file_name))
            for twin in result.matches[:found]:
                assert np.array_equal(similarity.processor(archive.read(twin.file_name)), own), twin.file_name


def write_golden() -> None:
    """Write the golden file of every bundled repo that is there."""
    GOLDEN.mkdir(exist_ok=True)
    for name, repo in hub.REPO_NAMES.items():
        if (BUNDLED / repo).is_dir():
            (GOLDEN / f"{repo}.json").write_text(json.dumps(measured(name)) + "\n", encoding="utf-8")
            print(f"written: {GOLDEN / repo}.json")


if __name__ == "__main__":
    write_golden()
