"""The training recipes, by name: the articles' own, and those that gave the shipped weights."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Self

from lab.splits import Shares
from lab.training.augmentation import Augmentation
from visim_models.processing import ImageProcessor

__all__ = ["RECIPES", "AutoencoderRecipe", "ClassifierRecipe", "Recipe"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The settings that both tasks have. The defaults are the first article's.

    Attributes:
        processor: makes the network's input; exported with the weights.
        model: arguments of the network.
        epochs: passes over the training pictures.
        batch_size: pictures in a step.
        optimizer: "adamw", or "sgd": with a Nesterov momentum of 0.9.
        learning_rate: the optimizer's; the peak of the schedule.
        cosine: warm up over the first 5 % of the steps, then fall to 0 along a cosine; else constant.
        weight_decay: decoupled with AdamW, else of the squared weights.
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
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    cosine: bool = False
    weight_decay: float = 0.0
    averaging: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    load_size: int = 32
    shares: Shares = field(default_factory=Shares)
    mixed_precision: bool = False

    def for_epochs(self, epochs: int) -> Self:
        """Return this recipe with another number of epochs."""
        return replace(self, epochs=epochs)

    def settings(self) -> dict[str, Any]:
        """Return all settings as plain JSON types, for the record of a run."""
        values = {**asdict(self), "model": dict(self.model), "processor": self.processor.to_dict()}
        plain: dict[str, Any] = json.loads(json.dumps(values))  # a tuple is read again as a list
        return plain


@dataclass(frozen=True, kw_only=True)
class AutoencoderRecipe(Recipe):
    """Recipes of `python -m lab.train autoencoder`.

    Attributes:
        principal_components: start from the principal components of the pictures (`initialization.py`); else Xavier.
        mirrored_components: the components are also of the mirror images.
        components_share: of the code, how many numbers start as components; the others start at random.
        paired_share: of the numbers that start as components, those of components with two of them.
        frozen_code: train the convolutions of the decoder alone. The components of a code are of very different sizes:
            no learning rate that moves the others keeps the small ones.
        class_weight: weight of a loss that draws codes of one class together, beside the squared error; 0 for none.
    """

    principal_components: bool = False
    mirrored_components: bool = False
    components_share: float = 0.9
    paired_share: float = 1.0
    frozen_code: bool = False
    class_weight: float = 0.0


@dataclass(frozen=True, kw_only=True)
class ClassifierRecipe(Recipe):
    """Recipes of `python -m lab.train car-classifier` and `cifar10-classifier`.

    Attributes:
        network: a name of `lab.training.classifier`.
        label_smoothing: share of the probability that is spread over all labels.
        cut_mix: share of the pictures that get a rectangle of another one pasted in (Yun et al. 2019).
        outlier_share: outliers for each picture of a class in a batch (outlier exposure, Hendrycks et al. 2019); 0 for
            none.
        outlier_weight: weight of the loss of the outliers' even probabilities, beside that of the classes.
        label_weight: weight of the loss that tells all labels apart in the features.
        outliers_per_source: largest number of outliers of one source.
        abstract_share: share of the outliers that become pictures of nothing (`abstraction.py`).
        teacher: recipe of a larger network that is trained first, on the same pictures; None for none.
        teacher_share: of the probabilities that are learnt, how much is the teacher's and not the labels'.
        hint_weight: weight of the loss that draws the features towards the teacher's.
        contrastive_weight: weight of the loss that draws the features of one label together and away from all others
            (supervised contrastive, Khosla et al. 2020); 0 for none.
        second_weight: weight of the loss that tells second labels apart, such as the models of cars, by a head that
            only training has; 0 for none.
        doubted_labels: what becomes of training pictures whose label a cross-validated classifier doubts: they are
            "kept", "left out", or "smoothed": half of the probability is that classifier's.
    """

    network: str = "car-classifier"
    label_smoothing: float = 0.0
    cut_mix: float = 0.0
    outlier_share: float = 0.0
    outlier_weight: float = 0.0
    label_weight: float = 0.0
    outliers_per_source: int = 4000
    abstract_share: float = 0.0
    teacher: "ClassifierRecipe | None" = None
    teacher_share: float = 0.0
    hint_weight: float = 0.0
    contrastive_weight: float = 0.0
    second_weight: float = 0.0
    doubted_labels: str = "kept"

    @property
    def view_size(self) -> int:
        """Return the side of the changed pictures, in pixels: the teacher sees the same ones."""
        return max(self.processor.size, self.teacher.processor.size if self.teacher else 0)

    def for_epochs(self, epochs: int) -> Self:
        """Return this recipe with another number of epochs, of which a teacher has no more."""
        teacher = self.teacher and self.teacher.for_epochs(min(epochs, self.teacher.epochs))
        return replace(self, epochs=epochs, teacher=teacher)

    def settings(self) -> dict[str, Any]:
        """Return all settings as plain JSON types, for the record of a run."""
        return {**super().settings(), "teacher": self.teacher.settings() if self.teacher else None}


_CIFAR10 = ImageProcessor(size=32)
_CARS = ImageProcessor(size=100)
_SMALL_CARS = ImageProcessor(size=64)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAR_SHARES = Shares(test=0.1, calibration=0.05, fit=0.025, validation=0.025)

_AUTOENCODERS: Final = {
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
        model={"image_size": 64, "stages": 3, "base_channels": 12},
        epochs=3,
        batch_size=128,
        learning_rate=2e-6,
        cosine=True,
        averaging=0.99,
        augmentation=Augmentation(flip=True),
        load_size=64,
        shares=_CAR_SHARES,
        principal_components=True,
        mirrored_components=True,
        components_share=1.0,
        paired_share=0.0,
        frozen_code=True,
    ),
}

_CAR_VIEWS: Final[Mapping[str, Any]] = {
    "cosine": True,
    "augmentation": Augmentation(
        scale=0.65, largest_scale=1.1, tilt=8, colour=0.35, decorations=0.3, camera=0.12, erase=0.2, flip=True
    ),
    "load_size": 224,
    "shares": _CAR_SHARES,
    "mixed_precision": True,
    "cut_mix": 0.5,
    "outlier_share": 1 / 8,
    "outliers_per_source": 1500,
    "abstract_share": 0.25,
}

_CAR_TEACHER: Final = ClassifierRecipe(
    **_CAR_VIEWS,
    network="general-extractor",
    processor=ImageProcessor(size=192, image_mean=_IMAGENET_MEAN, image_std=_IMAGENET_STD),
    epochs=24,
    batch_size=128,
    learning_rate=7e-4,
    weight_decay=0.05,
    averaging=0.998,
    label_smoothing=0.1,
)
_ON_PLAIN_GROUNDS: Final = replace(_CAR_VIEWS["augmentation"], plain=0.15)

_CAR_EXTRACTOR: Final = ClassifierRecipe(
    **_CAR_VIEWS,
    processor=_CARS,
    epochs=64,
    batch_size=256,
    learning_rate=3e-3,
    weight_decay=0.05,
    averaging=0.998,
    teacher=_CAR_TEACHER,
    outlier_weight=0.5,
    label_weight=0.5,
    teacher_share=0.7,
    hint_weight=0.5,
)

_CAR_CLASSIFIERS: Final = {
    "article": ClassifierRecipe(
        processor=ImageProcessor(size=100, image_mean=(0.0, 0.0, 0.0), image_std=(1.0, 1.0, 1.0)),
        load_size=100,
        shares=_CAR_SHARES,
    ),
    "car-extractor": _CAR_EXTRACTOR,
    "car-extractor-sources": replace(
        _CAR_EXTRACTOR,
        augmentation=_ON_PLAIN_GROUNDS,
        teacher=replace(_CAR_TEACHER, augmentation=_ON_PLAIN_GROUNDS),
        contrastive_weight=0.3,
        second_weight=0.3,
        doubted_labels="smoothed",
    ),
}

_CIFAR10_VIEWS: Final[Mapping[str, Any]] = {
    "processor": _CIFAR10,
    "batch_size": 256,
    "optimizer": "sgd",
    "learning_rate": 0.2,
    "cosine": True,
    "weight_decay": 5e-4,
    "averaging": 0.998,
    "augmentation": Augmentation(scale=0.8, largest_scale=1.1, sharp=0.75, colour=0.15, erase=0.2, flip=True),
    "mixed_precision": True,
    "cut_mix": 0.5,
    "outlier_share": 1 / 8,
    "outliers_per_source": 20_000,
    "abstract_share": 0.2,
}

_CIFAR10_CLASSIFIERS: Final = {
    "cifar10-extractor": ClassifierRecipe(
        **_CIFAR10_VIEWS,
        network="cifar10-classifier",
        epochs=100,
        teacher=ClassifierRecipe(**_CIFAR10_VIEWS, network="wide-cifar10-classifier", epochs=60, label_smoothing=0.1),
        outlier_weight=0.5,
        label_weight=0.5,
        teacher_share=0.7,
        hint_weight=0.5,
    )
}

RECIPES: Final[Mapping[str, Mapping[str, Recipe]]] = {
    "autoencoder": _AUTOENCODERS,
    "car-classifier": _CAR_CLASSIFIERS,
    "cifar10-classifier": _CIFAR10_CLASSIFIERS,
}
"""Task of `python -m lab.train` -> name -> recipe."""
