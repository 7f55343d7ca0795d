"""Training the car classifier: body types, with outlier exposure so that what is no car looks like none."""

import math
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hub.plots import draw_confusion
from lab.data import ImageSet
from lab.recipes import CarClassifierRecipe
from lab.training.augmentation import cut_mix
from visim_models.models.base import PretrainedModel
from visim_models.models.car_classifier import CAR_CLASSES, CarClassifier

__all__ = ["CarClassifierObjective"]

_VALIDATION_BATCH = 128


class CarClassifierObjective:
    """Cross-entropy over the four body types; outliers are pushed towards equal probabilities (Hendrycks et al. 2019).

    A linear head that only training has also tells the bodies and the outliers apart in the 514 features themselves, so
    that neighbours share a body, and a detector can tell what is no car.

    Args:
        train: pictures to learn from, at the recipe's `load_size`.
        validation: pictures to validate on, likewise.
        outliers: (M, 3, load_size, load_size) uint8 pictures of no car; may be empty where the recipe uses none.
        recipe: how.
    """

    def __init__(self, train: ImageSet, validation: ImageSet, outliers: Tensor, recipe: CarClassifierRecipe) -> None:
        self.model = CarClassifier()
        self.heads = nn.Linear(514, len(CAR_CLASSES) + 1)
        self.train_pixels, self.train_targets = train.pixels, train.targets(CAR_CLASSES)
        self.validation_pixels, self.validation_targets = validation.pixels, validation.targets(CAR_CLASSES)
        self.outliers, self.recipe = outliers, recipe
        self.outliers_a_batch = round(recipe.outlier_share * recipe.batch_size)
        self.steps = max(1, len(train) // recipe.batch_size)
        self.confusion = torch.zeros(len(CAR_CLASSES), len(CAR_CLASSES))

    def training_batches(self) -> Iterator[tuple[Tensor, ...]]:
        """(B + O, 3, 100, 100) pixels, cars first, and (B, 4) targets: probabilities."""
        recipe, size = self.recipe, self.recipe.processor.size
        order = torch.randperm(len(self.train_pixels))
        for step in range(self.steps):
            chosen = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            images = recipe.augmentation(self.train_pixels[chosen], size)
            targets = F.one_hot(self.train_targets[chosen], len(CAR_CLASSES)).float()  # (B, 4)
            images, targets = cut_mix(images, targets, recipe.cut_mix)
            if self.outliers_a_batch:
                strange = self.outliers[torch.randint(len(self.outliers), (self.outliers_a_batch,))]
                images = torch.cat([images, recipe.augmentation(strange, size)])
            yield recipe.processor.normalize(images).contiguous(memory_format=torch.channels_last), targets

    def training_loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Cross-entropy of the cars, of the outliers against equal shares, and of the head that knows both."""
        pixels, targets = batch
        features = self.model.embed(pixels)  # (B + O, 514)
        logs = self.model.classify(features).float()  # (B + O, 4)
        cars = len(targets)
        smooth = self.recipe.label_smoothing
        targets = (1 - smooth) * targets + smooth / len(CAR_CLASSES)
        loss = F.cross_entropy(logs[:cars], targets)
        if self.outliers_a_batch:
            evenly = -logs[cars:].mean() - math.log(len(CAR_CLASSES))
            kinds = torch.zeros(len(pixels), len(CAR_CLASSES) + 1, device=pixels.device)  # (B + O, 5)
            kinds[:cars, :-1], kinds[cars:, -1] = targets, 1
            apart = F.cross_entropy(self.heads(features).float(), kinds)
            loss = loss + self.recipe.outlier_weight * (evenly + apart)
        return loss

    def validate(self, model: PretrainedModel) -> tuple[list[float], dict[str, float]]:
        """Cross-entropy a batch, and the accuracy."""
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
        flat = self.validation_targets * len(CAR_CLASSES) + predicted
        self.confusion = torch.bincount(flat, minlength=len(CAR_CLASSES) ** 2).view(len(CAR_CLASSES), -1).float()
        accuracy = (predicted == self.validation_targets).float().mean().item()
        return losses, {"validation_loss": sum(losses) / len(losses), "accuracy": accuracy}

    def picture(self, model: PretrainedModel, file: Path) -> None:
        """Draw the confusion matrix of the last validation."""
        draw_confusion(self.confusion, CAR_CLASSES, file)
