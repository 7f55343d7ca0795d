"""Train a classifier on classes of pictures, with outlier exposure, further kinds, and hints of a larger network."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hub.plots import draw_confusion
from lab.data import ImageSet
from lab.recipes import ClassifierRecipe
from lab.training.abstraction import abstract
from lab.training.augmentation import cut_mix
from visim_models.errors import DataError
from visim_models.models import CAR_CLASSES, CarClassifier, Cifar10Classifier, PretrainedModel

__all__ = ["ClassifierObjective", "class_names_of"]

_VALIDATION_BATCH = 128


def class_names_of(labels: Sequence[str]) -> list[str]:
    """Return the classes that a network learns of some pictures, in the order of its outputs.

    Where the article's four are among them, they are the classes, in the article's order, and all others are further
    kinds, which only training tells apart. Else all labels are classes, sorted.

    Raises:
        DataError: there is one class only, or a picture is in no folder.
    """
    found = set(labels)
    if "" in found or len(found) < 2:
        raise DataError(
            f"The pictures have the classes {sorted(found)}: put those of each class into a folder of its name, and "
            "give at least two."
        )
    return list(CAR_CLASSES) if found >= set(CAR_CLASSES) else sorted(found)


class ClassifierObjective:
    """Cross-entropy over C classes; outliers are pushed towards equal probabilities (Hendrycks et al. 2019).

    Linear heads that only training has tell, from the features themselves, all K labels of the pictures and the
    outliers apart, and the features of a larger network. So neighbours share a label, and a detector can tell outliers.

    Args:
        train: pictures to learn from, at the recipe's `load_size`. A label that is no class is a further kind.
        validation: pictures to validate on, likewise.
        outliers: (M, 3, load_size, load_size) uint8 pictures of other things; may be empty if the recipe uses none.
        recipe: the settings.
        class_names: C names, in the order of the outputs.
        hints: (N, H) features of the pictures to learn from, by a larger network; H is 0 where the recipe uses none.

    Raises:
        DataError: no picture to validate on has one of the classes.
    """

    def __init__(
        self,
        train: ImageSet,
        validation: ImageSet,
        outliers: Tensor,
        recipe: ClassifierRecipe,
        *,
        class_names: Sequence[str],
        hints: Tensor,
    ) -> None:
        self.class_names = list(class_names)
        self.kinds = [*self.class_names, *sorted(set(train.labels) - set(self.class_names))]
        self.recipe, self.outliers = recipe, outliers
        self.model = self._network(train)
        self.heads = nn.ModuleDict({"kinds": nn.Linear(self.model.embedding_dim, len(self.kinds) + 1)})
        self.train_targets = F.one_hot(train.targets(self.kinds), len(self.kinds)).float()  # (N, K)
        self.train_pixels, self.train_hints = train.pixels, hints
        if hints.shape[1]:
            self.heads["hints"] = nn.Linear(self.model.embedding_dim, hints.shape[1])
        named = [index for index, label in enumerate(validation.labels) if label in self.class_names]
        if not named:
            raise DataError(f"No held-out picture shows one of {self.class_names}: give more pictures of these.")
        self.validation = validation.subset(named)
        self.outliers_in_batch = round(recipe.outlier_share * recipe.batch_size)
        self.steps = max(1, len(train) // recipe.batch_size)
        self.confusion = torch.zeros(len(self.class_names), len(self.class_names))

    def _network(self, train: ImageSet) -> CarClassifier | Cifar10Classifier:
        if self.recipe.network == "car-classifier":
            model = CarClassifier(class_names=self.class_names)
            model.pool7 = nn.AdaptiveMaxPool2d(8)  # type: ignore[assignment]  # the same at 100 pixels; smaller pictures also leave 8 x 8
            return model
        small = Cifar10Classifier(class_names=self.class_names)
        small.whiten_(self.recipe.processor.normalize(train.pixels[:: max(1, len(train) // 5000)].float()))
        return small

    def training_batches(self, epoch: int) -> Iterator[tuple[Tensor, ...]]:
        """Yield (B + O, 3, S, S) pixels, outliers last; the others' (B, K) target probabilities and (B, H) hints."""
        recipe, size = self.recipe, self.recipe.training_size(epoch)
        wanted = torch.cat([self.train_targets, self.train_hints], dim=1)  # (N, K + H)
        order = torch.randperm(len(self.train_pixels))
        for step in range(self.steps):
            chosen = order[step * recipe.batch_size : (step + 1) * recipe.batch_size]
            images = recipe.augmentation(self.train_pixels[chosen], size)
            images, targets = cut_mix(images, wanted[chosen], recipe.cut_mix)
            if self.outliers_in_batch:
                some = self.outliers[torch.randint(len(self.outliers), (self.outliers_in_batch,))].float()
                images = torch.cat([images, recipe.augmentation(abstract(some, recipe.abstract_share), size)])
            images = recipe.processor.normalize(images).contiguous(memory_format=torch.channels_last)
            yield images, targets[:, : len(self.kinds)], targets[:, len(self.kinds) :]

    def training_loss(self, batch: tuple[Tensor, ...]) -> Tensor:
        """Compute the losses of the classes, of all kinds, of the outliers, and of the hints."""
        pixels, targets, hints = batch
        features = self.model.embed(pixels)  # (B + O, D)
        logs = self.model.classify(features).float()  # (B + O, C)
        inside, classes = len(targets), len(self.class_names)
        loss = self._class_loss(logs[:inside], targets[:, :classes])
        if self.outliers_in_batch:
            evenly = -logs[inside:].mean() - math.log(classes)
            loss = loss + self.recipe.outlier_weight * evenly
        if self.outliers_in_batch or len(self.kinds) > classes:
            loss = loss + self.recipe.outlier_weight * self._kind_loss(features, targets)
        if "hints" in self.heads:
            loss = loss + self.recipe.hint_weight * self._hint_loss(features[:inside], hints)
        return loss

    def _class_loss(self, logs: Tensor, targets: Tensor) -> Tensor:
        """Compute the cross-entropy of (B, C) log-probabilities; the targets of a further kind sum to less than 1."""
        smooth, mass = self.recipe.label_smoothing, targets.sum(dim=1, keepdim=True)  # (B, 1)
        targets = (1 - smooth) * targets + smooth / targets.shape[1] * mass
        return -(targets * logs).sum() / mass.sum().clamp(min=1)

    def _kind_loss(self, features: Tensor, targets: Tensor) -> Tensor:
        smooth, (inside, kinds) = self.recipe.label_smoothing, targets.shape
        wanted = torch.zeros(len(features), kinds + 1, device=features.device)  # (B + O, K + 1)
        wanted[:inside, :-1], wanted[inside:, -1] = (1 - smooth) * targets + smooth / kinds, 1
        return F.cross_entropy(self.heads["kinds"](features).float(), wanted)

    def _hint_loss(self, features: Tensor, hints: Tensor) -> Tensor:
        """Compute 1 minus the cosine of what the head tells and the hint."""
        return (1 - F.cosine_similarity(self.heads["hints"](features).float(), hints)).mean()

    def validate(self, model: PretrainedModel) -> tuple[list[float], dict[str, float]]:
        """Compute the cross-entropy of each batch, its mean, and the accuracy, over the pictures of the classes."""
        network = cast(CarClassifier | Cifar10Classifier, model)
        device = next(model.parameters()).device
        losses, predictions = [], []
        every = self.validation.targets(self.class_names)
        targets = every.split(_VALIDATION_BATCH)
        for images, target in zip(self.validation.pixels.split(_VALIDATION_BATCH), targets, strict=True):
            size = self.recipe.processor.size
            small = F.interpolate(images.float(), size=(size, size), mode="bilinear", antialias=True)
            logs = network.classify(network.embed(self.recipe.processor.normalize(small).to(device))).cpu()
            losses.append(F.nll_loss(logs, target).item())
            predictions.append(logs.argmax(dim=1))
        predicted = torch.cat(predictions)
        classes = len(self.class_names)
        self.confusion = torch.bincount(every * classes + predicted, minlength=classes**2).view(classes, classes)
        accuracy = (predicted == every).float().mean().item()
        return losses, {"validation_loss": sum(losses) / len(losses), "accuracy": accuracy}

    def picture(self, model: PretrainedModel, file: Path) -> None:
        """Draw the confusion matrix of the last validation."""
        draw_confusion(self.confusion.float(), self.class_names, file)
