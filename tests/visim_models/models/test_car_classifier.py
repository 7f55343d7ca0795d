"""The car networks have the second article's layers, names and numbers; both share one weights file."""

from pathlib import Path

import pytest
import torch

from tests.article_networks import ArticleCarExtractor
from visim_models import CAR_CLASSES, CarClassifier, CarFeatureExtractor


@pytest.fixture(scope="module")
def article() -> ArticleCarExtractor:
    """With statistics that a fresh batch norm lacks, so that a swapped or ignored layer shows."""
    torch.manual_seed(0)
    network = ArticleCarExtractor().eval()
    for name, values in network.state_dict().items():
        if name.startswith("batchnorm") and values.is_floating_point():
            values.uniform_(0.5, 1.5)
    return network


PIXELS = torch.rand(3, 3, 100, 100, generator=torch.Generator().manual_seed(1))


def test_names_and_shapes_are_the_articles(article: ArticleCarExtractor) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in article.state_dict().items()}
    for network in (CarClassifier(), CarFeatureExtractor()):
        assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == expected
    assert expected["fc1.weight"] == (514, 8192)
    assert "batchnorm_fc1.running_mean" in expected


def test_the_articles_weights_load_and_give_the_same_features(article: ArticleCarExtractor) -> None:
    extractor = CarFeatureExtractor().eval()
    extractor.load_weights(article.state_dict())
    with torch.inference_mode():
        features = extractor(PIXELS)
        torch.testing.assert_close(features, article(PIXELS), rtol=1e-4, atol=1e-5)
    assert features.shape == (3, 514)
    assert (features >= 0).all()
    assert features.std() > 0


def test_ours_load_into_the_articles_class(article: ArticleCarExtractor) -> None:
    extractor, other = CarFeatureExtractor().eval(), ArticleCarExtractor().eval()
    other.load_state_dict(extractor.state_dict(), strict=True)
    with torch.inference_mode():
        torch.testing.assert_close(extractor(PIXELS), other(PIXELS), rtol=1e-4, atol=1e-5)


def test_classifier_ends_in_log_probabilities() -> None:
    classifier = CarClassifier().eval()
    with torch.inference_mode():
        logs = classifier(PIXELS)
        features = classifier.embed(PIXELS)
        strangeness = classifier.strangeness(PIXELS, features)
        torch.testing.assert_close(logs, classifier.classify(features))
    assert logs.shape == (3, 4)
    torch.testing.assert_close(logs.exp().sum(dim=1), torch.ones(3))
    torch.testing.assert_close(strangeness["uncertainty"], -logs.max(dim=1).values)
    assert CAR_CLASSES == ("sedan", "coupe", "suv", "truck")


def test_one_file_serves_both_classes(tmp_path: Path) -> None:
    CarClassifier().save_pretrained(tmp_path / "cars")
    classifier = CarClassifier.from_pretrained(tmp_path / "cars")
    extractor = CarFeatureExtractor.from_pretrained(tmp_path / "cars")
    assert not classifier.training
    with torch.inference_mode():
        torch.testing.assert_close(classifier.embed(PIXELS), extractor(PIXELS))


def test_wrong_side_of_a_picture_is_not_taken_silently() -> None:
    with pytest.raises(RuntimeError), torch.inference_mode():
        CarFeatureExtractor().eval()(torch.rand(1, 3, 80, 80))
