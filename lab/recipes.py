"""The training recipes, by name: the articles' own, and those that gave the shipped weights."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from lab.splits import Shares
from lab.training.augmentation import Augmentation
from visim_models.processing import ImageProcessor

__all__ = ["AUTOENCODER_RECIPES", "CAR_CLASSIFIER_RECIPES", "AutoencoderRecipe", "CarClassifierRecipe", "Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings that both tasks have. The defaults are the first article's.

    Attributes:
        processor: makes the network's input; exported with the weights.
        model: arguments of the network.
        epochs: passes over the training pictures.
        batch_size: pictures in a step.
        learning_rate: Adam's; the peak of the schedule.
        cosine: warm up over the first 5 % of the steps, then fall to 0 along a cosine; else constant.
        weight_decay: decoupled (AdamW).
        averaging: decay in a step of the moving average of the weights that is validated and exported; 0 for none.
        augmentation: how training pictures are changed.
        load_size: side at which pictures are held in memory, in pixels, so that crops lose no detail.
        shares: of the pictures that are held out.
        mixed_precision: compute convolutions in bfloat16, where the hardware does.
    """

    processor: ImageProcessor
    model: Mapping[str, int] = field(default_factory=dict)
    epochs: int = 15
    batch_size: int = 64
    learning_rate: float = 1e-3
    cosine: bool = False
    weight_decay: float = 0.0
    averaging: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    load_size: int = 32
    shares: Shares = field(default_factory=Shares)
    mixed_precision: bool = False

    def settings(self) -> dict[str, Any]:
        """Return all settings as plain JSON types, for the record of a run."""
        return {**asdict(self), "model": dict(self.model), "processor": self.processor.to_dict()}


@dataclass(frozen=True, kw_only=True)
class AutoencoderRecipe(Recipe):
    """Recipes of `python -m lab.train autoencoder`.

    Attributes:
        principal_components: start from the principal components of the pictures (`initialization.py`); else Xavier.
        class_weight: weight of a loss that draws codes of one class together, beside the squared error; 0 for none.
    """

    principal_components: bool = False
    class_weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CarClassifierRecipe(Recipe):
    """Recipes of `python -m lab.train car-classifier`.

    Attributes:
        label_smoothing: share of the probability that is spread over all classes.
        cut_mix: share of the pictures that get a rectangle of another one pasted in (Yun et al. 2019).
        outlier_share: outliers for each picture of a class in a batch (outlier exposure, Hendrycks et al. 2019); 0 for
            none.
        outlier_weight: weight of the outliers' loss beside that of the classes.
    """

    label_smoothing: float = 0.0
    cut_mix: float = 0.0
    outlier_share: float = 0.0
    outlier_weight: float = 0.0


_CIFAR10 = ImageProcessor(size=32)
_CARS = ImageProcessor(size=100)
_SMALL_CARS = ImageProcessor(size=64)
_CAR_SHARES = Shares(test=0.1, calibration=0.05, fit=0.025, validation=0.025)

AUTOENCODER_RECIPES: dict[str, AutoencoderRecipe] = {
    "article": AutoencoderRecipe(processor=_CIFAR10),
    "cifar10-autoencoder": AutoencoderRecipe(
        processor=_CIFAR10,
        epochs=10,
        batch_size=128,
        learning_rate=3e-4,
        cosine=True,
        averaging=0.998,
        augmentation=Augmentation(scale=0.9, colour=0.1, flip=True),
        principal_components=True,
        class_weight=0.005,
        mixed_precision=True,
    ),
    "car-autoencoder": AutoencoderRecipe(
        processor=_SMALL_CARS,
        model={"image_size": 64, "stages": 3},
        epochs=10,
        learning_rate=1e-4,
        cosine=True,
        averaging=0.998,
        augmentation=Augmentation(scale=0.9, colour=0.15, flip=True),
        load_size=72,
        shares=_CAR_SHARES,
        principal_components=True,
        mixed_precision=True,
    ),
}

CAR_CLASSIFIER_RECIPES: dict[str, CarClassifierRecipe] = {
    "article": CarClassifierRecipe(
        processor=ImageProcessor(size=100, image_mean=(0.0, 0.0, 0.0), image_std=(1.0, 1.0, 1.0)),
        load_size=100,
        shares=_CAR_SHARES,
    ),
    "car-extractor": CarClassifierRecipe(
        processor=_CARS,
        epochs=120,
        learning_rate=2e-3,
        cosine=True,
        weight_decay=0.05,
        averaging=0.998,
        augmentation=Augmentation(scale=0.7, largest_scale=1.1, colour=0.4, decorations=0.4, erase=0.25, flip=True),
        load_size=128,
        shares=_CAR_SHARES,
        mixed_precision=True,
        label_smoothing=0.05,
        cut_mix=0.5,
        outlier_share=1 / 8,
        outlier_weight=0.5,
    ),
}
