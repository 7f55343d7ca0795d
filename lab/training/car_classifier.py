"""Train the car classifier on body types or other classes, with outlier exposure."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hub.plots import draw_confusion
from lab.data import ImageSet
from lab.recipes import CarClassifierRecipe
from lab.training.augmentation import cut_mix
from visim_models.errors import DataError
from visim_models.models import CAR_CLASSES, CarClassifier, PretrainedModel

__all__ = ["CarClassifierObjective", "class_names_of"]

_VALIDATION_BATCH = 128


def class_names_of(labels: Sequence[str]) -> list[str]:
    """Return the classes of some pictures in the order of a classifier's outputs.

    The article's four keep the article's order; any others are sorted.

    Raises:
        DataError: there is one class only, or a picture is in no folder.
    """
    found = set(labels)
    if "" in found or len(found) < 2:
        raise DataError(
            f"The pictures have the classes {sorted(found)}: put those of each class into a folder of its name, and "
            "give at least two."
        )
    return list(CAR_CLASSES) if found == set(CAR_CLASSES) else sorted(found)


class CarClassifierObjective:
    """Cross-entropy over C classes; outliers are pushed towards equal probabilities (Hendrycks et al. 2019).

    A linear head that only training has also tells the classes and the outliers apart in the 514 features themselves.
    So neighbours share a class, and a detector can tell outliers.

    Args:
        train: pictures to learn from, at the recipe's `load_size`.
        validation: pictures to validate on, at the recipe's `load_size`.
        outliers: (M, 3, load_size, load_size) uint8 pictures of other things; may be empty if the recipe uses none.
        recipe: the settings.
        class_names: C names, in the order of the outputs.

    Raises:
        DataError: a label is none of the classes.
    """

    def __init__(
        self,
        train: ImageSet,
        validation: ImageSet,
        outliers: Tensor,
        recipe: CarClassifierRecipe,
        *,
        class_names: Sequence[str] = CAR_CLASSES,
    ) -> None:
        self.class_names = list(class_names)
        self.model = CarClassifier(class_names=self.class_names)
        self.heads = nn.Linear(self.model.embedding_dim, len(self.class_names) + 1)
        self.train_pixels, self.train_targets = train.pixels, train.targets(self.class_names)
        self.validation_pixels, self.validation_targets = validation.pixels, validation.targets(self.class_names)
        self.outliers, self.recipe = outliers, recipe
        self.outliers_in_batch = round(recipe.outlier_share * recipe.batch_size)
        self.steps = max(1, len(train) // recipe.batch_size)
        self.confusion = torch.zeros(len(self.class_names), len(self.class_names))

    def training_batches(self) -> Iterator[tuple[Tensor, ...]]:
        """Yield (B + O, 3, 100, 100) pixels, outliers last, and the (B, C) target probabilities of the others."""
        recipe, size = self.recipe, self.recipe.processor.size
        order = torch.randperm(len(self.train_pixels))
        for step in range(self.steps):
            chosen = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            images = recipe.augmentation(self.train_pixels[chosen], size)
            targets = F.one_hot(self.train_targets[chosen], len(self.class_names)).float()  # (B, C)
            images, targets = cut_mix(images, targets, recipe.cut_mix)
            if self.outliers_in_batch:
                strange = self.outliers[torch.randint(len(self.outliers), (self.outliers_in_batch,))]
                images = torch.cat([images, recipe.augmentation(strange, size)])
            yield recipe.processor.normalize(images).contiguous(memory_format=torch.channels_last), targets

    def training_loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Compute the cross-entropy of the classes, of the outliers against equal shares, and of the head for both."""
        pixels, targets = batch
        features = self.model.embed(pixels)  # (B + O, 514)
        logs = self.model.classify(features).float()  # (B + O, C)
        inside, classes = targets.shape
        smooth = self.recipe.label_smoothing
        targets = (1 - smooth) * targets + smooth / classes
        loss = F.cross_entropy(logs[:inside], targets)
        if self.outliers_in_batch:
            evenly = -logs[inside:].mean() - math.log(classes)
            kinds = torch.zeros(len(pixels), classes + 1, device=pixels.device)  # (B + O, C + 1)
            kinds[:inside, :-1], kinds[inside:, -1] = targets, 1
            apart = F.cross_entropy(self.heads(features).float(), kinds)
            loss = loss + self.recipe.outlier_weight * (evenly + apart)
        return loss

    def validate(self, model: PretrainedModel) -> tuple[list[float], dict[str, float]]:
        """Compute the cross-entropy of each batch, its mean, and the accuracy."""
        device = next(model.parameters()).device
        losses, predictions = [], []
        targets = self.validation_targets.split(_VALIDATION_BATCH)
        for images, target in zip(self.validation_pixels.split(_VALIDATION_BATCH), targets, strict=True):
            size = self.recipe.processor.size
            small = F.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True)
            logs = model(self.recipe.processor.normalize(small).to(device)).cpu()
            losses.append(F.nll_loss(logs, target).item())
            predictions.append(logs.argmax(dim=1))
        predicted = torch.cat(predictions)
        classes = len(self.class_names)
        flat = self.validation_targets * classes + predicted
        self.confusion = torch.bincount(flat, minlength=classes**2).view(classes, classes).float()
        accuracy = (predicted == self.validation_targets).float().mean().item()
        return losses, {"validation_loss": sum(losses) / len(losses), "accuracy": accuracy}

    def picture(self, model: PretrainedModel, file: Path) -> None:
        """Draw the confusion matrix of the last validation."""
        draw_confusion(self.confusion, self.class_names, file)
