"""The recipes are the articles' and those of the shipped weights, and each builds its network."""

import json

import pytest

from lab.recipes import RECIPES, AutoencoderRecipe, ClassifierRecipe, Recipe
from lab.training.classifier import NETWORKS
from visim_models import ConvolutionalAutoencoder, ImageProcessor

ALL = {f"{task} {name}": recipe for task, recipes in RECIPES.items() for name, recipe in recipes.items()}


def test_the_first_articles_recipe_is_the_default() -> None:
    article = RECIPES["autoencoder"]["article"]
    assert isinstance(article, AutoencoderRecipe)
    assert (article.epochs, article.batch_size, article.learning_rate) == (15, 64, 1e-3)
    assert (article.cosine, article.weight_decay, article.averaging, article.class_weight) == (False, 0, 0, 0)
    assert (article.principal_components, article.mixed_precision) == (False, False)
    assert (article.processor.size, article.processor.image_mean, article.processor.image_std) == (
        32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5),
    )  # fmt: skip
    assert article == AutoencoderRecipe(processor=article.processor)


def test_the_second_articles_scale() -> None:
    processor = RECIPES["car-classifier"]["article"].processor
    assert (processor.size, processor.image_mean, processor.image_std) == (100, (0.0,) * 3, (1.0,) * 3)


def test_the_shipped_ones_have_recipes() -> None:
    assert {"cifar10-autoencoder", "car-autoencoder"} < set(RECIPES["autoencoder"])
    assert "car-extractor" in RECIPES["car-classifier"]
    assert "cifar10-extractor" in RECIPES["cifar10-classifier"]


@pytest.mark.parametrize("recipe", ALL.values(), ids=ALL.keys())
def test_recipes_are_consistent(recipe: Recipe) -> None:
    shares = vars(recipe.shares)
    assert recipe.load_size >= recipe.processor.size
    assert set(shares) == {"validation", "fit", "calibration", "test"}
    assert all(share > 0 for share in shares.values())
    assert sum(shares.values()) < 0.5
    assert recipe.epochs >= 1
    assert 0 <= recipe.averaging < 1
    if isinstance(recipe, ClassifierRecipe):
        assert recipe.network in NETWORKS
        assert not recipe.augmentation.sharp or recipe.view_size == recipe.load_size  # whole pixels of the pictures
        if recipe.teacher:  # it sees the same pictures
            assert (recipe.teacher.load_size, recipe.teacher.augmentation) == (recipe.load_size, recipe.augmentation)
            assert recipe.teacher.teacher is None


def test_a_trial_is_short_throughout() -> None:
    taught = RECIPES["car-classifier"]["car-extractor"]
    assert isinstance(taught, ClassifierRecipe)
    assert taught.teacher
    for epochs, expected in ((1, 1), (taught.teacher.epochs + 1, taught.teacher.epochs)):
        short = taught.for_epochs(epochs)
        assert short.teacher
        assert (short.epochs, short.teacher.epochs) == (epochs, expected)
    assert RECIPES["autoencoder"]["article"].for_epochs(2).epochs == 2


@pytest.mark.parametrize("recipe", ALL.values(), ids=ALL.keys())
def test_settings_are_plain_and_whole(recipe: Recipe) -> None:
    settings = recipe.settings()
    assert json.loads(json.dumps(settings)) == settings
    assert set(settings) == set(recipe.__dataclass_fields__)
    assert settings["augmentation"] == vars(recipe.augmentation)
    assert not any(isinstance(value, tuple) for value in settings.values())  # a list, as it is read again
    assert settings["processor"] == recipe.processor.to_dict()


@pytest.mark.parametrize("recipe", RECIPES["autoencoder"].values(), ids=RECIPES["autoencoder"].keys())
def test_networks_take_what_the_processors_make(recipe: AutoencoderRecipe) -> None:
    assert ConvolutionalAutoencoder(**recipe.model).config["image_size"] == recipe.processor.size


def test_views_are_as_large_as_the_larger_of_two_networks_sees() -> None:
    plain = ClassifierRecipe(processor=ImageProcessor(size=100))
    assert plain.view_size == 100
    for size, expected in ((192, 192), (64, 100)):
        teacher = ClassifierRecipe(processor=ImageProcessor(size=size))
        assert ClassifierRecipe(processor=ImageProcessor(size=100), teacher=teacher).view_size == expected
