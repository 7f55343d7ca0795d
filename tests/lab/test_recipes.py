"""The recipes name what the articles told and what gave the shipped weights, and each builds its network."""

import pytest

from lab.recipes import AUTOENCODER_RECIPES, CAR_CLASSIFIER_RECIPES, AutoencoderRecipe, Recipe
from visim_models import ConvolutionalAutoencoder

ALL = {**{f"autoencoder {k}": v for k, v in AUTOENCODER_RECIPES.items()}, **CAR_CLASSIFIER_RECIPES}


def test_the_first_articles_recipe_is_the_default() -> None:
    article = AUTOENCODER_RECIPES["article"]
    assert (article.epochs, article.batch_size, article.learning_rate) == (15, 64, 1e-3)
    assert (article.cosine, article.weight_decay, article.averaging, article.class_weight) == (False, 0, 0, 0)
    assert (article.principal_components, article.mixed_precision) == (False, False)
    assert (article.processor.size, article.processor.image_mean, article.processor.image_std) == (
        32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5),
    )  # fmt: skip
    assert article == AutoencoderRecipe(processor=article.processor)


def test_the_second_articles_scale() -> None:
    processor = CAR_CLASSIFIER_RECIPES["article"].processor
    assert (processor.size, processor.image_mean, processor.image_std) == (100, (0.0,) * 3, (1.0,) * 3)


def test_the_shipped_ones_have_recipes() -> None:
    assert {"cifar10-autoencoder", "car-autoencoder"} < set(AUTOENCODER_RECIPES)
    assert "car-extractor" in set(CAR_CLASSIFIER_RECIPES)


@pytest.mark.parametrize("recipe", ALL.values(), ids=ALL.keys())
def test_recipes_are_consistent(recipe: Recipe) -> None:
    assert recipe.load_size >= recipe.processor.size
    assert 0 < recipe.calibration + recipe.test < 0.5
    assert recipe.epochs >= 1
    assert 0 <= recipe.averaging < 1


@pytest.mark.parametrize("recipe", AUTOENCODER_RECIPES.values(), ids=AUTOENCODER_RECIPES.keys())
def test_networks_take_what_the_processors_make(recipe: AutoencoderRecipe) -> None:
    assert ConvolutionalAutoencoder(**recipe.model).config["image_size"] == recipe.processor.size
