"""What the tests of the commands share."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from lab.recipes import RECIPES
from tests.builders import TINY_NETWORK


@pytest.fixture(scope="module")
def tiny_article() -> Iterator[None]:
    """Let the article's recipe of an autoencoder train a small network of small pictures."""
    recipe = RECIPES["autoencoder"]["article"]
    processor = replace(recipe.processor, size=TINY_NETWORK["image_size"])
    tiny = replace(recipe, processor=processor, load_size=processor.size, model=TINY_NETWORK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES["autoencoder"], "article", tiny)  # type: ignore[arg-type]
        yield
