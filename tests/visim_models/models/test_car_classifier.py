"""The car networks have the second article's layers, names and numbers; both share one weights file."""

from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks.article import ArticleCarExtractor
from visim_models import CAR_CLASSES, CarClassifier, CarFeatureExtractor, ConfigurationError


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
        torch.testing.assert_close(logs, classifier.classify(features))
    assert logs.shape == (3, 4)
    torch.testing.assert_close(logs.exp().sum(dim=1), torch.ones(3))
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


def used(kind: type[CarClassifier] | type[CarFeatureExtractor]) -> CarClassifier | CarFeatureExtractor:
    """A car network whose batch norms have statistics and scales of their own, as training leaves them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        model = kind()
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                nn.init.normal_(layer.running_mean, std=0.3)
                nn.init.uniform_(layer.running_var, 0.5, 2)
                nn.init.uniform_(layer.weight, 0.5, 2)
                nn.init.normal_(layer.bias, std=0.3)
        return model


def test_folded_norms_give_the_same_as_the_articles_separate_ones() -> None:
    model, article = used(CarFeatureExtractor).eval(), ArticleCarExtractor().eval()
    article.load_state_dict(model.state_dict(), strict=True)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with torch.inference_mode():
        torch.testing.assert_close(model(PIXELS), article(PIXELS), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_gradients_reach_the_weights_while_the_norms_are_frozen() -> None:
    model = used(CarClassifier).eval()
    model(PIXELS).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name


def test_other_classes(tmp_path: Path) -> None:
    CarClassifier(class_names=["chair", "sofa"]).save_pretrained(tmp_path / "seats")
    classifier = CarClassifier.from_pretrained(tmp_path / "seats")
    assert classifier.class_names == ["chair", "sofa"]
    assert classifier(PIXELS).shape == (3, 2)


@pytest.mark.parametrize("names", [[], ["a", "a"], "ab", [1], [""], ["a\nb"], ["x"] * 1001, {"a": 1}, None])
def test_class_names_that_cannot_be(names: object, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="class_names"):
        CarClassifier.from_config({"model_type": "car-classifier", "class_names": names})
